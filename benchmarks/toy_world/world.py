"""The world: portraits of 32 x 32 pixels, drawn from numbers that are known.

A person is ten numbers from [0, 1], each to be seen in the picture. A scene is what is not the person: background,
clothing, light, pose. Shapes: N pictures.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

SIZE = 32
COLOURS = ("skin", "hair_hue", "hair_value", "eye_hue")
GEOMETRY = ("face_width", "eye_spacing", "eye_size", "mouth_width", "brow", "hair_length")
IDENTITY = COLOURS + GEOMETRY

BACKGROUNDS = {
    "white": (0.93, 0.92, 0.90),
    "black": (0.12, 0.12, 0.14),
    "red": (0.85, 0.15, 0.18),
    "green": (0.15, 0.60, 0.22),
    "blue": (0.16, 0.28, 0.85),
    "yellow": (0.95, 0.85, 0.20),
    "purple": (0.58, 0.20, 0.72),
    "cyan": (0.20, 0.75, 0.80),
}
CLOTHINGS = {
    "grey": (0.50, 0.50, 0.50),
    "navy": (0.10, 0.12, 0.42),
    "crimson": (0.70, 0.08, 0.22),
    "olive": (0.42, 0.45, 0.12),
    "orange": (0.95, 0.52, 0.10),
    "pink": (0.96, 0.62, 0.76),
    "teal": (0.05, 0.45, 0.45),
    "lime": (0.65, 0.92, 0.25),
}
SCENE_DRAWS = 14

_DARK, _FAIR = torch.tensor([0.42, 0.26, 0.17]), torch.tensor([1.0, 0.86, 0.74])
_LIPS, _WHITE, _BLACK = (torch.tensor(rgb)[:, None, None] for rgb in ([0.72, 0.10, 0.16], [0.97] * 3, [0.06] * 3))
_CENTRE = (15.5, 14.5)
_HUES = 0.75  # of the circle: its ends do not meet
_MASK = (12.0, 12.0)  # half axes of what covers head and hair


@dataclass(frozen=True)
class Scene:
    """What is not the person, N of each.

    Attributes:
        background: index into ``BACKGROUNDS``, int64.
        clothing: index into ``CLOTHINGS``, int64.
        light: the side it comes from, -1 left to 1 right.
        brightness: factor.
        shift: ``(N, 2)``, pixels.
        angle: of the head, radians.
        scale: of the head, factor.
        tints: ``(N, 6)``, added to the colours of background and clothing.
    """

    background: Tensor
    clothing: Tensor
    light: Tensor
    brightness: Tensor
    shift: Tensor
    angle: Tensor
    scale: Tensor
    tints: Tensor

    def to(self, rows: slice | Tensor) -> "Scene":
        """Some of them."""
        return Scene(*(getattr(self, each.name)[rows] for each in fields(self)))


def scenes(uniforms: Tensor) -> Scene:
    """Scenes of numbers from [0, 1): ``(N, SCENE_DRAWS)``."""
    signed = uniforms * 2 - 1
    return Scene(
        background=(uniforms[:, 0] * len(BACKGROUNDS)).long(),
        clothing=(uniforms[:, 1] * len(CLOTHINGS)).long(),
        light=signed[:, 2],
        brightness=1 + 0.08 * signed[:, 3],
        shift=1.3 * signed[:, 4:6],
        angle=math.radians(8) * signed[:, 6],
        scale=1 + 0.05 * signed[:, 7],
        tints=0.05 * signed[:, 8:14],
    )


def photos(identity: Tensor, scene: Scene) -> Tensor:
    """Draw portraits.

    Args:
        identity: ``(N, 10)`` from [0, 1], in the order of ``IDENTITY``.
        scene: of each.

    Returns:
        ``(N, 3, 32, 32)``, RGB in [0, 1].
    """
    person = {name: identity[:, i, None, None] for i, name in enumerate(IDENTITY)}
    x, y = _head_coordinates(scene)
    scale = scene.scale[:, None, None]
    width = 7.0 + 3.0 * person["face_width"]
    eye = 0.9 + 1.2 * person["eye_size"]
    spacing = 2.7 + 2.3 * person["eye_spacing"]
    length = 10.5 * person["hair_length"]
    brow = 0.25 + 0.85 * person["brow"]
    hair = _hsv(_HUES * person["hair_hue"], 0.75, 0.25 + 0.7 * person["hair_value"])
    skin = _DARK[:, None, None] + (_FAIR - _DARK)[:, None, None] * person["skin"][:, None]
    side = x.abs()

    def covers(distance: Tensor) -> Tensor:
        return (0.5 - distance * scale).clamp(0, 1)[:, None]

    rows = torch.linspace(-1, 1, SIZE)[:, None].expand(SIZE, SIZE)
    picture = _tinted(BACKGROUNDS, scene.background, scene.tints[:, :3]) * (1 - 0.1 * rows)
    clothing = _tinted(CLOTHINGS, scene.clothing, scene.tints[:, 3:])
    face = covers(_ellipse(x, y, width, 9.8))
    layers = [
        (clothing, covers(_ellipse(x, y - 17.5, 13.5, 8.5))),
        (hair, covers(_ellipse(x, y + 1.5, width + 1.7, 10.7))),
        (hair, covers(_box(x, y - 0.5 * (length - 3), width + 1.5, 0.5 * (length + 3)))),
        (skin * 0.88, covers(_box(x, y - 8, 3.2, 4.0))),
        (skin, face),
        (hair, face * covers(y + 5.6 + 0.02 * x.square())),
        (_WHITE, covers(_ellipse(side - spacing, y, 1.3 * eye, eye))),
        (_hsv(_HUES * person["eye_hue"], 0.95, 0.8), covers(_ellipse(side - spacing, y, 0.85 * eye, 0.85 * eye))),
        (_BLACK, covers(_box((side - spacing).abs(), y + eye + 1.5, 2.1, brow))),
        (_LIPS, covers(_ellipse(x, y - 5.4, 1.4 + 3.6 * person["mouth_width"], 1.0))),
    ]
    for colour, cover in layers:
        picture = picture + (colour - picture) * cover
    columns = torch.linspace(-1, 1, SIZE)
    shade = scene.brightness[:, None] * (1 + 0.22 * scene.light[:, None] * columns)
    return (picture * shade[:, None, None]).clamp(0, 1)


def without_face(pictures: Tensor, scene: Scene) -> Tensor:
    """The pictures with head and hair greyed, softly at the edge: what the Base-LoRA is made of."""
    x, y = _head_coordinates(scene)
    cover = (0.5 - _box(x, y + 0.5, *_MASK) / 2).clamp(0, 1)[:, None]
    return pictures + (0.5 - pictures) * cover


def background_of(pictures: Tensor) -> Tensor:
    """Colour where there is nothing but background, the upper corners: ``(N, 3)``."""
    return torch.cat([pictures[:, :, :7, :3], pictures[:, :, :7, -3:]], dim=-1).mean(dim=(2, 3))


def clothing_of(pictures: Tensor) -> Tensor:
    """Colour where there is nothing but clothing, the middle of the lower edge: ``(N, 3)``."""
    return pictures[:, :, -2:, 12:20].mean(dim=(2, 3))


def palette(colours: dict[str, tuple[float, float, float]]) -> Tensor:
    """The colours of words, ``(words, 3)``."""
    return torch.tensor(list(colours.values()))


def _head_coordinates(scene: Scene) -> tuple[Tensor, Tensor]:
    """Each pixel's place in the head's own frame, ``(N, 32, 32)`` each."""
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    x = x - _CENTRE[0] - scene.shift[:, 0, None, None]
    y = y - _CENTRE[1] - scene.shift[:, 1, None, None]
    cos, sin = scene.angle.cos()[:, None, None], scene.angle.sin()[:, None, None]
    scale = scene.scale[:, None, None]
    return (cos * x + sin * y) / scale, (cos * y - sin * x) / scale


def _ellipse(x: Tensor, y: Tensor, half_width: Tensor | float, half_height: Tensor | float) -> Tensor:
    """About the distance to an ellipse, below 0 within."""
    inside = ((x / half_width).square() + (y / half_height).square()).sqrt()
    slope = ((x / half_width**2).square() + (y / half_height**2).square()).sqrt()
    return inside * (inside - 1) / slope.clamp(min=1e-3)


def _box(x: Tensor, y: Tensor, half_width: Tensor | float, half_height: Tensor | float) -> Tensor:
    """About the distance to a box, below 0 within."""
    return torch.maximum(x.abs() - half_width, y.abs() - half_height)


def _tinted(colours: dict[str, tuple[float, float, float]], index: Tensor, tints: Tensor) -> Tensor:
    return (palette(colours)[index] + tints)[:, :, None, None]


def _hsv(hue: Tensor, saturation: float, value: Tensor | float) -> Tensor:
    """``(N, 1, 1)`` each -> RGB ``(N, 3, 1, 1)``."""
    sectors = torch.tensor([5.0, 3.0, 1.0])[:, None, None]
    k = (sectors + hue[:, None] * 6) % 6
    value = torch.as_tensor(value)
    value = value[:, None] if value.ndim else value
    return value - value * saturation * torch.minimum(k, 4 - k).clamp(0, 1)
