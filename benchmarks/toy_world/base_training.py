"""Training the base; it goes on where it was stopped.

In float32: at this size that is faster on a CPU than bfloat16 is, even on one that multiplies it.
"""

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from demo.cache import cache_dir
from hyperlora_core.files import atomic
from hyperlora_core.training.objective import Objective

from .base import Base, latents_of, objective
from .recipe import recipe_hash
from .words import captions, said_at_random
from .world import IDENTITY, SCENE_DRAWS, photos, scenes

SOURCES = ("world.py", "words.py", "base.py")

# A picture's error counts as the velocity's does, but at most so many times.
_MOST = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How the base is trained.

    Attributes:
        steps: optimizer steps.
        batch: pictures a step.
        rate: AdamW's learning rate, which rises over ``warmup`` steps.
        decay: share of the steps over which it falls to 0 at the end, along a cosine.
        warmup: steps.
        average: how much of its past the moving average keeps a step.
        save_every: steps.
        seed: of all that is drawn.
    """

    steps: int = 6000
    batch: int = 32
    rate: float = 1e-3
    warmup: int = 100
    decay: float = 0.4
    average: float = 0.995
    save_every: int = 100
    seed: int = 0


def train(where: Path, base: Base, recipe: Recipe) -> Path:
    """Train to the end; what was averaged is in ``base.safetensors``, which appears when it is done.

    Args:
        where: its state lies.
        base: trained in place.
        recipe: how.
    """
    done, state = where / "base.safetensors", where / "state.pt"
    if done.exists():
        return done
    noising = objective()
    optimizer = torch.optim.AdamW(base.parameters(), recipe.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    average = {name: value.detach().clone() for name, value in base.state_dict().items()}
    first = 0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        base.load_state_dict(saved["base"])
        optimizer.load_state_dict(saved["optimizer"])
        average, first = saved["average"], saved["step"]
        log.info("The base goes on from step %d", first)
    began, smooth = time.monotonic(), math.nan
    for step in range(first, recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * _share(recipe, step)
        loss = _loss(base, noising, recipe.batch, recipe.seed + step * 1000)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(base.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        keep = min(recipe.average, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(average.values()), list(base.state_dict().values()), 1 - keep)
        told = float(loss.detach())
        smooth = told if math.isnan(smooth) else 0.98 * smooth + 0.02 * told
        if (step + 1) % recipe.save_every == 0:
            pace = (time.monotonic() - began) / (step + 1 - first)
            log.info("Base: step %d, loss %.4f, %.2f s a step", step + 1, smooth, pace)
            now = {"base": base.state_dict(), "optimizer": optimizer.state_dict(), "average": average}
            with atomic.writing(state) as part:
                torch.save(now | {"step": step + 1}, part)
    with atomic.writing(done) as part:
        save_file({name: value.contiguous() for name, value in average.items()}, part)
    return done


def load(path: Path) -> Base:
    """The base of a file, frozen."""
    base = Base()
    base.load_state_dict(load_file(path))
    return base.requires_grad_(False).eval()


def trained() -> Path:
    """Train the base, or what is left of it."""
    folder().mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    return train(folder(), Base(), Recipe())


def folder() -> Path:
    """Where the base's state and weights lie."""
    return cache_dir() / f"toy-world-base-{recipe_hash(SOURCES, Recipe())}"


def _share(recipe: Recipe, step: int) -> float:
    rise = min(1.0, (step + 1) / recipe.warmup)
    left = (recipe.steps - step) / (recipe.decay * recipe.steps)
    return rise * (0.5 * (1 - math.cos(math.pi * left)) if left < 1 else 1.0)


def _loss(base: Base, noising: Objective, count: int, seed: int) -> Tensor:
    numbers = torch.Generator().manual_seed(seed)
    identity = torch.rand(count, len(IDENTITY), generator=numbers)
    scene = scenes(torch.rand(count, SCENE_DRAWS, generator=numbers))
    words = captions(identity, scene, said_at_random(count, numbers))
    latents = latents_of(photos(identity, scene), base.patch)
    noise = torch.randn(latents.shape, generator=numbers)
    timesteps = torch.randint(len(noising.alphas_cumprod), (count,), generator=numbers)
    predicted = base(noising.noised(latents, noise, timesteps), timesteps, words)
    errors = noising.losses(predicted, noising.target(latents, noise, timesteps), timesteps)
    spread = 1 - noising.alphas_cumprod[timesteps]
    return (errors * (1 / spread).clamp(max=_MOST)).mean()
