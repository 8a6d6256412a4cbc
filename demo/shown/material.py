"""What the studies and the examples draw with: people, their photos and kept identities, prompts, pairs."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from demo.cache import build_once, recipe_hash
from demo.drawn import drawing, people, scenes
from demo.drawn import judge as drawn_judge
from demo.drawn.folder import SIDE, as_image

from . import world
from .rows import name_of
from .studio import SIZE, Studio, workflow


def likeness(embed: Tensor | None, person: int) -> float:
    """With the photo that judges; a picture without a face has what two strangers have at the least, 0."""
    return 0.0 if embed is None else float(world.embedding(person) @ embed)


def simple(studio: Studio, person: int, text: str, seed: int, **portrait: float) -> Image.Image:
    """One portrait by the template portrait_simple."""
    values = {
        "Photo": {"image": studio.send(world.photo(person))},
        "HyperLoRA Portrait": portrait,
        "KSampler": {"seed": seed},
    }
    (picture,) = studio.draw(workflow("portrait_simple", text, values))
    return picture


def blended(studio: Studio, one: int, other: int, amount: float) -> Image.Image:
    """A portrait between two people by the template people_blend."""
    values = {
        "Photo of one": {"image": studio.send(world.photo(one))},
        "Photo of the other": {"image": studio.send(world.photo(other))},
        "HyperLoRA Blend People": {"amount": amount},
    }
    (picture,) = studio.draw(workflow("people_blend", plain_text(), values))
    return picture


def aged(studio: Studio, person: int, strength: float) -> Image.Image:
    """A portrait by the template slider, whose slider is of age."""
    young, old = young_and_old()
    values = {
        "Photo": {"image": studio.send(world.photo(person))},
        "More of it": {"image": studio.send(old)},
        "Less of it": {"image": studio.send(young)},
        "HyperLoRA Save Slider": {"overwrite": True},
        "Apply the slider": {"strength": strength},
    }
    (picture,) = studio.draw(workflow("slider", plain_text(), values))
    return picture


def scheduled(studio: Studio, person: int, points: str) -> Image.Image:
    """A portrait by the template schedule."""
    values = {
        "HyperLoRA Schedule": {"points": points},
        "HyperLoRA Load Identity": {"identity_name": kept(studio, person)},
    }
    (picture,) = studio.draw(workflow("schedule", plain_text(), values))
    return picture


def texts(count: int = world.PEOPLE) -> list[str]:
    """A prompt a person."""
    return [world.prompt(world.asked(), number) for number in range(count)]


def plain_text() -> str:
    """A prompt that says little, so that what changes is the person."""
    return world.prompt(scenes.plain(1), 0)


def read(pictures: Sequence[Image.Image]) -> dict[str, Tensor]:
    """What the judge reads off pictures."""
    return drawn_judge.load().read(world.pixels(pictures))


def photos_themselves() -> tuple[float, float]:
    """Likeness of two photos of one person, and of two people: the ends of the scale."""
    given, judged = world.gallery(world.GIVEN), world.gallery()
    there = ~(given.isnan().any(dim=1) | judged.isnan().any(dim=1))
    cosines = given[there] @ judged[there].T
    own = torch.eye(len(cosines), dtype=torch.bool)
    return float(cosines[own].mean()), float(cosines[~own].mean())


def several(person: int) -> dict[str, Path]:
    """Three photos of a person, by the titles of the nodes that load them."""
    return {f"Photo {i}": world.photo(person, number) for i, number in enumerate((world.GIVEN, *world.MORE[:2]), 1)}


def kept(studio: Studio, person: int) -> str:
    """An identity kept by the template identity_save, of three photos; the file's name."""
    name = f"{name_of(person)}"
    if name not in studio.done:
        values = {title: {"image": studio.send(path)} for title, path in several(person).items()}
        prompt = workflow("identity_save", "", values | {"HyperLoRA Save Identity": {"name": name, "overwrite": True}})
        studio.server.run({number: node for number, node in prompt.items() if node["class_type"] in _KEEPING})
        studio.done.add(name)
    return f"{name}.safetensors"


_KEEPING = {"LoadImage", "HyperLoRALoadModel", "HyperLoRADetectFaces", "HyperLoRAEncodeIdentity"} | {
    "HyperLoRAMixPhotos",
    "HyperLoRASaveIdentity",
}


def pairs(people: int) -> list[tuple[int, int]]:
    """Two people each, who have nothing to do with one another."""
    return [(person, (person + 1) % people) for person in range(0, people, 2)]


def young_and_old() -> tuple[Path, Path]:
    """One person young and old, in two photos that differ in nothing else."""

    def write(into: Path) -> None:
        who = people.people(world.SEED + 2, [0]).repeat(2, 1)
        who[:, people.TRAITS.index("age")] = torch.tensor([0.1, 0.97])
        for name, picture in zip(("young", "old"), drawing.draw(who, scenes.plain(2), SIDE), strict=True):
            as_image(picture).save(into / f"{name}.png")

    folder = build_once(f"ages-{recipe_hash(*drawing.SOURCES, __file__)}", write)
    return folder / "young.png", folder / "old.png"


CURVES = {"throughout": "0: 1, 1: 1", "the first half": "0: 1, 0.45: 1, 0.5: 0, 1: 0", "never": "0: 0, 1: 0"}
"""Schedules: in words -> points."""

SIDE_BY_SIDE = {
    "The whole picture": {"width": 2 * SIZE, "height": SIZE},
    "Half of it": {"width": SIZE, "height": SIZE},
    "Size": {"width": 2 * SIZE, "height": SIZE},
}
"""Of pictures with two people."""

REFINING = {"denoise": 0.75, "surroundings": 2.0}
"""Of Refine Faces in the small world, whose people are drawn with shoulders."""


def two_strangers(number: int) -> Path:
    """A picture of two people whom nobody knows, 256 x 128 pixels."""

    def write(into: Path) -> None:
        who = people.people(world.SEED + 3, [number, number + 1])
        left, right = drawing.draw(who, scenes.plain(2), SIZE)
        as_image(torch.cat([left, right], dim=2)).save(into / f"strangers-{number}.png")

    folder = build_once(f"strangers-{number}-{recipe_hash(*drawing.SOURCES, __file__)}", write)
    return folder / f"strangers-{number}.png"
