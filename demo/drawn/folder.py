"""A folder of drawn people, as a training takes it: a folder a person, in it pictures, their captions and licences."""

import json
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from hyperlora_core.errors import HyperLoRAError
from hyperlora_core.files import atomic

from .drawing import draw
from .people import people
from .scenes import Scene, caption, scenes

SIDE = 256
"""Pixels of a photo's side."""

LICENCE = "CC0-1.0: drawn by a program, it shows nobody"

_AT_ONCE = 16


def as_image(picture: Tensor) -> Image.Image:
    """``(3, S, S)`` in [0, 1] -> a picture."""
    return Image.fromarray((picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy())


def write_people(folder: Path, seed: int, count: int, photos: int = 3, first: int = 0, side: int = SIDE) -> None:
    """Draw people, each in other scenes, and write them: ``person-00012/1.png``, ``1.txt`` and ``1.json``.

    The captions say what is to be seen beside the person. What is there already stays, so a command that was stopped
    goes on.

    Args:
        folder: where to.
        seed: of people and scenes; another one has nobody in common with it.
        count: how many people.
        photos: of each.
        first: number of the first.
        side: of a photo, pixels.

    Raises:
        HyperLoRAError: the folder cannot be written, as where a disk is full.
    """
    left = [
        (person, photo)
        for person in range(first, first + count)
        for photo in range(photos)
        if not _path(folder, person, photo).exists()
    ]
    for start in range(0, len(left), _AT_ONCE):
        chosen = left[start : start + _AT_ONCE]
        who = people(seed, [person for person, _ in chosen])
        places = [scene_of(seed, person, photo) for person, photo in chosen]
        drawn = draw(who, Scene.joined(places), side)
        for (person, photo), scene, picture in zip(chosen, places, drawn, strict=True):
            path = _path(folder, person, photo)
            chance = torch.Generator().manual_seed(photo + 1000 * person)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.with_suffix(".txt").write_text(caption(scene, 0, [], chance) + "\n", encoding="utf-8")
                path.with_suffix(".json").write_text(json.dumps({"licence": LICENCE}), encoding="utf-8")
                with atomic.writing(path) as part:  # last: what is there is whole
                    as_image(picture).save(part, "PNG")
            except OSError as error:
                raise HyperLoRAError(f"{path} cannot be written: {error.strerror or error}") from error


def scene_of(seed: int, person: int, photo: int) -> Scene:
    """The scene of one photo of a person."""
    return scenes(seed, 1, 1000 * person + photo)


def _path(folder: Path, person: int, photo: int) -> Path:
    return folder / f"person-{person:05d}" / f"{photo}.png"
