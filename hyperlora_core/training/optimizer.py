"""How weights change: AdamW, its learning rates over a run, and the moving average."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..doors.diffusers.averaging import ema_model
from ..errors import MissingPackageError
from ..network.bases import Bases
from .config import RunConfig


def optimizer_for(config: RunConfig, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW over what trains: the bases at a learning rate of their own, no decay on vectors.

    Each group's "full_lr" is what ``learning_rate_share`` is a share of.

    Raises:
        MissingPackageError: 8 bits were asked for and bitsandbytes cannot be used.
    """
    optimization = config.optimization
    bases = {id(value) for part in model.modules() if isinstance(part, Bases) for value in part.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for value in model.parameters():
        if value.requires_grad:
            rate = optimization.bases_learning_rate if id(value) in bases else optimization.learning_rate
            decay = optimization.weight_decay if value.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(value)
    listed = [
        {"params": values, "lr": rate, "full_lr": rate, "weight_decay": decay}
        for (rate, decay), values in groups.items()
    ]
    return adamw(optimization.eight_bit)(listed, betas=optimization.betas)


def adamw(eight_bit: bool) -> Any:
    """The class of AdamW.

    Args:
        eight_bit: with its state in 8 bits.

    Raises:
        MissingPackageError: 8 bits were asked for and bitsandbytes cannot be used.
    """
    if not eight_bit:
        return torch.optim.AdamW
    try:
        from bitsandbytes.optim import AdamW8bit
    except (ImportError, RuntimeError) as error:
        raise MissingPackageError(
            f"AdamW in 8 bits needs bitsandbytes, which cannot be used here ({error}): pip install bitsandbytes, or "
            "train with --optimization.no-eight-bit"
        ) from error
    return AdamW8bit


def learning_rate_share(config: RunConfig, step: int) -> float:
    """The share of the full learning rate at a step: up a line, along the top, down a cosine."""
    optimization = config.optimization
    rise = min(1.0, (step + 1) / optimization.warmup) if optimization.warmup else 1.0
    falls, steps_left = optimization.decay * config.steps, config.steps - step
    fall = 0.5 * (1 - math.cos(math.pi * steps_left / falls)) if steps_left < falls else 1.0
    return rise * fall


def average_of(config: RunConfig, trained: Sequence[nn.Parameter]) -> Any:
    """diffusers' ``EMAModel`` of what trains; None where the recipe keeps no average."""
    if not config.optimization.ema:
        return None
    return ema_model(trained, config.optimization.ema)
