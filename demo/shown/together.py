"""Studies of what stands between people, beside them, and after the picture."""

from PIL import Image

from . import world
from .material import (
    REFINING,
    SIDE_BY_SIDE,
    aged,
    blended,
    kept,
    likeness,
    pairs,
    plain_text,
    two_strangers,
    young_and_old,
)
from .rows import Row, difference, per_person, row
from .studio import SIZE, Studio, workflow


def blend(studio: Studio, people: int = 48) -> list[Row]:
    """Between two people."""
    nearer: dict[float, list[float]] = {amount: [] for amount in (0.0, 0.5, 1.0)}
    for amount, scores in nearer.items():
        for first, second in pairs(people):
            embed = world.face(blended(studio, first, second, amount))
            scores.append(likeness(embed, second) - likeness(embed, first))
    by_pair = {amount: per_person(scores) for amount, scores in nearer.items()}
    return [
        difference("blend 0.5 - 0: nearer to the other", by_pair[0.5], by_pair[0.0], 1),
        difference("blend 1 - 0.5: nearer to the other", by_pair[1.0], by_pair[0.5], 1),
    ]


def slider(studio: Studio, people: int = 24) -> list[Row]:
    """A slider of age, made of two drawings of one person, on other people: what it does to the trait, and to them."""
    read_traits: dict[float, list[float]] = {}
    like: dict[float, list[float]] = {}
    young, old = (world.face(Image.open(path).convert("RGB")) for path in young_and_old())
    assert young is not None and old is not None
    towards = (old - young) / (old - young).norm()
    for by in (-1.0, 0.0, 1.0):
        pictures = [aged(studio, person, by) for person in range(people)]
        embeds = [world.face(picture) for picture in pictures]
        read_traits[by] = [0.0 if embed is None else float(embed @ towards) for embed in embeds]
        like[by] = [likeness(embed, person) for person, embed in enumerate(embeds)]
    by_strength = {by: per_person(scores) for by, scores in read_traits.items()}
    return [
        difference("slider of age, 1 - 0: older, by the embeddings", by_strength[1.0], by_strength[0.0], 1),
        difference("slider of age, 0 - (-1)", by_strength[0.0], by_strength[-1.0], 1),
        row("likeness with the slider at 1", per_person(like[1.0]), share=False),
    ]


def per_picture(studio: Studio, people: int = 40) -> list[Row]:
    """Two people in one batch: each picture is its own person's."""
    to_person, to_stranger = [0.0] * people, [0.0] * people
    for first, second in pairs(people):
        values = {
            "The first person": {"identity_name": kept(studio, first)},
            "The second person": {"identity_name": kept(studio, second)},
        }
        drawn = studio.draw(workflow("people_batch", plain_text(), values))
        for (person, stranger), picture in zip(((first, second), (second, first)), drawn, strict=True):
            embed = world.face(picture)
            to_person[person], to_stranger[person] = likeness(embed, person), likeness(embed, stranger)
    return [
        difference(
            "each its own picture: likeness to it - to the other",
            per_person(to_person),
            per_person(to_stranger),
            1e-9,
        )
    ]


def regions(studio: Studio, people: int = 40) -> list[Row]:
    """Two people side by side, each where their mask is."""
    to_person, to_stranger, has_face = [0.0] * people, [0.0] * people, [0.0] * people
    for first, second in pairs(people):
        values = {
            "The first person": {"identity_name": kept(studio, first)},
            "The second person": {"identity_name": kept(studio, second)},
            **SIDE_BY_SIDE,
        }
        (drawn,) = studio.draw(workflow("people_regions", plain_text(), values))
        halves = drawn.crop((0, 0, SIZE, SIZE)), drawn.crop((SIZE, 0, 2 * SIZE, SIZE))
        for (person, stranger), picture in zip(((first, second), (second, first)), halves, strict=True):
            embed = world.face(picture)
            to_person[person], to_stranger[person] = likeness(embed, person), likeness(embed, stranger)
            has_face[person] = float(embed is not None)
    return [
        row("two in regions: a face on each half", per_person(has_face)),
        difference(
            "two in regions: likeness to its own - to the other", per_person(to_person), per_person(to_stranger), 1
        ),
    ]


def refine(studio: Studio, people: int = 20) -> list[Row]:
    """Two strangers side by side in a picture, drawn again as two people."""
    before, after = [0.0] * people, [0.0] * people
    for first_person, second_person in pairs(people):
        strangers = two_strangers(first_person)
        values = {
            "The first person": {"identity_name": kept(studio, first_person)},
            "The second person": {"identity_name": kept(studio, second_person)},
            "Picture with two people": {"image": studio.send(strangers)},
            "HyperLoRA Refine Faces": REFINING,
        }
        (drawn,) = studio.draw(workflow("faces_refine", plain_text(), values))
        for place, person in enumerate((first_person, second_person)):
            for picture, into in ((Image.open(strangers).convert("RGB"), before), (drawn, after)):
                half = picture.width // 2
                into[person] = likeness(
                    world.face(picture.crop((place * half, 0, (place + 1) * half, picture.height))), person
                )
    return [difference("Refine Faces: likeness after - before", per_person(after), per_person(before), 1)]


def until_alike(studio: Studio, people: int = 16) -> list[Row]:
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
