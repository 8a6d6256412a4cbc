"""The hair, behind the head and before it. Shapes as in ``frame``."""

import torch
from torch import Tensor

from .frame import Grid
from .shapes import box, bump, cover, ellipse, paint, step


def strands(grid: Grid, person: dict[str, Tensor]) -> Tensor:
    """Light and dark along the hair, about 1."""
    angle = torch.atan2(grid.x - 0.5 * (person["parting"] - 0.5), 1.3 + grid.y.clamp(min=-1.25))
    wave = person["hair_wave"] * 0.12 * torch.sin(9 * grid.y)
    return 1 + 0.11 * torch.sin(34 * (angle + wave)) + 0.05 * torch.sin(71 * angle)


def volume_of(person: dict[str, Tensor]) -> Tensor:
    """How far hair stands off the head."""
    return 0.05 + 0.26 * person["hair_volume"]


def hair_behind(picture: Tensor, grid: Grid, person: dict[str, Tensor], width: Tensor, hair: Tensor) -> Tensor:
    """The hair behind head and shoulders, drawn first."""
    volume = volume_of(person)
    end = -0.15 + 1.75 * person["hair_length"]
    wavy = 0.10 * person["hair_wave"] * torch.sin(8.5 * grid.y)
    side = width + 0.7 * volume + 0.10 * person["hair_length"]
    top = ellipse(grid.x, grid.y + 0.12, width + volume, 1.02 + volume)
    fall = box(grid.x.abs() + wavy, grid.y - 0.5 * (end - 0.3), side, 0.5 * (end + 0.3), 0.15)
    alpha = torch.maximum(cover(top, grid.edge) * step(-grid.y, -0.25, 0.05), cover(fall, grid.edge))
    dark = 0.78 - 0.1 * step(grid.y, 0.2, 1.4)
    return paint(picture, (hair * (dark * strands(grid, person))[:, None]).clamp(0, 1), alpha)


def hair_before(picture: Tensor, grid: Grid, person: dict[str, Tensor], width: Tensor, hair: Tensor) -> Tensor:
    """The hair on the head, drawn over the face."""
    x, y, volume = grid.x, grid.y, volume_of(person)
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
    return paint(picture, (hair * (gloss * strands(grid, person))[:, None] * 0.9).clamp(0, 1), alpha)
