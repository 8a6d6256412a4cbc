"""The studies: each draws pictures through the example workflows and gives rows of a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from demo.cache import build_once, recipe_hash
from demo.drawn import drawing, people, scenes
from demo.drawn import judge as drawn_judge
from demo.drawn.folder import SIDE, as_image, scene_of
from hyperlora_core.evaluation.statistics import Difference, Estimate, compare, estimate

from . import world
from .studio import SIZE, Studio, workflow

Values = Mapping[str, Sequence[float]]
"""Person -> a number of each of their pictures."""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        what: is measured.
        found: mean over people, or a difference between two ways with the same people.
        wanted: in words; empty where nothing was asked for.
        met: whether it is that.
        share: whether it is a share, to be written in per cent.
    """

    what: str
    found: Estimate | Difference
    wanted: str = ""
    met: bool | None = None
    share: bool = False


def row(what: str, values: Values, least: float | None = None, most: float | None = None, share: bool = True) -> Row:
    """A row of means, of which at least or at most so much is wanted."""
    found = estimate(values)
    assert found is not None
    for limit, word, met in ((least, "least", found.mean >= (least or 0)), (most, "most", found.mean <= (most or 0))):
        if limit is not None:
            return Row(what, found, f"at {word} {limit:{'.0%' if share else '.2f'}}", met, share)
    return Row(what, found, share=share)


def difference(what: str, first: Values, second: Values, sign: int = 0) -> Row:
    """A row of a paired difference, the first minus the second, which is to be above or below 0 with its interval."""
    found = compare(first, second)
    assert found is not None
    if not sign:
        return Row(what, found)
    nearest = found.low if sign > 0 else found.high
    return Row(what, found, "above 0" if sign > 0 else "below 0", nearest is not None and nearest * sign > 0)


def _name(person: int) -> str:
    return f"person-{person:05d}"


def likeness(embed: Tensor | None, person: int) -> float:
    """With the photo that judges; a picture without a face has what two strangers have at the least, 0."""
    return 0.0 if embed is None else float(world.gallery()[person] @ embed)


def per_person(numbers: Sequence[float]) -> Values:
    """One number a person, in order."""
    return {_name(person): [float(value)] for person, value in enumerate(numbers)}


def simple(studio: Studio, person: int, text: str, seed: int, **portrait: float) -> Image.Image:
    """One portrait by the template portrait_simple."""
    values = {
        "Photo": {"image": studio.send(world.photo(person))},
        "HyperLoRA Portrait": portrait,
        "KSampler": {"seed": seed},
    }
    (picture,) = studio.draw(workflow("portrait_simple", text, values))
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
    same, other = photos_themselves()

    def among(embeds: Sequence[Tensor | None], most: int) -> Values:
        ranks = [world.rank(embed, person) for person, embed in enumerate(embeds)]
        return per_person([rank is not None and rank < most for rank in ranks])

    given = [None if embed.isnan().any() else embed for embed in world.gallery(world.GIVEN)]
    rows = [row(f"nearest of {world.PEOPLE}: the photos that are given", among(given, 1))]
    for way, scene, pictures, chance in ways:
        embeds = [world.face(picture) for picture in pictures]
        up = [(likeness(embed, person) - other) / (same - other) for person, embed in enumerate(embeds)]
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
    found, wanted = read(pictures), drawn_judge.asked(scene)
    right = {question: (found[question] == wanted[question]).tolist() for question in wanted}
    ears = [(found["headwear"][i] == 2) == (wanted["headwear"][i] == 2) for i in range(len(pictures))]
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


def full(studio: Studio) -> list[Row]:
    """The paper's finding: with the Base-LoRA, more of the photo's scene and less of the prompt's."""
    everyone = range(world.PEOPLE)
    given = scenes.Scene.joined([scene_of(world.SEED, person, world.GIVEN) for person in everyone])
    asked = world.asked()
    ways = {
        "ID": [simple(studio, person, texts()[person], person) for person in everyone],
        "Full": [simple(studio, person, texts()[person], person, base_weight=1.0) for person in everyone],
    }
    rows, shares, like = [], {}, {}
    for way, pictures in ways.items():
        found, of_photo, of_prompt = read(pictures), drawn_judge.asked(given), drawn_judge.asked(asked)
        questions = ("background", "colour", "light")
        shares[way] = [
            per_person(torch.stack([found[q] == each[q] for q in questions]).float().mean(dim=0).tolist())
            for each in (of_photo, of_prompt)
        ]
        like[way] = per_person([likeness(world.face(picture), person) for person, picture in enumerate(pictures)])
    rows.append(difference("Full - ID: the photo's background, colours, light", shares["Full"][0], shares["ID"][0], 1))
    rows.append(difference("Full - ID: the prompt's", shares["Full"][1], shares["ID"][1], -1))
    rows.append(difference("Full - ID: likeness", like["Full"], like["ID"]))
    return rows


def several(person: int) -> dict[str, Path]:
    """Three photos of a person, by the titles of the nodes that load them."""
    return {f"Photo {i}": world.photo(person, number) for i, number in enumerate((world.GIVEN, *world.MORE[:2]), 1)}


def several_photos(studio: Studio) -> list[Row]:
    """Three photos in place of one."""
    like: dict[int, list[float]] = {1: [], 3: []}
    for person in range(world.PEOPLE):
        values = {title: {"image": studio.send(path)} for title, path in several(person).items()}
        (picture,) = studio.draw(
            workflow("portrait_several_photos", texts()[person], values | {"KSampler": {"seed": person}})
        )
        like[3].append(likeness(world.face(picture), person))
        like[1].append(likeness(world.face(simple(studio, person, texts()[person], person)), person))
    return [difference("three photos - one: likeness", per_person(like[3]), per_person(like[1]))]


def strength(studio: Studio, people: int = 40) -> list[Row]:
    """The weight of the ID-LoRA."""
    like = {}
    for weight in (0.0, 0.4, 0.8, 1.0, 1.2):
        pictures = [simple(studio, person, plain_text(), 0, id_weight=weight) for person in range(people)]
        like[weight] = [likeness(world.face(picture), person) for person, picture in enumerate(pictures)]
    rows = [row(f"likeness at weight {weight:g}", per_person(found), share=False) for weight, found in like.items()]
    for low, high in ((0.0, 0.4), (0.4, 0.8)):
        rows.append(
            difference(f"weight {high:g} - {low:g}: likeness", per_person(like[high]), per_person(like[low]), 1)
        )
    return rows


def kept(studio: Studio, person: int) -> str:
    """An identity kept by the template identity_save, of three photos; the file's name."""
    name = f"{_name(person)}"
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


def schedule(studio: Studio, people: int = 40) -> list[Row]:
    """The person from the start, from the middle on, or until the middle."""
    curves = {"throughout": "0: 1, 1: 1", "the first half": "0: 1, 0.45: 1, 0.5: 0, 1: 0", "never": "0: 0, 1: 0"}
    like = {}
    for name, points in curves.items():
        values = {"HyperLoRA Schedule": {"points": points}}
        pictures = [
            studio.draw(
                workflow(
                    "schedule",
                    plain_text(),
                    values | {"HyperLoRA Load Identity": {"identity_name": kept(studio, person)}},
                )
            )[0]
            for person in range(people)
        ]
        like[name] = per_person([likeness(world.face(picture), person) for person, picture in enumerate(pictures)])
    first, half, never = like.values()
    return [
        difference("schedule: throughout - the first half: likeness", first, half, 1),
        difference("schedule: the first half - never: likeness", half, never, 1),
    ]


def pairs(people: int) -> list[tuple[int, int]]:
    """Two people each, who have nothing to do with one another."""
    return [(person, (person + 1) % people) for person in range(0, people, 2)]


def blend(studio: Studio, people: int = 60) -> list[Row]:
    """Between two people."""
    nearer: dict[float, list[float]] = {amount: [] for amount in (0.0, 0.5, 1.0)}
    for amount, found in nearer.items():
        for one, other in pairs(people):
            values = {
                "Photo of one": {"image": studio.send(world.photo(one))},
                "Photo of the other": {"image": studio.send(world.photo(other))},
                "HyperLoRA Blend People": {"amount": amount},
            }
            embed = world.face(studio.draw(workflow("people_blend", plain_text(), values))[0])
            found.append(likeness(embed, other) - likeness(embed, one))
    by_pair = {amount: per_person(found) for amount, found in nearer.items()}
    return [
        difference("blend 0.5 - 0: nearer to the other", by_pair[0.5], by_pair[0.0], 1),
        difference("blend 1 - 0.5: nearer to the other", by_pair[1.0], by_pair[0.5], 1),
    ]


def slider(studio: Studio, people: int = 24) -> list[Row]:
    """A slider of age, made of two drawings of one person, on other people: what it does to the trait, and to them."""
    helper = young_and_old()
    read_traits: dict[float, list[float]] = {}
    like: dict[float, list[float]] = {}
    for by in (-1.0, 0.0, 1.0):
        pictures = []
        for person in range(people):
            values = {
                "Photo": {"image": studio.send(world.photo(person))},
                "More of it": {"image": studio.send(helper[1])},
                "Less of it": {"image": studio.send(helper[0])},
                "HyperLoRA Save Slider": {"overwrite": True},
                "Apply the slider": {"strength": by},
            }
            pictures += studio.draw(workflow("slider", plain_text(), values))
        towards = world.face(Image.open(helper[1]).convert("RGB")) - world.face(Image.open(helper[0]).convert("RGB"))
        embeds = [world.face(picture) for picture in pictures]
        read_traits[by] = [0.0 if each is None else float(each @ towards / towards.norm()) for each in embeds]
        like[by] = [likeness(each, person) for person, each in enumerate(embeds)]
    by_strength = {by: per_person(found) for by, found in read_traits.items()}
    return [
        difference("slider of age, 1 - 0: older, by the embeddings", by_strength[1.0], by_strength[0.0], 1),
        difference("slider of age, 0 - (-1)", by_strength[0.0], by_strength[-1.0], 1),
        row("likeness with the slider at 1", per_person(like[1.0]), share=False),
    ]


def young_and_old() -> tuple[Path, Path]:
    """One person young and old, in two photos that differ in nothing else."""

    def write(into: Path) -> None:
        who = people.people(world.SEED + 2, [0]).repeat(2, 1)
        who[:, people.TRAITS.index("age")] = torch.tensor([0.1, 0.97])
        for name, picture in zip(("young", "old"), drawing.draw(who, scenes.plain(2), SIDE), strict=True):
            as_image(picture).save(into / f"{name}.png")

    folder = build_once(f"ages-{recipe_hash(drawing.__file__, people.__file__, __file__)}", write)
    return folder / "young.png", folder / "old.png"


def per_picture(studio: Studio, people: int = 40) -> list[Row]:
    """Two people in one batch: each picture is its own person's."""
    own, others = [0.0] * people, [0.0] * people
    for one, other in pairs(people):
        values = {
            "The first person": {"identity_name": kept(studio, one)},
            "The second person": {"identity_name": kept(studio, other)},
        }
        drawn = studio.draw(workflow("people_batch", plain_text(), values))
        for (person, stranger), picture in zip(((one, other), (other, one)), drawn, strict=True):
            embed = world.face(picture)
            own[person], others[person] = likeness(embed, person), likeness(embed, stranger)
    return [
        difference(
            "each its own picture: likeness to it - to the other",
            per_person(own),
            per_person(others),
            1e-9,
        )
    ]


SIDE_BY_SIDE = {
    "The whole picture": {"width": 2 * SIZE, "height": SIZE},
    "Half of it": {"width": SIZE, "height": SIZE},
    "Size": {"width": 2 * SIZE, "height": SIZE},
}
"""Of pictures with two people."""


def regions(studio: Studio, people: int = 40) -> list[Row]:
    """Two people side by side, each where their mask is."""
    own, others, found = [0.0] * people, [0.0] * people, [0.0] * people
    for one, other in pairs(people):
        values = {
            "The first person": {"identity_name": kept(studio, one)},
            "The second person": {"identity_name": kept(studio, other)},
            **SIDE_BY_SIDE,
        }
        (drawn,) = studio.draw(workflow("people_regions", plain_text(), values))
        halves = drawn.crop((0, 0, SIZE, SIZE)), drawn.crop((SIZE, 0, 2 * SIZE, SIZE))
        for (person, stranger), picture in zip(((one, other), (other, one)), halves, strict=True):
            embed = world.face(picture)
            own[person], others[person] = likeness(embed, person), likeness(embed, stranger)
            found[person] = float(embed is not None)
    return [
        row("two in regions: a face on each half", per_person(found)),
        difference("two in regions: likeness to its own - to the other", per_person(own), per_person(others), 1),
    ]


REFINING = {"denoise": 0.75, "surroundings": 2.0}
"""Of Refine Faces in the small world, whose people are drawn with shoulders."""


def refine(studio: Studio, people: int = 20) -> list[Row]:
    """Two strangers side by side in a picture, drawn again as two people."""
    before, after = [0.0] * people, [0.0] * people
    for one, other in pairs(people):
        strangers = two_strangers(one)
        values = {
            "The first person": {"identity_name": kept(studio, one)},
            "The second person": {"identity_name": kept(studio, other)},
            "Picture with two people": {"image": studio.send(strangers)},
            "HyperLoRA Refine Faces": REFINING,
        }
        (drawn,) = studio.draw(workflow("faces_refine", plain_text(), values))
        for place, person in enumerate((one, other)):
            for picture, into in ((Image.open(strangers).convert("RGB"), before), (drawn, after)):
                half = picture.width // 2
                into[person] = likeness(
                    world.face(picture.crop((place * half, 0, (place + 1) * half, picture.height))), person
                )
    return [difference("Refine Faces: likeness after - before", per_person(after), per_person(before), 1)]


def two_strangers(number: int) -> Path:
    """A picture of two people whom nobody knows, 256 x 128 pixels."""

    def write(into: Path) -> None:
        who = people.people(world.SEED + 3, [number, number + 1])
        left, right = drawing.draw(who, scenes.plain(2), SIZE)
        as_image(torch.cat([left, right], dim=2)).save(into / f"strangers-{number}.png")

    folder = build_once(f"strangers-{number}-{recipe_hash(drawing.__file__, people.__file__, __file__)}", write)
    return folder / f"strangers-{number}.png"


def until_alike(studio: Studio, people: int = 20) -> list[Row]:
    """The best of up to four seeds, against the first."""
    best, first = [], []
    for person in range(people):
        like = {}
        for seeds in (1, 4):
            values = {
                "HyperLoRA Load Identity": {"identity_name": kept(studio, person)},
                "HyperLoRA Sample until Alike": {"enough": 1.0, "seeds": seeds},
            }
            (picture,) = studio.draw(workflow("sample_until_alike", plain_text(), values))
            like[seeds] = likeness(world.face(picture), person)
        best.append(like[4])
        first.append(like[1])
    return [difference("until alike: best of four - first: likeness", per_person(best), per_person(first), 1)]


STUDIES: Mapping[str, Callable[[Studio], list[Row]]] = {
    "identity": identity,
    "full": full,
    "several photos": several_photos,
    "strength": strength,
    "schedule": schedule,
    "slider": slider,
    "blend": blend,
    "one person a picture": per_picture,
    "regions": regions,
    "refine": refine,
    "until alike": until_alike,
}
"""All of them, in the table's order."""
