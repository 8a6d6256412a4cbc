"""Who is drawn: a person is a row of numbers from [0, 1), each to be seen in the picture.

Shapes: N people, T traits.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

TRAITS = (
    "skin",
    "undertone",
    "hair_colour",
    "hair_length",
    "hair_volume",
    "hair_wave",
    "fringe",
    "parting",
    "face_width",
    "jaw",
    "chin",
    "eye_spacing",
    "eye_size",
    "eye_tilt",
    "iris",
    "brow_thickness",
    "brow_height",
    "brow_angle",
    "nose_length",
    "nose_width",
    "mouth_width",
    "lips",
    "lip_colour",
    "beard",
    "age",
    "freckles",
)
"""The names of a person's numbers, in their order."""

_HAIR_COLOURS = ("black", "dark brown", "brown", "auburn", "ginger", "blond", "platinum blond")
_HAIR_LENGTHS = ("short", "chin-length", "long")
_SKINS = ("fair", "tan", "brown", "dark")
BEARDED = 0.62
"""From this value of ``beard`` on there is one."""
AGED = 0.62
"""From this value of ``age`` on hair turns grey and lines show."""


def people(seed: int, numbers: Sequence[int] | range) -> Tensor:
    """People ``(N, T)`` by their numbers: the same seed and number give the same person, whoever else is drawn."""
    return draws("people", seed, numbers, len(TRAITS))


def draws(purpose: str, seed: int, numbers: Sequence[int] | range, count: int) -> Tensor:
    """So many numbers from [0, 1) for each of ``numbers``, ``(N, count)`` float32, each row by itself."""
    key = [seed, *purpose.encode()]
    rows = [np.random.default_rng([number, *key]).random(count, np.float32) for number in numbers]
    return torch.from_numpy(np.stack(rows))


def described(person: Tensor) -> list[str]:
    """What words can say of a person ``(T,)``, in plain English."""
    values = dict(zip(TRAITS, person.tolist(), strict=True))
    colour = "grey" if values["age"] > (AGED + 1) / 2 else _at(_HAIR_COLOURS, values["hair_colour"])
    said = [f"{_at(_SKINS, values['skin'])} skin", f"{_at(_HAIR_LENGTHS, values['hair_length'])} {colour} hair"]
    if values["beard"] > BEARDED:
        said.append("a beard")
    return said


def _at(names: Sequence[str], value: float) -> str:
    return names[min(int(value * len(names)), len(names) - 1)]


def every_description() -> list[str]:
    """Whatever captions say of people."""
    hair = [f"{length} {colour} hair" for length in _HAIR_LENGTHS for colour in (*_HAIR_COLOURS, "grey")]
    return [*(f"{skin} skin" for skin in _SKINS), *hair, "a beard"]
