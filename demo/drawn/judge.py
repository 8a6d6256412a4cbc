"""The judge: it reads off a picture what words say of scenes. It learns on drawings, and is no part of what draws.

Shapes: N pictures.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from .scenes import BACKGROUNDS, CLOTHING_COLOURS, CLOTHING_KINDS, HEADWEAR, STYLES, Scene

QUESTIONS: Mapping[str, int] = {
    "background": len(BACKGROUNDS),
    "colour": len(CLOTHING_COLOURS),
    "clothing": len(CLOTHING_KINDS),
    "headwear": len(HEADWEAR),
    "glasses": 2,
    "smile": 2,
    "gaze": 3,
    "light": 3,
    "style": len(STYLES),
}
"""What is asked -> how many answers there are; names of ``Scene``."""

SIDE = 64
"""Pixels to which pictures are shrunk before they are looked at."""

WEIGHTS = Path(__file__).parent.parent / "weights" / "judge.safetensors"


class Judge(nn.Module):
    """A small network of convolutions with an answer to each of ``QUESTIONS``."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        into = 3
        for level in range(4):
            out = width * 2 ** min(level, 2)
            for _ in range(2):
                layers += [nn.Conv2d(into, out, 3, padding=1), nn.GroupNorm(8, out), nn.SiLU()]
                into = out
            layers.append(nn.AvgPool2d(2))
        self.look = nn.Sequential(*layers)
        self.answers = nn.ModuleDict({name: nn.Linear(into * 16, count) for name, count in QUESTIONS.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Pictures ``(N, 3, S, S)`` in [0, 1] -> question -> ``(N, answers)`` logits."""
        small = F.interpolate(pictures, (SIDE, SIDE), mode="area")
        features = self.look(small * 2 - 1).flatten(1)
        return {name: answer(features) for name, answer in self.answers.items()}

    @torch.no_grad()
    def read(self, pictures: Tensor) -> dict[str, Tensor]:
        """Question -> what it takes for the answer, ``(N,)`` int64, as ``asked`` counts."""
        return {name: logits.argmax(dim=1) for name, logits in self(pictures).items()}


def asked(scene: Scene) -> dict[str, Tensor]:
    """The right answers to ``QUESTIONS`` for scenes, ``(N,)`` int64 each."""
    return {name: getattr(scene, name).long() + (1 if name in ("gaze", "light") else 0) for name in QUESTIONS}


def load(path: Path = WEIGHTS) -> Judge:
    """The judge of a file, in float32."""
    judge = Judge()
    judge.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return judge.requires_grad_(False).eval()
