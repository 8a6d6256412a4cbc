"""The head: its outline, and what is on a face. Shapes as in ``frame``."""

import torch
from torch import Tensor

from .frame import Grid
from .palette import along
from .people import AGED, BEARDED
from .scenes import Scene
from .shapes import between, bump, cover, ellipse, paint, step

_IRIS = ((0.25, 0.14, 0.07), (0.48, 0.30, 0.12), (0.30, 0.46, 0.20), (0.24, 0.52, 0.74), (0.48, 0.54, 0.58))


def head(
    picture: Tensor, grid: Grid, person: dict[str, Tensor], width: Tensor, turn: Tensor, scene: Scene, skin: Tensor
) -> Tensor:
    """Ears, the head with its light and shadow, cheeks, freckles, lines of age."""
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
    inside = outside(grid, person, width)
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


def outside(grid: Grid, person: dict[str, Tensor], width: Tensor) -> Tensor:
    """How far out a point is, 1 on the face's outline."""
    jaw, chin = person["jaw"], person["chin"]
    height = 1 + 0.14 * (chin - 0.5)
    low = step(grid.y, 0.05, 1.05)
    half = width * (1 - (0.34 - 0.30 * jaw) * low)
    power = 2.2 + 1.5 * jaw * step(grid.y, 0, 0.6)
    long = torch.where(grid.y > 0, grid.y / height, grid.y / 1.02).abs()
    return ((grid.x.abs() / half).clamp(min=1e-4).pow(power) + long.clamp(min=1e-4).pow(power)).pow(1 / power)


def beard(picture: Tensor, grid: Grid, person: dict[str, Tensor], width: Tensor, hair: Tensor) -> Tensor:
    """A beard, where there is one."""
    full = step(person["beard"], BEARDED, 1.0)
    y, fx = grid.y, grid.fx
    face = cover((outside(grid, person, width) - 1.03) * 0.75, grid.edge)
    cheek = 0.22 + 0.28 * (1 - (fx / width).square()).clamp(0, 1)
    jaw = step(y, cheek, cheek + 0.16)
    lips = cover(ellipse(fx, y - 0.63, 0.24 + 0.1 * person["mouth_width"], 0.11), 0.08)
    upper = cover(between(y, 0.47 + 0.35 * fx.square(), 0.55 + 0.5 * fx.square()), 0.05) * step(0.36 - fx.abs(), 0, 0.1)
    grown = torch.maximum(jaw * (1 - lips), upper) * face * (person["beard"] > BEARDED)
    texture = 0.82 + 0.10 * torch.sin(60 * fx + 8 * y) * torch.sin(47 * y)
    return paint(picture, (hair * 0.9 * texture[:, None]).clamp(0, 1), grown * (0.45 + 0.52 * full))


def eyes(
    picture: Tensor, grid: Grid, person: dict[str, Tensor], turn: Tensor, scene: Scene, skin: Tensor, hair: Tensor
) -> Tensor:
    """Eyes and brows."""
    iris = along(_IRIS, person["iris"])
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


def nose(picture: Tensor, grid: Grid, person: dict[str, Tensor], turn: Tensor, skin: Tensor) -> Tensor:
    """The nose."""
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


def mouth(
    picture: Tensor, grid: Grid, person: dict[str, Tensor], scene: Scene, openness: Tensor, skin: Tensor
) -> Tensor:
    """The mouth, closed or smiling."""
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
    tone = along(((0.82, 0.56, 0.50), (0.78, 0.36, 0.36), (0.62, 0.16, 0.22)), person["lip_colour"])
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
