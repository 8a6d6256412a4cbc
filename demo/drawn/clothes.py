"""What people wear. Shapes as in ``frame``."""

import torch
from torch import Tensor

from .frame import Grid
from .hair import volume_of
from .scenes import CLOTHING_KINDS, Scene
from .shapes import box, cover, ellipse, paint, step


def body(
    picture: Tensor, grid: Grid, person: dict[str, Tensor], width: Tensor, scene: Scene, skin: Tensor, colour: Tensor
) -> Tensor:
    """Neck, shoulders and what they wear."""
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


def glasses(picture: Tensor, grid: Grid, person: dict[str, Tensor], scene: Scene) -> Tensor:
    """Glasses, where they are worn."""
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


def headwear(picture: Tensor, grid: Grid, person: dict[str, Tensor], width: Tensor, scene: Scene) -> Tensor:
    """A hat or wolf ears, where they are worn."""
    x, y, volume = grid.x, grid.y, volume_of(person)
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
