"""The small CLIP image encoder: it learns to tell what HyperLoRA shows it of a picture, who it is and how it is drawn.

SDXL's HyperLoRA reads a CLIP that was trained on all the world's pictures and captions; in this world what captions can
say is known, and so are the numbers that people are drawn from. It is shown what the product shows CLIP: the face alone
on grey, the picture with the face blurred, or all of it. Each token is asked what it knows of its own place: asked of
their mean alone, they learn a quarter as much in the same time. And they are kept at a spread of 1: left alone it grows
to 17, with single channels at 290, which hide the others from whoever normalises tokens.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from demo.drawn.drawing import faces
from demo.drawn.judge import QUESTIONS, asked
from demo.drawn.people import TRAITS
from hyperlora_core.clip.vision import normalised

from . import pictures
from .fitting import Recipe, fit

SIDE = 224
WIDTH = 128
RECIPE = Recipe(steps=2400, batch=48, rate=2e-3, average=0.99)

_GREY = 0.5
_TOLD, _SUMMED = 24, 256  # numbers that a token tells, and what all of them are put together to
_BEGUN = 0.5  # the spread of what is added up to tokens, before they are normalised


def config() -> CLIPVisionConfig:
    """Of the encoder; HyperLoRA reads the layer before the last."""
    return CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=5,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=32,
        projection_dim=32,
        hidden_act="quick_gelu",
    )


class SmallClip(nn.Module):
    """The encoder, and what tells from its tokens whom and what it was shown.

    Attributes:
        encoder: transformers' own.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = CLIPVisionModelWithProjection(config())
        for value in self.encoder.vision_model.encoder.layers[-1].parameters():  # which nobody reads
            nn.init.zeros_(value.requires_grad_(False))
        tokens = (SIDE // self.encoder.config.patch_size) ** 2 + 1
        self.token = nn.Linear(WIDTH, _TOLD)
        self.summed = nn.Sequential(nn.Linear(tokens * _TOLD, _SUMMED), nn.GELU())
        self.traits = nn.Linear(_SUMMED, len(TRAITS))
        self.answers = nn.ModuleDict({name: nn.Linear(_SUMMED, count) for name, count in QUESTIONS.items()})

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Pictures ``(N, 3, 224, 224)`` in [0, 1] -> tokens, traits ``(N, T)``, logits of the judge's questions."""
        tokens = self.encoder(normalised(pictures * 255), output_hidden_states=True).hidden_states[-2]
        features = self.summed(self.token(tokens).flatten(1))
        return tokens, self.traits(features), {name: answer(features) for name, answer in self.answers.items()}


@torch.no_grad()
def _begin_with_patches(encoder: CLIPVisionModelWithProjection, pictures: Tensor) -> None:
    """Let tokens begin as the main components of patches, each with the same spread.

    Patches are smooth: of what chance projects them onto, nearly all is their mean colour, and it would be long before
    anything finer was looked at.

    Args:
        encoder: changed in place.
        pictures: ``(N, 3, 224, 224)`` as the encoder is given them, normalised.
    """
    parts = encoder.vision_model.embeddings
    size = parts.patch_size
    patches = F.unfold(pictures, size, stride=size).transpose(1, 2).reshape(-1, 3 * size * size)
    patches = patches - patches.mean(dim=0)
    _, spread, directions = torch.svd_lowrank(patches, q=WIDTH + 16, niter=4)
    spread = spread[:WIDTH] / len(patches) ** 0.5
    weight = directions[:, :WIDTH].T / spread[:, None]
    parts.patch_embedding.weight.copy_(_BEGUN * weight.reshape(parts.patch_embedding.weight.shape))
    parts.position_embedding.weight.normal_(0, _BEGUN, generator=torch.Generator().manual_seed(0))


def train(path: Path, recipe: Recipe = RECIPE) -> Path:
    """Train it to the end, or what is left of that; ``encoder_state`` takes the encoder out."""
    clip, drawn = SmallClip(), pictures.drawn_pictures()
    everyone, everywhere = pictures.persons(range(len(drawn))), pictures.settings(range(len(drawn)))
    answers = asked(everywhere)

    def clip_input(numbers: Tensor, kind: Tensor, generator: torch.Generator) -> Tensor:
        outside, box = faces(everyone[numbers], everywhere.rows(numbers))
        return _clip_input(drawn[numbers].float() / 255, outside, box, kind, generator)

    start = torch.arange(240)
    _begin_with_patches(clip.encoder, normalised(clip_input(start, start % 3, torch.Generator().manual_seed(0)) * 255))

    def loss(generator: torch.Generator, count: int) -> Tensor:
        numbers = torch.randint(len(drawn), (count,), generator=generator)
        kind = torch.randint(3, (count,), generator=generator)
        tokens, traits, predicted = clip(clip_input(numbers, kind, generator))
        person = (traits - everyone[numbers]).square().mean(dim=1) * (kind != 1) * 12
        scene = [
            F.cross_entropy(logits, answers[name][numbers], reduction="none") for name, logits in predicted.items()
        ]
        spread = (tokens.square().mean() - 1).abs()
        return (person + 0.3 * torch.stack(scene).mean(dim=0) * (kind > 0)).mean() + 0.02 * spread

    return fit(path, clip, loss, recipe)


def encoder_state(trained: dict[str, Tensor]) -> dict[str, Tensor]:
    """The encoder alone, in transformers' layout, as ComfyUI's ``models/clip_vision`` has it."""
    return {name.removeprefix("encoder."): value for name, value in trained.items() if name.startswith("encoder.")}


def _clip_input(picture: Tensor, outside: Tensor, box: Tensor, kind: Tensor, generator: torch.Generator) -> Tensor:
    """What CLIP is shown: the face on grey (0), the picture with the face blurred (1), or the picture (2)."""
    mask = (6 * (1.06 - outside)).sigmoid()[:, None]
    wide = (6 * (1.35 - outside)).sigmoid()[:, None]
    blurred = F.interpolate(F.interpolate(picture, scale_factor=0.08, mode="area"), picture.shape[-2:], mode="bilinear")
    alone, hidden = torch.lerp(torch.full_like(picture, _GREY), picture, mask), torch.lerp(picture, blurred, wide)
    of_kind = kind[:, None, None, None]
    source = torch.where(of_kind == 0, alone, torch.where(of_kind == 1, hidden, picture))
    count = len(picture)
    everything = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(count, -1)
    close = (kind == 0) | (torch.rand(count, generator=generator) < 0.3)
    cut = torch.where(close[:, None], box, everything) + 0.02 * torch.randn(count, 4, generator=generator)
    left, top, right, bottom = (cut[:, i, None, None] for i in range(4))
    points = (torch.arange(SIDE) + 0.5) / SIDE
    x = (left + (right - left) * points[None, None, :]).expand(-1, SIDE, -1)
    y = (top + (bottom - top) * points[None, :, None]).expand(-1, -1, SIDE)
    sampled = F.grid_sample(source, torch.stack([x, y], dim=-1) * 2 - 1, padding_mode="border", align_corners=False)
    gain = 1 + 0.03 * torch.randn(count, 3, 1, 1, generator=generator)
    return (sampled * gain + 0.01 * torch.randn(sampled.shape, generator=generator)).clamp(0, 1)
