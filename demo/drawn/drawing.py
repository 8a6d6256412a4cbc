"""The drawing: people and scenes to pictures.

A head's own frame: the origin between the eyes, 1 from there to the chin, y downwards. Shapes: N pictures of S pixels a
side; ``(N, 1, 1)`` is one number a picture.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .people import AGED, BEARDED, TRAITS
from .scenes import BACKGROUNDS, CLOTHING_COLOURS, CLOTHING_KINDS, Scene
from .shapes import between, box, bump, cover, ellipse, paint, step

SIZE = 128
"""Pixels of a picture's side."""

_SOFTNESS = 1.1  # pixels that an edge is wide
_LENS = 0.7  # pixels by which a photo is blurred, as a lens does
_HEAD = 0.53  # of half the picture: from the eyes to the chin
_SKIN = ((0.98, 0.84, 0.75), (0.90, 0.69, 0.53), (0.67, 0.45, 0.31), (0.43, 0.28, 0.20))
_HAIR = ((0.07, 0.06, 0.07), (0.20, 0.13, 0.09), (0.38, 0.24, 0.14), (0.50, 0.19, 0.10), (0.80, 0.40, 0.13),
         (0.88, 0.70, 0.38), (0.95, 0.89, 0.72))  # fmt: skip
_IRIS = ((0.25, 0.14, 0.07), (0.48, 0.30, 0.12), (0.30, 0.46, 0.20), (0.24, 0.52, 0.74), (0.48, 0.54, 0.58))
_GREY = (0.68, 0.68, 0.69)


@dataclass(frozen=True)
class _Grid:
    """Where the points of the pictures are.

    Attributes:
        across, down: in the picture, -1 to 1, ``(1, S, S)``.
        x, y: in the head's frame, ``(N, S, S)``.
        fx: across the face, turned with the head, ``(N, S, S)``.
        edge: how wide an edge is in the head's frame, ``(N, 1, 1)``.
    """

    across: Tensor
    down: Tensor
    x: Tensor
    y: Tensor
    fx: Tensor
    edge: Tensor


def draw(persons: Tensor, scene: Scene, size: int = SIZE) -> Tensor:
    """Portraits.

    Args:
        persons: ``(N, T)`` of ``TRAITS``, each from [0, 1].
        scene: N of them.
        size: S.

    Returns:
        ``(N, 3, S, S)``, RGB in [0, 1].
    """
    person, jitter, turn, width = _head_numbers(persons, scene)
    grid = _grid(jitter, turn, width, size)
    skin = _skin(person)
    hair = _hair_colour(person)
    colours = _palette(CLOTHING_COLOURS, scene.colour, 0.04 * scene.jitter[:, 8:11])

    picture = _background(grid, scene, jitter)
    picture = _hair_behind(picture, grid, person, width, hair)
    picture = _body(picture, grid, person, width, scene, skin, colours)
    picture = _head(picture, grid, person, width, turn, scene, skin)
    picture = _beard(picture, grid, person, width, hair)
    picture = _eyes(picture, grid, person, turn, scene, skin, hair)
    picture = _nose(picture, grid, person, turn, skin)
    picture = _mouth(picture, grid, person, scene, jitter[:, 7], skin)
    picture = _hair_before(picture, grid, person, width, hair)
    picture = _glasses(picture, grid, person, scene)
    picture = _headwear(picture, grid, person, width, scene)
    shade = 1 + (0.24 * scene.light[:, None, None] + 0.05 * jitter[:, 6]) * grid.across + 0.05 * jitter[:, 5]
    picture = (picture * shade[:, None]).clamp(0, 1)
    return _styled(_blurred(picture, _LENS * size / SIZE), scene)


def faces(persons: Tensor, scene: Scene, size: int = SIZE) -> tuple[Tensor, Tensor]:
    """Where the faces are, brows to chin.

    Args:
        persons, scene, size: as in ``draw``.

    Returns:
        How far out each point of the pictures is, ``(N, S, S)``, 1 on the outline; and the square that CLIP is shown of
        a face, about: left, top, right and bottom as shares of the picture, ``(N, 4)``.
    """
    person, jitter, turn, width = _head_numbers(persons, scene)
    grid = _grid(jitter, turn, width, size)
    outside = torch.maximum(_face(grid, person, width), 1 - 2 * (grid.y + 0.32))
    scale = _HEAD * (1 + 0.06 * scene.jitter[:, 2])
    tilt = 0.10 * scene.jitter[:, 3]
    across = 0.05 * scene.jitter[:, 0] - 0.22 * scale * tilt.sin()
    down = 0.04 * scene.jitter[:, 1] - 0.03 + 0.22 * scale * tilt.cos()
    box = torch.stack([across - scale, down - scale, across + scale, down + scale], dim=1)
    return outside, box / 2 + 0.5


def colours(persons: Tensor) -> tuple[Tensor, Tensor]:
    """Of skin and hair, ``(N, 3)`` each, RGB in [0, 1]; before light and shadow."""
    person = _traits(persons)
    return _skin(person)[:, :, 0, 0], _hair_colour(person)[:, :, 0, 0]


def _traits(persons: Tensor) -> dict[str, Tensor]:
    """By name, ``(N, 1, 1)`` each."""
    return {name: persons[:, i, None, None] for i, name in enumerate(TRAITS)}


def _head_numbers(persons: Tensor, scene: Scene) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor]:
    """Traits by name, ``(N, 1, 1)`` each, jitter ``(N, JITTERS, 1, 1)``, the head's turn and the face's half width."""
    person, jitter = _traits(persons), scene.jitter[:, :, None, None]
    turn = 0.6 * scene.gaze[:, None, None] + 0.16 * jitter[:, 4]
    return person, jitter, turn, 0.60 + 0.20 * person["face_width"]


def _grid(jitter: Tensor, turn: Tensor, width: Tensor, size: int) -> _Grid:
    points = (torch.arange(size) + 0.5) / size * 2 - 1
    across, down = points[None, None, :].expand(1, size, size), points[None, :, None].expand(1, size, size)
    scale = _HEAD * (1 + 0.06 * jitter[:, 2])
    x, y = (across - 0.05 * jitter[:, 0]) / scale, (down + 0.03 - 0.04 * jitter[:, 1]) / scale
    tilt = 0.10 * jitter[:, 3]
    x, y = x * tilt.cos() + y * tilt.sin(), y * tilt.cos() - x * tilt.sin()
    fx = x - 0.22 * turn * (1 - (x / (1.15 * width)).square()).clamp(min=0)
    return _Grid(across, down, x, y, fx, _SOFTNESS * (2 / size) / scale)


def _along(colours: tuple[tuple[float, float, float], ...], value: Tensor) -> Tensor:
    """A place along a row of colours, ``(N, 1, 1)`` from [0, 1] -> ``(N, 3, 1, 1)``."""
    table = torch.tensor(colours)
    at = value.flatten() * (len(colours) - 1)
    low = at.long().clamp(max=len(colours) - 2)
    return torch.lerp(table[low], table[low + 1], (at - low)[:, None])[:, :, None, None]


def _palette(colours: dict[str, tuple[float, float, float]], index: Tensor, tint: Tensor) -> Tensor:
    return (torch.tensor(list(colours.values()))[index] + tint)[:, :, None, None].clamp(0, 1)


def _skin(person: dict[str, Tensor]) -> Tensor:
    tone = _along(_SKIN, person["skin"])
    warm = torch.tensor([0.05, -0.005, -0.06])[:, None, None]
    return (tone + warm * (person["undertone"][:, None] * 2 - 1)).clamp(0, 1)


def _greyed(person: dict[str, Tensor]) -> Tensor:
    return step(person["age"], AGED, 0.95)[:, None]


def _hair_colour(person: dict[str, Tensor]) -> Tensor:
    natural = _along(_HAIR, person["hair_colour"])
    return torch.lerp(natural, torch.tensor(_GREY)[:, None, None].expand_as(natural), 0.9 * _greyed(person))


def _background(grid: _Grid, scene: Scene, jitter: Tensor) -> Tensor:
    colour = _palette(BACKGROUNDS, scene.background, 0.03 * scene.jitter[:, 11:14])
    across, down = grid.across + 0.15 * jitter[:, 14], grid.down
    picture = colour * (1 - 0.10 * (down + 0.4 * (across.square() + down.square())))[:, None]
    names = list(BACKGROUNDS)

    def where(name: str) -> Tensor:
        return (scene.background == names.index(name))[:, None, None].float()

    def rgb(*values: float) -> Tensor:
        return torch.tensor(values)[None, :, None, None]

    shore = 0.28 + 0.10 * jitter[:, 15]
    picture = paint(picture, rgb(0.16, 0.50, 0.66), where("beach") * step(down, shore - 0.30, shore - 0.26))
    picture = paint(picture, rgb(0.90, 0.80, 0.58), where("beach") * step(down, shore - 0.03, shore + 0.03))
    trunks = torch.cos(9.5 * across + 2 * jitter[:, 16]) + 0.3 * torch.cos(23 * across)
    picture = paint(picture, rgb(0.24, 0.17, 0.10), where("forest") * step(trunks, 0.55, 0.8))
    leaves = torch.cos(7 * across + 5 * down + 3 * jitter[:, 17]) * torch.cos(6 * down - 8 * across)
    picture = paint(picture, rgb(0.30, 0.52, 0.20), where("forest") * 0.8 * step(leaves - down, 0.35, 0.9))
    lights = torch.cos(10 * across + 3 * jitter[:, 18]) * torch.cos(10 * (down + 0.5 * across) + 3 * jitter[:, 19])
    picture = paint(picture, rgb(1.0, 0.80, 0.42), where("night") * step(lights, 0.80, 0.93))
    return picture.clamp(0, 1)


def _strands(grid: _Grid, person: dict[str, Tensor]) -> Tensor:
    """Light and dark along the hair, about 1."""
    angle = torch.atan2(grid.x - 0.5 * (person["parting"] - 0.5), 1.3 + grid.y.clamp(min=-1.25))
    wave = person["hair_wave"] * 0.12 * torch.sin(9 * grid.y)
    return 1 + 0.11 * torch.sin(34 * (angle + wave)) + 0.05 * torch.sin(71 * angle)


def _volume(person: dict[str, Tensor]) -> Tensor:
    return 0.05 + 0.26 * person["hair_volume"]


def _hair_behind(picture: Tensor, grid: _Grid, person: dict[str, Tensor], width: Tensor, hair: Tensor) -> Tensor:
    volume = _volume(person)
    end = -0.15 + 1.75 * person["hair_length"]
    wavy = 0.10 * person["hair_wave"] * torch.sin(8.5 * grid.y)
    side = width + 0.7 * volume + 0.10 * person["hair_length"]
    top = ellipse(grid.x, grid.y + 0.12, width + volume, 1.02 + volume)
    fall = box(grid.x.abs() + wavy, grid.y - 0.5 * (end - 0.3), side, 0.5 * (end + 0.3), 0.15)
    alpha = torch.maximum(cover(top, grid.edge) * step(-grid.y, -0.25, 0.05), cover(fall, grid.edge))
    dark = 0.78 - 0.1 * step(grid.y, 0.2, 1.4)
    return paint(picture, (hair * (dark * _strands(grid, person))[:, None]).clamp(0, 1), alpha)


def _body(
    picture: Tensor, grid: _Grid, person: dict[str, Tensor], width: Tensor, scene: Scene, skin: Tensor, colour: Tensor
) -> Tensor:
    x, y = grid.x, grid.y
    neck = 0.52 * width + 0.05
    under = 1 - 0.42 * step(1.45 - y, 0.0, 0.55)
    rounded = 1 - 0.25 * (x / neck).square().clamp(max=1)
    picture = paint(picture, (skin * (under * rounded)[:, None]), cover(box(x, y - 1.1, neck, 0.75, 0.1), grid.edge))
    kind = scene.clothing[:, None, None]

    def where(name: str) -> Tensor:
        return (kind == CLOTHING_KINDS.index(name)).float()

    shoulders = 1.40 + 0.22 * (x.abs() / 1.5).pow(3) + 0.35 * (x.abs() / 1.5).pow(2)
    neckline = 0.30 * (1 - (x / (neck + 0.16)).square()).clamp(min=0)
    upper = shoulders - 0.10 * where("turtleneck") + neckline * (where("t-shirt") + where("hoodie")) - 0.04
    alpha = cover(upper - y, grid.edge)
    folds = 1 - 0.16 * step(x.abs(), 0.55, 1.7) + 0.05 * torch.cos(5 * x + 3 * y)
    picture = paint(picture, (colour * folds[:, None]).clamp(0, 1), alpha)
    # a turtleneck's tube, a shirt's collar and buttons, a hoodie's hood and strings, a t-shirt's hem
    tube = where("turtleneck") * cover(box(x, y - 1.32, neck + 0.05, 0.24, 0.08), grid.edge)
    picture = paint(picture, colour * (0.92 - 0.14 * torch.cos(22 * x) - 0.1 * (x / neck).square())[:, None], tube)
    spread = (x.abs() - 0.62 * (y - 1.22) - 0.05).abs() + 0.25 * (y - 1.42).abs()
    collar = where("shirt") * cover(torch.maximum(spread - 0.15, 1.20 - y), grid.edge) * step(1.82 - y, 0, 0.05)
    opening = where("shirt") * cover(torch.maximum(x.abs() + 0.62 * (y - 1.62), 1.2 - y), grid.edge)
    picture = paint(picture, skin * 0.80, opening * alpha)
    picture = paint(picture, (colour * 1.12 + 0.06).clamp(0, 1), collar)
    button = where("shirt") * cover(ellipse(x, torch.remainder(y - 1.86, 0.30) - 0.15, 0.035, 0.035), grid.edge)
    picture = paint(picture, colour * 0.45 + 0.1, button * step(y, 1.75, 1.78))
    hood = where("hoodie") * cover(ellipse(x, y - 1.16, neck + 0.30, 0.50).abs() - 0.11, grid.edge)
    picture = paint(picture, colour * 0.80, hood * step(y - 0.35 * x.abs(), 1.02, 1.05))
    string = where("hoodie") * cover((x.abs() - 0.22).abs() - 0.025, grid.edge) * step(y, 1.62, 1.66)
    picture = paint(picture, (colour * 0.3 + 0.62), string)
    hem = where("t-shirt") * cover((upper + 0.05 - y).abs() - 0.035, grid.edge) * step(neck + 0.2 - x.abs(), 0, 0.04)
    return paint(picture, colour * 0.72, hem)


def _head(
    picture: Tensor, grid: _Grid, person: dict[str, Tensor], width: Tensor, turn: Tensor, scene: Scene, skin: Tensor
) -> Tensor:
    x, y = grid.x, grid.y
    for side in (-1, 1):
        seen = (1 + 0.9 * side * turn).clamp(0, 1)
        ear = ellipse(x - side * (width + 0.015), y - 0.12, 0.115, 0.215)
        picture = paint(picture, skin * 0.86, cover(ear, grid.edge) * seen)
        picture = paint(
            picture,
            skin * 0.68,
            0.7 * cover(ellipse(x - side * (width + 0.02), y - 0.13, 0.055, 0.13), grid.edge) * seen,
        )
    inside = _face(grid, person, width)
    alpha = cover((inside - 1) * 0.75, grid.edge)
    light = scene.light[:, None, None]
    depth = 1 - inside.clamp(0, 1).pow(2.2)
    shade = (
        0.74
        + 0.30 * depth.clamp(min=0).pow(0.55)
        + 0.20 * light * (grid.fx / width).clamp(-1, 1) * (0.4 + 0.6 * inside.clamp(0, 1))
    )
    shade = shade + 0.05 * bump(grid.fx, y + 0.55, 0.35, 0.22)
    picture = paint(picture, (skin * shade[:, None]).clamp(0, 1), alpha)
    flush = skin * torch.tensor([1.05, 0.78, 0.76])[:, None, None]
    cheeks = bump(grid.fx.abs() - 0.40, y - 0.36, 0.16, 0.13)
    picture = paint(picture, flush.clamp(0, 1), 0.38 * cheeks * alpha)
    spots = torch.cos(31 * grid.fx + 9 * y) * torch.cos(27 * y - 13 * grid.fx)
    speckled = step(spots, 0.45, 0.8) * bump(grid.fx, y - 0.28, 0.50, 0.20) * step(person["freckles"], 0.55, 1.0)
    picture = paint(picture, skin * torch.tensor([0.70, 0.54, 0.44])[:, None, None], 0.8 * speckled * alpha)
    old = step(person["age"], AGED, 0.95)
    fold = (grid.fx.abs() - 0.20 - 0.38 * (y - 0.36).clamp(min=0)).abs()
    folds = cover(fold - 0.012, 2 * grid.edge) * step(y, 0.34, 0.42) * step(0.72 - y, 0, 0.1)
    lines = cover((torch.remainder(y + 0.66 + 0.06 * grid.fx.square(), 0.115) - 0.05).abs() - 0.008, 2 * grid.edge)
    lines = lines * step(-y, 0.44, 0.48) * step(y, -0.76, -0.70) * step(0.36 - grid.fx.abs(), 0, 0.15)
    return paint(picture, skin * 0.55, 0.75 * old * torch.maximum(folds, 0.8 * lines) * alpha)


def _face(grid: _Grid, person: dict[str, Tensor], width: Tensor) -> Tensor:
    """How far out a point is, 1 on the face's outline."""
    jaw, chin = person["jaw"], person["chin"]
    height = 1 + 0.14 * (chin - 0.5)
    low = step(grid.y, 0.05, 1.05)
    half = width * (1 - (0.34 - 0.30 * jaw) * low)
    power = 2.2 + 1.5 * jaw * step(grid.y, 0, 0.6)
    long = torch.where(grid.y > 0, grid.y / height, grid.y / 1.02).abs()
    return ((grid.x.abs() / half).clamp(min=1e-4).pow(power) + long.clamp(min=1e-4).pow(power)).pow(1 / power)


def _beard(picture: Tensor, grid: _Grid, person: dict[str, Tensor], width: Tensor, hair: Tensor) -> Tensor:
    full = step(person["beard"], BEARDED, 1.0)
    y, fx = grid.y, grid.fx
    face = cover((_face(grid, person, width) - 1.03) * 0.75, grid.edge)
    cheek = 0.22 + 0.28 * (1 - (fx / width).square()).clamp(0, 1)
    jaw = step(y, cheek, cheek + 0.16)
    lips = cover(ellipse(fx, y - 0.63, 0.24 + 0.1 * person["mouth_width"], 0.11), 0.08)
    upper = cover(between(y, 0.47 + 0.35 * fx.square(), 0.55 + 0.5 * fx.square()), 0.05) * step(0.36 - fx.abs(), 0, 0.1)
    grown = torch.maximum(jaw * (1 - lips), upper) * face * (person["beard"] > BEARDED)
    texture = 0.82 + 0.10 * torch.sin(60 * fx + 8 * y) * torch.sin(47 * y)
    return paint(picture, (hair * 0.9 * texture[:, None]).clamp(0, 1), grown * (0.45 + 0.52 * full))


def _eyes(
    picture: Tensor, grid: _Grid, person: dict[str, Tensor], turn: Tensor, scene: Scene, skin: Tensor, hair: Tensor
) -> Tensor:
    iris = _along(_IRIS, person["iris"])
    spacing = 0.245 + 0.12 * person["eye_spacing"]
    half = 0.105 + 0.065 * person["eye_size"]
    tall = half * (0.50 + 0.14 * person["eye_size"])
    squint = 1 - 0.18 * scene.smile[:, None, None].float()
    light = torch.tensor([0.96, 0.95, 0.94])[None, :, None, None]
    for side in (-1, 1):
        ex = grid.fx - side * spacing
        ey = grid.y - 0.01 + side * 0.30 * (person["eye_tilt"] - 0.45) * ex
        socket = bump(ex, ey + 0.03, half * 1.5, 0.15)
        picture = paint(picture, skin * torch.tensor([0.62, 0.52, 0.50])[:, None, None], 0.42 * socket)
        arc = (1 - (ex / half).square()).clamp(min=0)
        upper, lower = -tall * squint * arc.pow(0.8), 0.62 * tall * arc
        opened = torch.maximum(between(ey, upper, lower), ex.abs() - half)
        alpha = cover(opened, grid.edge)
        shadow = 1 - 0.30 * step(-ey, -0.1 * tall, tall)
        picture = paint(picture, light * shadow[:, None], alpha)
        look = ex - 0.34 * half * turn
        around = ellipse(look, ey, 0.82 * tall, 0.86 * tall)
        picture = paint(picture, iris * (0.8 + 0.5 * step(ey, -tall, tall))[:, None], alpha * cover(around, grid.edge))
        picture = paint(picture, iris * 0.35, alpha * cover(around.abs() - 0.012, grid.edge) * 0.7)
        black = torch.full_like(iris, 0.03)
        picture = paint(picture, black, alpha * cover(ellipse(look, ey, 0.38 * tall, 0.40 * tall), grid.edge))
        glint = cover(ellipse(look - 0.28 * tall, ey + 0.32 * tall, 0.17 * tall, 0.17 * tall), grid.edge)
        picture = paint(picture, torch.ones_like(iris), alpha * glint)
        within = step(half * 1.1 - ex.abs(), 0, 0.03)
        lid = cover((ey - upper + 0.010).abs() - 0.020, grid.edge) * within
        picture = paint(picture, skin * 0.12, 0.92 * lid)
        picture = paint(picture, skin * 0.45, 0.5 * cover((ey - lower - 0.008).abs() - 0.007, grid.edge) * within)
        crease = cover((ey - upper * 1.25 + 0.055).abs() - 0.010, grid.edge) * within
        picture = paint(picture, skin * 0.52, 0.6 * crease)
        bx = (ex - side * 0.02) / (half * 1.42)
        middle = -0.205 - 0.09 * person["brow_height"] - 0.03 * (1 - bx.square())
        middle = middle + side * (0.14 * (person["brow_angle"] - 0.62)) * bx * -1.0
        thick = (0.018 + 0.048 * person["brow_thickness"]) * (1.0 - 0.45 * side * bx)
        brow = torch.maximum((ey - middle).abs() - thick, (bx.abs() - 1) * half)
        picture = paint(picture, (hair * 0.5).clamp(max=0.36), 0.94 * cover(brow, 1.4 * grid.edge))
    return picture


def _nose(picture: Tensor, grid: _Grid, person: dict[str, Tensor], turn: Tensor, skin: Tensor) -> Tensor:
    x, y = grid.fx - 0.09 * turn * step(grid.y, -0.05, 0.35), grid.y
    wide = 0.085 + 0.075 * person["nose_width"]
    tip = 0.30 + 0.12 * person["nose_length"]
    dark = skin * torch.tensor([0.68, 0.58, 0.55])[:, None, None]
    flank = bump(x.abs() - 0.65 * wide, y - 0.45 * tip, 0.035, 0.55 * tip) * step(y, -0.12, 0.05)
    picture = paint(picture, dark, 0.34 * flank * (1 + 0.5 * (x * turn).sign() * turn.abs()))
    picture = paint(picture, (skin * 1.18).clamp(0, 1), 0.55 * bump(x, y - 0.5 * tip, 0.045, 0.6 * tip))
    picture = paint(picture, (skin * 1.22).clamp(0, 1), 0.60 * bump(x, y - tip + 0.03, 0.06, 0.05))
    under = cover(
        (y - tip - 0.065 + 0.6 * (x.abs() - wide).clamp(min=0) + 0.35 * x.square()).abs() - 0.022, 2 * grid.edge
    )
    picture = paint(picture, dark, 0.72 * under * step(wide * 1.15 - x.abs(), 0, 0.04))
    wing = (ellipse(x.abs() - wide, y - tip - 0.02, 0.055, 0.075)).abs() - 0.010
    picture = paint(picture, dark * 0.9, 0.60 * cover(wing, 1.5 * grid.edge) * step(x.abs(), wide, wide + 0.03))
    nostril = ellipse(x.abs() - 0.58 * wide, y - tip - 0.052, 0.040, 0.024)
    return paint(picture, dark * 0.35, 0.9 * cover(nostril, 1.3 * grid.edge))


def _mouth(
    picture: Tensor, grid: _Grid, person: dict[str, Tensor], scene: Scene, openness: Tensor, skin: Tensor
) -> Tensor:
    smile = scene.smile[:, None, None].float()
    half = (0.185 + 0.105 * person["mouth_width"]) * (1 + 0.12 * smile)
    x, y = grid.fx, grid.y - 0.645
    share = (x / half).clamp(-1, 1)
    arc = 1 - share.square()
    curve = -(0.012 + 0.085 * smile) * share.square() + 0.03 * smile
    thick = 0.035 + 0.05 * person["lips"]
    cupid = 1 - 0.35 * torch.exp(-((x / (0.28 * half)).square()))
    gap = smile * (0.078 + 0.035 * openness) * arc.clamp(min=0).pow(0.7)
    upper = curve - thick * cupid * arc.clamp(min=0).pow(0.6)
    lower = curve + gap + 1.25 * thick * arc.clamp(min=0).pow(0.6)
    tone = _along(((0.82, 0.56, 0.50), (0.78, 0.36, 0.36), (0.62, 0.16, 0.22)), person["lip_colour"])
    tone = tone * (0.45 + 0.55 * skin.mean(1, keepdim=True) / 0.8)
    within = (x.abs() - half) * 0.9
    alpha = cover(torch.maximum(between(y, upper, lower), within), 1.2 * grid.edge)
    shine = (
        1 - 0.20 * step(curve - y, 0, thick) + 0.16 * bump(x, y - gap - curve - 0.55 * thick, 0.6 * half, 0.5 * thick)
    )
    picture = paint(picture, (tone * shine[:, None]).clamp(0, 1), alpha)
    teeth = cover(torch.maximum(between(y, curve, curve + gap), within + 0.02), grid.edge) * smile
    picture = paint(picture, torch.tensor([0.95, 0.94, 0.91])[None, :, None, None], teeth)
    line = cover((y - curve).abs() - 0.013, grid.edge) * (1 - smile)
    rim = smile * torch.maximum(
        cover((y - curve).abs() - 0.008, grid.edge), cover((y - curve - gap).abs() - 0.010, grid.edge)
    )
    picture = paint(picture, tone * 0.32, 0.9 * torch.maximum(line, rim) * step(half * 1.04 - x.abs(), 0, 0.02))
    picture = paint(picture, skin * 0.66, 0.45 * bump(x, y - lower - 0.06, 0.6 * half, 0.035))
    dimple = bump(x.abs() - half - 0.05, y - curve, 0.035, 0.07) * smile
    return paint(picture, skin * 0.62, 0.5 * dimple)


def _hair_before(picture: Tensor, grid: _Grid, person: dict[str, Tensor], width: Tensor, hair: Tensor) -> Tensor:
    x, y, volume = grid.x, grid.y, _volume(person)
    away = x - 0.9 * width * (person["parting"] - 0.5)
    low = -0.86 + 0.44 * person["fringe"]
    sweep = 0.78 - 0.60 * person["fringe"]
    jagged = 0.025 * torch.sin(26 * x) * (0.4 + person["hair_wave"])
    line = low + sweep * away.square() + jagged
    top = ellipse(x, y + 0.12, width + volume, 1.02 + volume)
    bumps = 0.05 * person["hair_wave"] * torch.cos(16 * torch.atan2(x, -y - 0.1))
    cap = torch.maximum(top + bumps.clamp(min=0), y - line)
    sides = width - 0.10 + 0.05 * person["fringe"]
    fall = 0.05 + 1.45 * person["hair_length"] - 0.2
    wavy = 0.07 * person["hair_wave"] * torch.sin(8.5 * y)
    strip = torch.maximum(
        box(x.abs() - 0.02 + wavy, y - 0.5 * fall + 0.3, width + 0.72 * volume, 0.5 * fall + 0.3, 0.05),
        sides - 0.06 * step(y, 0.5, 1.2) - x.abs(),
    )
    strip = torch.maximum(strip, -y - 0.62)
    alpha = torch.maximum(cover(cap, grid.edge), cover(strip, grid.edge))
    gloss = 1.0 + 0.26 * bump(x - 0.15, y + 0.86, 0.42, 0.13) - 0.18 * step(x.abs(), 0.5, 1.0)
    shadow = cover(y - line - 0.07, 0.12) * cover(top, grid.edge) * (1 - alpha)
    picture = picture * (1 - 0.25 * shadow * step(0.98 * width - x.abs(), 0, 0.1))[:, None]
    return paint(picture, (hair * (gloss * _strands(grid, person))[:, None] * 0.9).clamp(0, 1), alpha)


def _glasses(picture: Tensor, grid: _Grid, person: dict[str, Tensor], scene: Scene) -> Tensor:
    on = scene.glasses[:, None, None].float()
    spacing = 0.26 + 0.10 * person["eye_spacing"]
    x, y = grid.fx, grid.y - 0.03
    lens = box(x.abs() - spacing - 0.01, y, 0.215, 0.18, 0.16)
    frame = cover(lens.abs() - 0.015, grid.edge)
    bridge = cover(torch.maximum((y + 0.05).abs() - 0.015, x.abs() - spacing + 0.17), grid.edge)
    temple = cover(torch.maximum((y + 0.05).abs() - 0.013, (x.abs() - spacing - 0.35).abs() - 0.14), grid.edge)
    glare = cover(lens, grid.edge) * step(torch.sin(7 * (x + y)), 0.80, 0.95)
    picture = paint(picture, torch.ones(1, 3, 1, 1).expand(len(on), -1, -1, -1), 0.22 * on * glare)
    rim = torch.tensor([0.16, 0.11, 0.10])[None, :, None, None].expand(len(on), -1, -1, -1)
    return paint(picture, rim, 0.7 * on * torch.maximum(torch.maximum(frame, bridge), temple))


def _headwear(picture: Tensor, grid: _Grid, person: dict[str, Tensor], width: Tensor, scene: Scene) -> Tensor:
    x, y, volume = grid.x, grid.y, _volume(person)
    ears = (scene.headwear == 2)[:, None, None].float()
    fur = torch.tensor([0.46, 0.44, 0.45])[None, :, None, None].expand(len(x), -1, -1, -1)
    lined = torch.tensor([0.86, 0.68, 0.66])[None, :, None, None].expand(len(x), -1, -1, -1)
    root = 0.62 * (width + volume)
    for colour, slim, lift in ((fur, 1.0, 0.0), (lined, 0.55, 0.10)):
        up = -(y + 0.74 + 0.7 * volume + lift)
        lean = x.abs() - root - 0.12 * up
        spike = torch.maximum(lean.abs() - 0.27 * slim * (1 - up / (0.66 * (0.55 + 0.45 * slim))), -up)
        picture = paint(
            picture,
            colour * (1 - 0.25 * step(x.abs() - root, -0.1, 0.3))[:, None],
            ears * cover(spike, 1.3 * grid.edge),
        )
    hat = (scene.headwear == 1)[:, None, None].float()
    wool = torch.tensor([0.20, 0.24, 0.36])[None, :, None, None].expand(len(x), -1, -1, -1)
    wide = width + 0.75 * volume
    rim = -0.60 + 0.10 * (x / wide).square()
    crown = torch.maximum(ellipse(x, y + 0.30, wide + 0.05, 1.0 + 0.6 * volume), y - rim)
    cuff = torch.maximum(box(x, y - rim + 0.11, wide + 0.05, 0.13, 0.06), -(y + 1.0))
    ribs = 1 + 0.16 * torch.cos(30 * torch.atan2(x, 0.9 - y))
    picture = paint(picture, (wool * ribs[:, None]).clamp(0, 1), hat * cover(crown, grid.edge))
    picture = paint(picture, (wool * (1.45 * ribs)[:, None]).clamp(0, 1), hat * cover(cuff, grid.edge))
    return paint(
        picture, (wool * 1.7).clamp(0, 1), hat * cover(ellipse(x, y + 1.36 + 0.6 * volume, 0.16, 0.14), 2 * grid.edge)
    )


def _styled(picture: Tensor, scene: Scene) -> Tensor:
    style = scene.style[:, None, None, None]
    if not bool(style.any()):
        return picture
    grey = (picture * torch.tensor([0.30, 0.59, 0.11])[:, None, None]).sum(1, keepdim=True)
    scale = picture.shape[-1] / SIZE
    fine, wide = _blurred(grey, 0.6 * scale), _blurred(grey, 1.8 * scale)
    lines = ((wide - fine) * 9).clamp(0, 1)
    paper = 0.97 - 0.32 * (1 - wide).square()
    sketch = (paper - 0.75 * lines).clamp(0, 1) * torch.tensor([1.0, 0.985, 0.95])[:, None, None]
    smooth = _blurred(picture, 0.8 * scale)
    flat = (smooth * 5).floor() / 5 + 0.10 + 0.10 * (smooth * 5 - (smooth * 5).floor() > 0.5)
    comic = (flat - 0.9 * lines).clamp(0, 1)
    return torch.where(style == 1, sketch, torch.where(style == 2, comic, picture))


def _blurred(picture: Tensor, sigma: float) -> Tensor:
    reach = max(1, round(3 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma).square())
    kernel = (kernel / kernel.sum()).expand(picture.shape[1], 1, 1, -1)
    channels = picture.shape[1]
    picture = F.conv2d(F.pad(picture, (reach, reach, 0, 0), "replicate"), kernel, groups=channels)
    return F.conv2d(F.pad(picture, (0, 0, reach, reach), "replicate"), kernel.mT, groups=channels)
