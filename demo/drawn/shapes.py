"""Soft-edged shapes on a grid of points, for a batch of pictures.

Shapes: N pictures; points ``(N, H, W)``; what is one number a picture is ``(N, 1, 1)``.
"""

import torch
from torch import Tensor

Number = Tensor | float


def ellipse(x: Tensor, y: Tensor, half_width: Number, half_height: Number) -> Tensor:
    """About the distance to an ellipse about the origin, below 0 within."""
    inside = ((x / half_width).square() + (y / half_height).square()).sqrt()
    slope = ((x / half_width**2).square() + (y / half_height**2).square()).sqrt()
    return inside * (inside - 1) / slope.clamp(min=1e-3)


def box(x: Tensor, y: Tensor, half_width: Number, half_height: Number, corner: Number = 0.0) -> Tensor:
    """About the distance to a box about the origin with rounded corners, below 0 within."""
    right, low = x.abs() - half_width + corner, y.abs() - half_height + corner
    outside = (right.clamp(min=0).square() + low.clamp(min=0).square()).sqrt()
    return outside + torch.maximum(right, low).clamp(max=0) - corner


def between(y: Tensor, upper: Tensor, lower: Tensor) -> Tensor:
    """About the distance to the band between two curves, below 0 within; y grows downwards."""
    return torch.maximum(upper - y, y - lower)


def cover(distance: Tensor, edge: Number) -> Tensor:
    """How much of each point a shape covers, 0 to 1, by an edge so wide."""
    return (0.5 - distance / edge).clamp(0, 1)


def step(value: Tensor, low: Number, high: Number) -> Tensor:
    """A smooth step from 0 at ``low`` to 1 at ``high``."""
    share = ((value - low) / (high - low)).clamp(0, 1)
    return share * share * (3 - 2 * share)


def bump(x: Tensor, y: Tensor, half_width: Number, half_height: Number) -> Tensor:
    """A soft spot about the origin, 1 in its middle."""
    return torch.exp(-((x / half_width).square() + (y / half_height).square()))


def paint(picture: Tensor, colour: Tensor, alpha: Tensor) -> Tensor:
    """A colour over a picture.

    Args:
        picture: ``(N, 3, H, W)``.
        colour: ``(N, 3, 1, 1)`` or as the picture.
        alpha: ``(N, H, W)``, 0 to 1.
    """
    return torch.lerp(picture, colour.expand_as(picture), alpha[:, None])
