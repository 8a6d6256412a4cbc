"""What is behind people. Shapes as in ``frame``."""

import torch
from torch import Tensor

from .frame import Grid
from .palette import palette
from .scenes import BACKGROUNDS, Scene
from .shapes import paint, step


def background(grid: Grid, scene: Scene, jitter: Tensor) -> Tensor:
    """What is behind the person."""
    colour = palette(BACKGROUNDS, scene.background, 0.03 * scene.jitter[:, 11:14])
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
