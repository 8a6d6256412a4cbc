"""The colours of people and things. Shapes as in ``frame``."""

import torch
from torch import Tensor

from .people import AGED
from .shapes import step

_SKIN = ((0.98, 0.84, 0.75), (0.90, 0.69, 0.53), (0.67, 0.45, 0.31), (0.43, 0.28, 0.20))
_HAIR = ((0.07, 0.06, 0.07), (0.20, 0.13, 0.09), (0.38, 0.24, 0.14), (0.50, 0.19, 0.10), (0.80, 0.40, 0.13),
         (0.88, 0.70, 0.38), (0.95, 0.89, 0.72))  # fmt: skip
_GREY = (0.68, 0.68, 0.69)


def along(colours: tuple[tuple[float, float, float], ...], value: Tensor) -> Tensor:
    """A place along a row of colours, ``(N, 1, 1)`` from [0, 1] -> ``(N, 3, 1, 1)``."""
    table = torch.tensor(colours)
    at = value.flatten() * (len(colours) - 1)
    low = at.long().clamp(max=len(colours) - 2)
    return torch.lerp(table[low], table[low + 1], (at - low)[:, None])[:, :, None, None]


def palette(colours: dict[str, tuple[float, float, float]], index: Tensor, tint: Tensor) -> Tensor:
    """Colours by their names' places, ``(N, 3, 1, 1)``, each with a tint ``(N, 3)``."""
    return (torch.tensor(list(colours.values()))[index] + tint)[:, :, None, None].clamp(0, 1)


def skin_colour(person: dict[str, Tensor]) -> Tensor:
    """Of the skin, ``(N, 3, 1, 1)``."""
    tone = along(_SKIN, person["skin"])
    warm = torch.tensor([0.05, -0.005, -0.06])[:, None, None]
    return (tone + warm * (person["undertone"][:, None] * 2 - 1)).clamp(0, 1)


def greyed(person: dict[str, Tensor]) -> Tensor:
    """How far hair is grey, ``(N, 1, 1, 1)``."""
    return step(person["age"], AGED, 0.95)[:, None]


def hair_colour(person: dict[str, Tensor]) -> Tensor:
    """Of the hair, ``(N, 3, 1, 1)``."""
    natural = along(_HAIR, person["hair_colour"])
    return torch.lerp(natural, torch.tensor(_GREY)[:, None, None].expand_as(natural), 0.9 * greyed(person))
