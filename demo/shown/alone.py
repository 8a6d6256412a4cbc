"""Studies of one person: who is drawn, in which scene, how strongly and when."""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from demo.drawn import judge as drawn_judge
from demo.drawn import scenes
from demo.drawn.folder import scene_of

from . import world
from .material import CURVES, likeness, photos_themselves, plain_text, read, scheduled, several, simple, texts
from .rows import Row, Values, difference, per_person, row
from .studio import Studio, workflow


def identity(studio: Studio) -> list[Row]:
    """One photo, one prompt with a whole scene in it, with the LoRA and without; and with nothing on the face."""
    everyone = range(world.PEOPLE)
    bare = [world.prompt(world.bare(), person) for person in everyone]
    with_it = [simple(studio, person, texts()[person], person) for person in everyone]
    without = [simple(studio, person, texts()[person], person, id_weight=0.0) for person in everyone]
    ways = (
        (", nothing on the face", world.bare(), [simple(studio, i, bare[i], i) for i in everyone], False),
        ("", world.asked(), with_it, False),
        (", without the LoRA", world.asked(), without, True),
    )
    same, different = photos_themselves()

    def among(embeds: Sequence[Tensor | None], most: int) -> Values:
        ranks = [world.rank(embed, person) for person, embed in enumerate(embeds)]
        return per_person([rank is not None and rank < most for rank in ranks])

    references = [None if embed.isnan().any() else embed for embed in world.gallery(world.GIVEN)]
    rows = [row(f"nearest of {world.PEOPLE}: the photos that are given", among(references, 1))]
    for way, scene, pictures, chance in ways:
        embeds = [world.face(picture) for picture in pictures]
        up = [(likeness(embed, person) - different) / (same - different) for person, embed in enumerate(embeds)]
        rows += [
            row(f"a face is found{way}", per_person([embed is not None for embed in embeds]), 0.95),
            row(f"nearest of {world.PEOPLE}{way}", among(embeds, 1), *((None, 0.05) if chance else (0.5,))),
            row(f"among the nearest five{way}", among(embeds, 5), *((None, 0.12) if chance else (0.8,))),
            row(
                f"likeness, of the way from a stranger's to the person's{way}",
                per_person(up),
                None if chance else 2 / 3,
            ),
        ]
        rows += scene_rows(pictures, scene, way)
    return rows


def scene_rows(pictures: Sequence[Image.Image], scene: scenes.Scene, name: str) -> list[Row]:
    """What was asked for, as the judge reads it."""
    answers, expected = read(pictures), drawn_judge.asked(scene)
    right = {question: (answers[question] == expected[question]).tolist() for question in expected}
    ears = [(answers["headwear"][i] == 2) == (expected["headwear"][i] == 2) for i in range(len(pictures))]
    return [
        row(f"background as asked{name}", per_person(right["background"]), 0.85),
        row(f"clothing's colour as asked{name}", per_person(right["colour"]), 0.85),
        row(f"clothing as asked{name}", per_person(right["clothing"]), 0.85),
        row(f"glasses, or none, as asked{name}", per_person(right["glasses"]), 0.85),
        row(f"wolf ears, or none, as asked{name}", per_person(ears), 0.85),
        row(f"a smile, or none, as asked{name}", per_person(right["smile"]), 0.85),
        row(f"light as asked{name}", per_person(right["light"])),
        row(f"gaze as asked{name}", per_person(right["gaze"])),
    ]


def full(studio: Studio, people: int = 40) -> list[Row]:
    """The paper's finding: with the Base-LoRA, more of the photo's scene and less of the prompt's.

    The photo's share is asked for where the prompt leaves the scene open: what words say, they say at either weight.
    """
    everyone = range(people)
    photo_scenes = [scene_of(world.SEED, person, world.GIVEN) for person in everyone]
    of_photo = drawn_judge.asked(scenes.Scene.joined(photo_scenes))
    of_prompt = drawn_judge.asked(world.asked().rows(slice(people)))
    silent = [world.told("photo of a person")] * people

    def both(prompts: Sequence[str]) -> list[list[Image.Image]]:
        """With the Base-LoRA, and without."""
        return [[simple(studio, i, prompts[i], i, base_weight=weight) for i in everyone] for weight in (1.0, 0.0)]

    def shares(pictures: Sequence[Image.Image], expected: dict[str, Tensor]) -> Values:
        answers = read(pictures)
        right = torch.stack([answers[each] == expected[each] for each in ("background", "colour", "light")])
        return per_person(right.float().mean(dim=0).tolist())

    left_open, described = both(silent), both(texts())
    photo, photo_beside_words, prompt = (
        [shares(each, expected) for each in pictures]
        for pictures, expected in ((left_open, of_photo), (described, of_photo), (described, of_prompt))
    )
    like = [per_person([likeness(world.face(each), i) for i, each in enumerate(pictures)]) for pictures in described]
    things = "background, colours, light"
    return [
        row(f"ID, a prompt that leaves the scene open: the photo's {things}", photo[1]),
        difference(f"Full - ID, a prompt that leaves the scene open: the photo's {things}", *photo, 1),
        difference("Full - ID, a prompt with a whole scene: the photo's", *photo_beside_words),
        difference("Full - ID, a prompt with a whole scene: the prompt's", *prompt, -1),
        difference("Full - ID, a prompt with a whole scene: likeness", *like),
    ]


def several_photos(studio: Studio, people: int = 40) -> list[Row]:
    """Three photos in place of one; of a few people one has no face that is found twice, and is skipped."""
    like: dict[int, list[float]] = {1: [], 3: []}
    for person in range(people):
        values = {title: {"image": studio.send(path)} for title, path in several(person).items()}
        more = {"KSampler": {"seed": person}, "HyperLoRA Portrait": {"on_no_face": "skip"}}
        (picture,) = studio.draw(workflow("portrait_several_photos", texts()[person], values | more))
        like[3].append(likeness(world.face(picture), person))
        like[1].append(likeness(world.face(simple(studio, person, texts()[person], person)), person))
    return [difference("three photos - one: likeness", per_person(like[3]), per_person(like[1]))]


def strength(studio: Studio, people: int = 24) -> list[Row]:
    """The weight of the ID-LoRA."""
    like = {}
    for weight in (0.0, 0.4, 0.8, 1.2):
        pictures = [simple(studio, person, plain_text(), 0, id_weight=weight) for person in range(people)]
        like[weight] = [likeness(world.face(picture), person) for person, picture in enumerate(pictures)]
    rows = [row(f"likeness at weight {weight:g}", per_person(values), share=False) for weight, values in like.items()]
    for low, high in ((0.0, 0.4), (0.4, 0.8)):
        rows.append(
            difference(f"weight {high:g} - {low:g}: likeness", per_person(like[high]), per_person(like[low]), 1)
        )
    return rows


def schedule(studio: Studio, people: int = 24) -> list[Row]:
    """The person throughout, for the first half of the steps, or never."""
    like = {}
    for name, points in CURVES.items():
        pictures = [scheduled(studio, person, points) for person in range(people)]
        like[name] = per_person([likeness(world.face(picture), person) for person, picture in enumerate(pictures)])
    throughout, half, never = like.values()
    return [
        difference("schedule: throughout - the first half: likeness", throughout, half, 1),
        difference("schedule: the first half - never: likeness", half, never, 1),
    ]
