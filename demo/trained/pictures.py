"""The pictures that the small models are trained on, drawn once and kept."""

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from demo.cache import build_once, recipe_hash
from demo.drawn import drawing, people, scenes

COUNT = 20_000
PEOPLE_SEED, SCENES_SEED = 1, 2
STYLED = 0.12

_AT_ONCE = 40

log = logging.getLogger(__name__)


def drawn_pictures() -> Tensor:
    """``(COUNT, 3, S, S)`` uint8, mapped; the pictures of ``person`` and ``scene``."""
    recipe = recipe_hash(*drawing.SOURCES, __file__)
    folder = build_once(f"drawn-pictures-{recipe}", _draw)
    shape = (COUNT, 3, drawing.SIZE, drawing.SIZE)
    return torch.from_numpy(np.memmap(folder / "pictures.bin", np.uint8, "c", shape=shape))


def persons(numbers: range) -> Tensor:
    """Who is on these pictures: ``(N, T)``."""
    return people.people(PEOPLE_SEED, numbers)


def settings(numbers: range) -> scenes.Scene:
    """How these pictures are drawn."""
    return scenes.scenes(SCENES_SEED, len(numbers), numbers.start, STYLED)


def _draw(folder: Path) -> None:
    with (folder / "pictures.bin").open("wb") as file:
        for first in range(0, COUNT, _AT_ONCE):
            numbers = range(first, min(first + _AT_ONCE, COUNT))
            drawn = drawing.draw(persons(numbers), settings(numbers))
            file.write((drawn * 255).round().byte().numpy().tobytes())
            if (first // _AT_ONCE) % 50 == 0:
                log.info("%d of %d pictures are drawn", first, COUNT)
