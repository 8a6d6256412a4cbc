"""The small base: a UNet and two text encoders in the classes that SDXL has, narrow, trained on drawn people.

Each width divides SDXL's, so that what is computed here is computed in SDXL's shape too, number for number: see
``padding``. Shapes: N pictures.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from demo.drawn import people, scenes
from demo.drawn.drawing import draw

from . import pictures, words
from .fitting import Recipe, fit

WIDTH = 80
TEXT_WIDTHS = (128, 64)
POOLED = 64
SIZE_NUMBERS = 16  # of each of the six sizes that SDXL is told

UNET = {
    "sample_size": 16,
    "block_out_channels": (WIDTH,) * 3,
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "mid_block_type": "UNetMidBlock2D",
    "transformer_layers_per_block": (1, 1, 2),
    "attention_head_dim": 2,  # diffusers means the number of heads
    "norm_num_groups": 8,
    "cross_attention_dim": sum(TEXT_WIDTHS),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": SIZE_NUMBERS,
    "projection_class_embeddings_input_dim": POOLED + 6 * SIZE_NUMBERS,
    "use_linear_projection": True,
    "time_embedding_dim": 2 * WIDTH,
}
SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "num_train_timesteps": 1000,
}
SIZES = (128, 128, 0, 0, 128, 128)
"""What the UNet is told of sizes while it is trained."""

ROUNDS = (
    (Recipe(steps=6000, batch=24, rate=6e-4, decay=0.3, average=0.999), 0.0),
    (Recipe(steps=5000, batch=24, rate=6e-4, decay=0.5, average=0.999, seed=1), 2.0),
)
"""Each goes on from the one before: how, and what ``where_words_act`` adds to weights of 1. The first round learns all
but glasses and smiles, which are so small that they are lost in the loss of everything else."""


def text_config(encoder: int, tokens: int) -> CLIPTextConfig:
    """Of the first (0) or second (1) text encoder. SDXL reads the layer before the last, so there are two."""
    width = TEXT_WIDTHS[encoder]
    return CLIPTextConfig(
        vocab_size=tokens,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=width // 64,
        hidden_act=("quick_gelu", "gelu")[encoder],
        projection_dim=POOLED if encoder else width,
        bos_token_id=0,
        eos_token_id=2,  # by which transformers takes the largest token for the end, as CLIP does
        pad_token_id=1,
    )


class SmallBase(nn.Module):
    """What is trained together.

    Attributes:
        unet: reads latents ``(N, 4, 16, 16)``.
        text_encoder, text_encoder_2: read rows of the small table of tokens, see ``words``.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        count = len(words.known()) + 1
        self.unet = UNet2DConditionModel(**UNET)
        self.text_encoder = CLIPTextModel(text_config(0, count))
        self.text_encoder_2 = CLIPTextModelWithProjection(text_config(1, count))
        for name, value in self.named_parameters():
            if name.startswith("text_encoder") and ".layers.1." in name:  # so that the last layer changes nothing
                value.requires_grad_(False)
                if name.endswith(("out_proj.weight", "out_proj.bias", "fc2.weight", "fc2.bias")):
                    value.data.zero_()

    def texts(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of the small table, ``(N, 77)`` for each encoder -> ``(N, 77, 192)`` and the pooled ``(N, 64)``."""
        one = self.text_encoder(first, output_hidden_states=True).hidden_states[-2]
        other = self.text_encoder_2(second, output_hidden_states=True)
        return torch.cat([one, other.hidden_states[-2]], dim=-1), other.text_embeds

    def forward(self, latents: Tensor, timesteps: Tensor, texts: tuple[Tensor, Tensor]) -> Tensor:
        """The velocity, in the latents' shape."""
        sizes = torch.tensor(SIZES, dtype=torch.float32).expand(len(latents), -1)
        conditions: Mapping[str, Any] = {"text_embeds": texts[1], "time_ids": sizes}
        return self.unet(latents, timesteps, encoder_hidden_states=texts[0], added_cond_kwargs=conditions).sample


def schedule() -> DDPMScheduler:
    """The noise schedule, SDXL's."""
    return DDPMScheduler(**SCHEDULE)


def train(path: Path, latents: Tensor, acting: Tensor, rounds: Sequence[tuple[Recipe, float]] = ROUNDS) -> Path:
    """Train it to the end, or what is left of that.

    Args:
        path: the file of the weights; those of the rounds before the last lie beside it.
        latents: ``(P, 4, 16, 16)`` of ``pictures.drawn_pictures``.
        acting: of ``where_words_act``.
        rounds: how, see ``ROUNDS``.
    """
    base, noising = SmallBase(), schedule()
    base.unet.to(memory_format=torch.channels_last)
    persons = pictures.persons(range(len(latents)))
    scene = pictures.settings(range(len(latents)))
    weights = torch.ones(())

    def loss(chance: torch.Generator, count: int) -> Tensor:
        chosen = torch.randint(len(latents), (count,), generator=chance)
        clean = latents[chosen].float()
        texts = words.caption_rows(scene.rows(chosen), persons[chosen], chance)
        noise = torch.randn(clean.shape, generator=chance)
        timesteps = _timesteps(count, chance)
        noised = noising.add_noise(clean, noise, timesteps)
        wanted = noising.get_velocity(clean, noise, timesteps)
        with torch.autocast("cpu", torch.bfloat16):
            predicted = base(noised.contiguous(memory_format=torch.channels_last), timesteps, base.texts(*texts))
        return ((predicted.float() - wanted).square() * weights).mean() / weights.mean()

    for number, (recipe, more) in enumerate(rounds, 1):
        weights = 1 + more * acting
        last = number == len(rounds)
        fit(path if last else path.with_name(f"{path.stem}-{number}{path.suffix}"), base, loss, recipe)
    return path


@torch.no_grad()
def where_words_act(small: AutoencoderTiny) -> Tensor:
    """Where in latents glasses, smiles and turned eyes are, each with the same part: ``(1, 1, 16, 16)``, of mean 1."""
    count = 48
    who = people.people(pictures.PEOPLE_SEED, range(count))
    where = scenes.scenes(pictures.SCENES_SEED, count).replace(headwear=0, glasses=False, smile=False, gaze=0.0)

    def seen(scene: scenes.Scene) -> Tensor:
        return small.encode(draw(who, scene) * 2 - 1).latents

    plain = seen(where)
    changes = [
        where.replace(glasses=True),
        where.replace(smile=True),
        where.replace(gaze=-1.0),
        where.replace(gaze=1.0),
    ]
    glasses, smile, left, right = ((seen(each) - plain).square().mean(dim=(0, 1)) for each in changes)
    parts = (glasses, smile, left + right)
    return torch.stack([part / part.mean() for part in parts]).mean(dim=0)[None, None]


def _timesteps(count: int, chance: torch.Generator) -> Tensor:
    """Three in four about where faces take shape, sigmas of 0.5 to 2.5 (after SD3, arXiv 2403.03206), others any."""
    middle = (torch.randn(count, generator=chance) - 0.35).sigmoid()
    anywhere = torch.rand(count, generator=chance)
    share = torch.where(torch.rand(count, generator=chance) < 0.75, middle, anywhere)
    return (share * SCHEDULE["num_train_timesteps"]).long().clamp(max=SCHEDULE["num_train_timesteps"] - 1)
