"""Where the points of a picture are, in the picture and on the head.

A head's own frame: the origin between the eyes, 1 from there to the chin, y downwards. Shapes: N pictures of S pixels a
side; ``(N, 1, 1)`` is one number a picture.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .people import TRAITS
from .scenes import Scene

HEAD = 0.53
"""From the eyes to the chin, of half the picture."""

_SOFTNESS = 1.1  # pixels that an edge is wide


@dataclass(frozen=True)
class Grid:
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


def traits(persons: Tensor) -> dict[str, Tensor]:
    """By name, ``(N, 1, 1)`` each."""
    return {name: persons[:, i, None, None] for i, name in enumerate(TRAITS)}


def head_numbers(persons: Tensor, scene: Scene) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor]:
    """Traits by name, ``(N, 1, 1)`` each, jitter ``(N, JITTERS, 1, 1)``, the head's turn and the face's half width."""
    person, jitter = traits(persons), scene.jitter[:, :, None, None]
    turn = 0.6 * scene.gaze[:, None, None] + 0.16 * jitter[:, 4]
    return person, jitter, turn, 0.60 + 0.20 * person["face_width"]


def grid_of(jitter: Tensor, turn: Tensor, width: Tensor, size: int) -> Grid:
    """Where the points of pictures of so many pixels a side are."""
    points = (torch.arange(size) + 0.5) / size * 2 - 1
    across, down = points[None, None, :].expand(1, size, size), points[None, :, None].expand(1, size, size)
    scale = HEAD * (1 + 0.06 * jitter[:, 2])
    x, y = (across - 0.05 * jitter[:, 0]) / scale, (down + 0.03 - 0.04 * jitter[:, 1]) / scale
    tilt = 0.10 * jitter[:, 3]
    x, y = x * tilt.cos() + y * tilt.sin(), y * tilt.cos() - x * tilt.sin()
    fx = x - 0.22 * turn * (1 - (x / (1.15 * width)).square()).clamp(min=0)
    return Grid(across, down, x, y, fx, _SOFTNESS * (2 / size) / scale)
