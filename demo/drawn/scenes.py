"""Where and how a person is drawn: what words say of a picture, and what is left to chance.

Shapes: N pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from .people import draws

BACKGROUNDS = {
    "white": (0.93, 0.92, 0.90),
    "grey": (0.52, 0.53, 0.55),
    "red": (0.80, 0.16, 0.18),
    "green": (0.20, 0.58, 0.28),
    "blue": (0.20, 0.36, 0.80),
    "yellow": (0.95, 0.80, 0.25),
    "purple": (0.52, 0.26, 0.68),
    "teal": (0.12, 0.58, 0.60),
    "pink": (0.95, 0.62, 0.72),
    "beach": (0.55, 0.78, 0.92),
    "forest": (0.16, 0.34, 0.18),
    "night": (0.06, 0.07, 0.20),
}
"""Names of backgrounds, and the colour of their upper half; the last three are scenes."""

CLOTHING_COLOURS = {
    "white": (0.90, 0.90, 0.90),
    "black": (0.12, 0.12, 0.14),
    "red": (0.74, 0.12, 0.16),
    "green": (0.16, 0.46, 0.24),
    "blue": (0.16, 0.28, 0.66),
    "yellow": (0.93, 0.76, 0.18),
    "orange": (0.92, 0.48, 0.12),
    "purple": (0.44, 0.20, 0.58),
}
CLOTHING_KINDS = ("t-shirt", "shirt", "turtleneck", "hoodie")
HEADWEAR = ("", "a hat", "wolf ears")
STYLES = ("photo", "pencil sketch", "comic")

_PLAIN = 9  # the backgrounds before it are one colour


@dataclass(frozen=True)
class Scene:
    """What is not the person, N of each.

    Attributes:
        background: index into ``BACKGROUNDS``, int64.
        colour: of the clothing, index into ``CLOTHING_COLOURS``, int64.
        clothing: index into ``CLOTHING_KINDS``, int64.
        headwear: index into ``HEADWEAR``, int64.
        glasses: bool.
        smile: bool.
        gaze: -1 looking left, 0 ahead, 1 right, as the viewer sees it.
        light: the side it comes from, -1 left, 0 ahead, 1 right.
        style: index into ``STYLES``, int64.
        jitter: ``(N, JITTERS)`` from [-1, 1]: place, size, tilt, turn, tints; nothing that words say.
    """

    background: Tensor
    colour: Tensor
    clothing: Tensor
    headwear: Tensor
    glasses: Tensor
    smile: Tensor
    gaze: Tensor
    light: Tensor
    style: Tensor
    jitter: Tensor

    def __len__(self) -> int:
        return len(self.background)

    def rows(self, rows: slice | Tensor) -> "Scene":
        """Some of them."""
        return Scene(*(getattr(self, each.name)[rows] for each in fields(self)))

    @classmethod
    def joined(cls, parts: "Sequence[Scene]") -> "Scene":
        """Several scenes, one after the other."""
        return cls(*(torch.cat([getattr(part, each.name) for part in parts]) for each in fields(cls)))

    def replace(self, **values: Tensor | int | bool) -> "Scene":
        """These scenes, but for some of what words say: one value for all, or one each."""
        return replace(
            self,
            **{
                name: torch.as_tensor(value).expand(len(self)).to(getattr(self, name)) for name, value in values.items()
            },
        )


JITTERS = 20
"""x, y, size, tilt, turn, brightness, side light, openness of the smile, six of tints, six of the background."""


def scenes(seed: int, count: int, first: int = 0, styled: float = 0.0) -> Scene:
    """Scenes at random; the same seed and place give the same scene.

    Args:
        seed: of them.
        count: how many.
        first: the number of the first.
        styled: the share that is drawn in another style than a photo's.
    """
    drawn = draws("scenes", seed, range(first, first + count), 10 + JITTERS)

    def choice(column: int, names: int) -> Tensor:
        return (drawn[:, column] * names).long()

    side = torch.tensor([-1.0, 0.0, 0.0, 1.0])
    return Scene(
        background=choice(0, len(BACKGROUNDS)),
        colour=choice(1, len(CLOTHING_COLOURS)),
        clothing=choice(2, len(CLOTHING_KINDS)),
        headwear=(drawn[:, 3] > 0.7).long() + (drawn[:, 3] > 0.85).long(),
        glasses=drawn[:, 4] > 0.75,
        smile=drawn[:, 5] > 0.6,
        gaze=side[choice(6, 4)],
        light=side[choice(7, 4)],
        style=torch.where(drawn[:, 8] < styled, 1 + choice(9, len(STYLES) - 1), 0),
        jitter=drawn[:, 10:] * 2 - 1,
    )


def plain(count: int) -> Scene:
    """A person before a grey background, looking ahead, nothing said: what a passport shows."""
    none = torch.zeros(count, dtype=torch.long)
    return Scene(
        background=none + list(BACKGROUNDS).index("grey"),
        colour=none + list(CLOTHING_COLOURS).index("blue"),
        clothing=none,
        headwear=none,
        glasses=none.bool(),
        smile=none.bool(),
        gaze=none.float(),
        light=none.float(),
        style=none,
        jitter=torch.zeros(count, JITTERS),
    )


def phrases(scene: Scene, number: int) -> list[str]:
    """What can be said of one of the scenes but its style, a phrase each, the same words for the same thing."""
    background = list(BACKGROUNDS)[scene.background[number]]
    colour = list(CLOTHING_COLOURS)[scene.colour[number]]
    said = [
        f"{background} background" if scene.background[number] < _PLAIN else _PLACES[background],
        _worn(colour, CLOTHING_KINDS[scene.clothing[number]]),
    ]
    if scene.headwear[number]:
        said.append(f"wearing {HEADWEAR[scene.headwear[number]]}")
    if scene.glasses[number]:
        said.append("wearing glasses")
    if scene.smile[number]:
        said.append("smiling")
    if gaze := int(scene.gaze[number]):
        said.append(f"looking {'left' if gaze < 0 else 'right'}")
    if light := int(scene.light[number]):
        said.append(f"light from the {'left' if light < 0 else 'right'}")
    return said


def _worn(colour: str, kind: str) -> str:
    return f"wearing {'an' if colour[0] in 'aeiou' else 'a'} {colour} {kind}"


_PLACES = {"beach": "at the beach", "forest": "in a forest", "night": "in a city at night"}


def caption(scene: Scene, number: int, person: list[str], generator: torch.Generator, said: float = 0.8) -> str:
    """One of the pictures in words: its style, then what chance leaves of the rest, in any order.

    Args:
        scene: of it.
        number: which.
        person: what is said of the person, see ``people.described``.
        generator: of chance.
        said: the share of the phrases that is said.
    """
    known = phrases(scene, number) + person
    order = torch.randperm(len(known), generator=generator).tolist()
    kept = torch.rand(len(known), generator=generator) < said
    return ", ".join([f"{STYLES[scene.style[number]]} of a person", *(known[i] for i in order if kept[i])])


def every_phrase() -> list[str]:
    """Whatever captions say of scenes."""
    return [
        *(f"{style} of a person" for style in STYLES),
        *(_PLACES.get(name, f"{name} background") for name in BACKGROUNDS),
        *(_worn(colour, kind) for colour in CLOTHING_COLOURS for kind in CLOTHING_KINDS),
        *(f"wearing {headwear}" for headwear in HEADWEAR if headwear),
        "wearing glasses",
        "smiling",
        *(f"looking {side}" for side in ("left", "right")),
        *(f"light from the {side}" for side in ("left", "right")),
    ]
