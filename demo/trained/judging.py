"""Training the judge on drawings, some blurred, noisy or off in colour, as a small model's pictures are."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from demo.drawn.drawing import SIZE
from demo.drawn.judge import SIDE, Judge, asked

from . import pictures
from .fitting import Recipe, fit

RECIPE = Recipe(steps=1500, batch=48, rate=1.5e-3, average=0.995)


def train(path: Path, recipe: Recipe = RECIPE) -> Path:
    """Train it to the end, or what is left of that."""
    torch.manual_seed(0)
    judge, drawn = Judge(), pictures.drawn_pictures()
    answers = asked(pictures.settings(range(len(drawn))))

    def loss(generator: torch.Generator, count: int) -> Tensor:
        indices = torch.randint(len(drawn), (count,), generator=generator)
        answered = judge(spoilt(drawn[indices].float() / 255, generator))
        losses = [F.cross_entropy(logits, answers[name][indices]) for name, logits in answered.items()]
        return torch.stack(losses).mean()

    return fit(path, judge, loss, recipe)


def spoilt(picture: Tensor, generator: torch.Generator) -> Tensor:
    """Shrunk at random and enlarged again, noisy, in other colours."""
    side = int(torch.randint(SIDE // 2, SIZE + 1, (), generator=generator))
    picture = F.interpolate(F.interpolate(picture, (side, side), mode="area"), (SIZE, SIZE), mode="bilinear")
    count = len(picture)
    gain = 1 + 0.08 * torch.randn(count, 3, 1, 1, generator=generator)
    noise = 0.05 * torch.rand(count, 1, 1, 1, generator=generator) * torch.randn(picture.shape, generator=generator)
    shift = torch.randint(-4, 5, (2,), generator=generator).tolist()
    return (picture * gain + noise).roll(shift, dims=(2, 3)).clamp(0, 1)
