"""The frozen encoders, in AntelopeV2's and CLIP's place, and the judge that reads a person off a picture.

All three are small convolutional networks that are trained on pictures of the world; the judge has another shape,
another seed and other pictures than what the HyperLoRA is given. Shapes: N pictures ``(N, 3, 32, 32)`` in [0, 1].
"""

import logging
import math
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from demo.cache import build_once, cache_dir

from .recipe import recipe_hash
from .world import BACKGROUNDS, CLOTHINGS, IDENTITY, SCENE_DRAWS, Scene, palette, photos, scenes

EMBED_DIM = 64
CLIP_TOKENS, CLIP_WIDTH = 16, 64
EMBED_NOISE = 0.02  # a number, beside what light and pose do to it
_PERSON_STEPS = 3
_WEIGHT = "encoder.safetensors"

log = logging.getLogger(__name__)

Target = Callable[[Tensor, Scene], Tensor]


class FaceEncoder(nn.Module):
    """In AntelopeV2's place: a face embedding of unit length, trained to tell the person and nothing else."""

    outputs, seed, steps = len(IDENTITY), 1, 2500

    def __init__(self) -> None:
        super().__init__()
        self.body = _convolutions(48, 96, 128, 128)
        self.embedding = nn.Linear(128 * 16, EMBED_DIM)
        self.head = nn.Linear(EMBED_DIM, self.outputs)

    def forward(self, pictures: Tensor) -> Tensor:
        """``(N, 64)``, unit length."""
        return F.normalize(self.embedding(self.body(pictures - 0.5).flatten(1)), dim=-1)

    def told(self, pictures: Tensor) -> Tensor:
        """What the head tells of an embedding that noise has been added to."""
        embeds = self(pictures)
        return self.head(F.normalize(embeds + EMBED_NOISE * torch.randn_like(embeds), dim=-1) * 8)


class TokenEncoder(nn.Module):
    """In CLIP's place: 16 tokens, trained to tell all of a picture, of the person three steps a parameter."""

    outputs, seed, steps = len(IDENTITY) + 11, 2, 2000

    def __init__(self) -> None:
        super().__init__()
        self.body = _convolutions(48, 96, 128, CLIP_WIDTH)
        self.head = nn.Sequential(nn.Linear(CLIP_WIDTH * 16, 256), nn.ReLU(), nn.Linear(256, self.outputs))

    def forward(self, pictures: Tensor) -> Tensor:
        """``(N, 16, 64)``."""
        return F.layer_norm(self.body(pictures - 0.5).flatten(2).mT, (CLIP_WIDTH,))

    def told(self, pictures: Tensor) -> Tensor:
        """What the head tells of the tokens."""
        return self.head(self(pictures).flatten(1))


class Judge(nn.Module):
    """Reads the ten numbers of a person off a picture; it has seen noise as drawn pictures have it."""

    outputs, seed, steps = len(IDENTITY), 3, 3000

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _block(3, 16, 1), _block(16, 40, 2), _block(40, 80, 1), _block(80, 112, 2), _block(112, 112, 2)
        )
        self.head = nn.Sequential(nn.Linear(112 * 16, 256), nn.ReLU(), nn.Linear(256, self.outputs))

    def forward(self, pictures: Tensor) -> Tensor:
        """``(N, 10)``, in [0, 1] but for its errors."""
        return self.told(pictures) * math.sqrt(1 / 12) + 0.5

    def told(self, pictures: Tensor) -> Tensor:
        """The numbers, standardised."""
        if self.training:
            pictures = pictures + 0.06 * torch.rand(len(pictures), 1, 1, 1) * torch.randn_like(pictures)
        return self.head(self.body(pictures - 0.5).flatten(1))


def face_encoder() -> FaceEncoder:
    """Trained, frozen."""
    return _trained("face", FaceEncoder, lambda identity, scene: _standard(identity))


def token_encoder() -> TokenEncoder:
    """Trained, frozen."""
    return _trained("tokens", TokenEncoder, _all)


def judge() -> Judge:
    """Trained, frozen."""
    return _trained("judge", Judge, lambda identity, scene: _standard(identity))


def train(network: nn.Module, target: Target, steps: int, batch: int = 64, rate: float = 2e-3) -> nn.Module:
    """Train an encoder on pictures that are new at every step; it comes back frozen."""
    numbers = torch.Generator().manual_seed(network.seed * 1_000_003)
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        identity = torch.rand(batch, len(IDENTITY), generator=numbers)
        scene = scenes(torch.rand(batch, SCENE_DRAWS, generator=numbers))
        errors = (network.told(photos(identity, scene)) - target(identity, scene)).square()
        errors.mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if (step + 1) % 250 == 0:
            log.info("%s: step %d, error %.3f", type(network).__name__, step + 1, errors.detach().mean().sqrt())
    return network.requires_grad_(False).eval()


def cached(name: str) -> Path:
    """Where an encoder lies once it is trained: "face", "tokens", "judge"."""
    return cache_dir() / f"toy-world-{name}-{recipe_hash(('world.py', 'encoders.py'))}"


def _trained(name: str, make: Callable[[], nn.Module], target: Target) -> nn.Module:
    def build(folder: Path) -> None:
        torch.manual_seed(make.seed)
        save_file(train(make(), target, make.steps).state_dict(), folder / _WEIGHT)

    network = make()
    folder = build_once(cached(name).name, build)
    network.load_state_dict(load_file(folder / _WEIGHT))
    return network.requires_grad_(False).eval()


def _standard(identity: Tensor) -> Tensor:
    return (identity - 0.5) * math.sqrt(12)


def _all(identity: Tensor, scene: Scene) -> Tensor:
    coarse = ((identity * _PERSON_STEPS).floor().clamp(max=_PERSON_STEPS - 1) + 0.5) / _PERSON_STEPS
    seen = [
        (palette(BACKGROUNDS)[scene.background] - 0.5) * 3,
        (palette(CLOTHINGS)[scene.clothing] - 0.5) * 3,
        scene.light[:, None] * 1.7,
        scene.angle[:, None] * 12,
        (scene.scale[:, None] - 1) * 35,
        scene.shift * 1.3,
    ]
    return torch.cat([_standard(coarse), *seen], dim=1)


def _convolutions(*widths: int) -> nn.Sequential:
    """``(N, 3, 32, 32) -> (N, last width, 4, 4)``, by way of 16 x 16 and 8 x 8."""
    strides = (1, 2, 1, 2)
    return nn.Sequential(nn.PixelUnshuffle(2), *map(_block, (12, *widths), widths, strides))


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )
