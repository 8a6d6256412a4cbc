"""The moving average of weights that diffusers' training scripts keep."""

from collections.abc import Iterable
from typing import Any

from torch import nn


def ema_model(parameters: Iterable[nn.Parameter], decay: float) -> Any:
    """diffusers' ``EMAModel`` of parameters.

    Args:
        parameters: what is averaged.
        decay: the most that is kept of the average at a step.
    """
    from diffusers.training_utils import EMAModel

    return EMAModel(list(parameters), decay=decay)
