"""Each example workflow drawn by the demo's models: what it is given, and the pictures that come of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from demo import workflows

from . import material, world
from .studio import Studio, workflow

ONE, OTHER, AT_THE_BEACH = 3, 12, 1
"""The people of ``world`` who are shown; the last where a photo's surroundings matter."""

PORTRAIT = "photo of a person, at the beach, wearing a white t-shirt"
HALF = "photo of a person, grey background, wearing a blue t-shirt"


@dataclass(frozen=True)
class Example:
    """An example workflow and what is filled into it.

    Attributes:
        photos: sent to the server; by the title of the node that loads them.
        people: numbers of the people whose identities are loaded, by the title of the node that loads them.
        values: further inputs of nodes, by their titles.
        text: the prompt, without trigger words.
    """

    photos: Mapping[str, Path]
    people: Mapping[str, int]
    values: Mapping[str, Mapping[str, object]]
    text: str = PORTRAIT


def examples() -> dict[str, Example]:
    """By the workflow's name; those that need a ControlNet are not among them, for the small world has none."""
    photo, judging = world.photo(ONE), world.photo(ONE, world.JUDGED_BY)
    several = material.several(ONE)
    two = {"The first person": ONE, "The second person": OTHER}
    identity = {"HyperLoRA Load Identity": ONE}
    young, old = material.young_and_old()
    return {
        "portrait_simple": Example({"Photo": photo}, {}, {}),
        "portrait_several_photos": Example(several, {}, {}),
        "portrait_steps": Example({"Photo": photo}, {}, {}),
        "portrait_steps_base": Example(
            {"Photo": world.photo(AT_THE_BEACH)},
            {},
            {"HyperLoRA Generate LoRA": {"base_weight": 1.0}},
            "photo of a person",
        ),
        "identity_save": Example(several, {}, {"HyperLoRA Save Identity": {"overwrite": True}}),
        "identity_load": Example({}, identity, {}),
        "people_blend": Example({"Photo of one": photo, "Photo of the other": world.photo(OTHER)}, {}, {}),
        "slider": Example(
            {"Photo": photo, "More of it": old, "Less of it": young},
            {},
            {"HyperLoRA Save Slider": {"overwrite": True}, "Apply the slider": {"strength": 1.0}},
        ),
        "people_batch": Example({}, two, {}),
        "people_regions": Example({}, two, material.SIDE_BY_SIDE | {"KSampler": {"seed": 1}}, HALF),
        "people_prompts": Example(
            {},
            two,
            material.SIDE_BY_SIDE
            | {
                "Prompt of the first": {"text": world.told(HALF)},
                "Prompt of the second": {"text": world.told(HALF.replace("blue t-shirt", "red hoodie"))},
            },
        ),
        "schedule": Example({}, identity, {}),
        "likeness": Example({"Another photo of the person": judging}, identity, {}),
        "sample_until_alike": Example({}, identity, {"HyperLoRA Sample until Alike": {"enough": 1.0}}),
        "faces_refine": Example(
            {"Picture with two people": material.two_strangers(0)},
            two,
            {"HyperLoRA Refine Faces": material.REFINING},
            HALF,
        ),
        "saved_lora": Example({}, {}, {"The saved person": {"lora_name": "person_00001_.safetensors"}}),
    }


def filled(studio: Studio, name: str, example: Example) -> workflows.Workflow:
    """The workflow, ready for the studio's server."""
    values = {title: dict(inputs) for title, inputs in example.values.items()}
    for title, path in example.photos.items():
        values.setdefault(title, {})["image"] = studio.send(path)
    for title, person in example.people.items():
        values.setdefault(title, {})["identity_name"] = material.kept(studio, person)
    return workflow(name, world.told(example.text), values)


def photos_of(example: Example) -> Sequence[Path]:
    """What an example was given: its photos, and one of each person whose identity it loads."""
    return [*example.photos.values(), *(world.photo(person) for person in example.people.values())]


def drawn(studio: Studio, name: str) -> list[Image.Image]:
    """What one of ``examples`` gives."""
    if name == "saved_lora":
        studio.server.run(filled(studio, "portrait_steps", examples()["portrait_steps"]))
    return studio.draw(filled(studio, name, examples()[name]))
