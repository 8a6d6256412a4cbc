"""A training loop for the small networks, which can be stopped at any moment and resumed."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hyperlora_core.files import atomic

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How a network is fitted.

    Attributes:
        steps: optimizer steps.
        batch: samples a step.
        rate: AdamW's learning rate, reached over ``warmup`` steps.
        decay: share of the steps over which it falls to 0 at the end, along a cosine.
        warmup: steps.
        average: decay of the exponential moving average of the weights, a step.
        weight_decay: AdamW's.
        save_every: steps between two states.
        seed: of the random numbers that the loss draws.
    """

    steps: int
    batch: int
    rate: float
    decay: float = 0.3
    warmup: int = 100
    average: float = 0.998
    weight_decay: float = 0.01
    save_every: int = 100
    seed: int = 0

    def share(self, step: int) -> float:
        """The share of the learning rate at a step."""
        rise = min(1.0, (step + 1) / self.warmup)
        remaining = (self.steps - step) / (self.decay * self.steps)
        return rise * (0.5 * (1 - math.cos(math.pi * remaining)) if remaining < 1 else 1.0)


Loss = Callable[[torch.Generator, int], Tensor]
"""``(generator, count)`` -> the mean loss, a scalar, of ``count`` samples that the generator draws."""


def fit(path: Path, network: nn.Module, loss: Loss, recipe: Recipe) -> Path:
    """Fit a network, from its saved state where there is one, to the recipe's last step.

    Args:
        path: the safetensors file of the averaged weights, which appears when it is done; the state lies beside it.
        network: fitted in place; it ends with the averaged weights.
        loss: called once a step, with a generator seeded by the step.
        recipe: steps, batch, learning rate.
    """
    state_file = path.with_suffix(".state")
    if path.exists():
        network.load_state_dict(load_file(path))
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    trained = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(trained, recipe.rate, betas=(0.9, 0.99), weight_decay=recipe.weight_decay, fused=True)
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    first_step = 0
    if state_file.exists():
        saved = torch.load(state_file, weights_only=True)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        average, first_step = saved["average"], saved["step"]
        log.info("%s goes on from step %d", path.stem, first_step)
    began, smooth = time.monotonic(), math.nan
    for step in range(first_step, recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * recipe.share(step)
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        value = loss(generator, recipe.batch)
        value.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        keep = min(recipe.average, (step + 1) / (step + 10))
        for name, now in network.state_dict().items():
            if now.is_floating_point():
                average[name].lerp_(now, 1 - keep)
        loss_value = float(value.detach())
        smooth = loss_value if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss_value
        if (step + 1) % recipe.save_every == 0:
            pace = (time.monotonic() - began) / (step + 1 - first_step)
            log.info("%s: step %d of %d, loss %.4f, %.2f s a step", path.stem, step + 1, recipe.steps, smooth, pace)
            now_state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "average": average}
            with atomic.writing(state_file) as part:
                torch.save(now_state | {"step": step + 1}, part)
    network.load_state_dict(average)
    with atomic.writing(path) as part:
        save_file({name: value.contiguous() for name, value in average.items()}, part)
    state_file.unlink(missing_ok=True)
    return path
