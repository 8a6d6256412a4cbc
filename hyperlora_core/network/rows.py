"""Rows of coefficients: the mean over a person's photos, and the scaling of each row to unit length."""

import torch
from torch import Tensor

from ..errors import HyperLoRAError

ROW_EPS = 1e-8


def mean_of_photos(rows: Tensor, weights: Tensor | None = None) -> Tensor:
    """The (weighted) mean over a person's photos, not yet scaled.

    Args:
        rows: ``(..., refs, 8 M, K)``.
        weights: ``(..., refs)`` or None for equal weights; they are divided by their sum.

    Returns:
        ``(..., 8 M, K)``.

    Raises:
        HyperLoRAError: there is no row, or the weights do not fit or sum to zero.
    """
    if rows.ndim < 3 or rows.shape[-3] == 0:
        raise HyperLoRAError(f"rows of at least one photo, (refs, rows, K), are needed; got {tuple(rows.shape)}")
    if weights is None:
        return rows.mean(-3)
    if weights.shape != rows.shape[:-2]:
        raise HyperLoRAError(f"one weight a photo is needed: rows {tuple(rows.shape)}, weights {tuple(weights.shape)}")
    total = weights.sum(-1, keepdim=True)
    if not (total.abs() > 0).all():
        raise HyperLoRAError(f"the photos' weights sum to zero: {weights.tolist()}")
    return ((weights / total).to(rows)[..., None, None] * rows).sum(-3)


def unit(rows: Tensor) -> Tensor:
    """Each row scaled to unit length, as the bases take it; shape stays."""
    return rows * torch.rsqrt(rows.square().sum(-1, keepdim=True) + ROW_EPS)


def interpolate(one: Tensor, other: Tensor, amount: Tensor, spherical: bool = False) -> Tensor:
    """Rows between two people's.

    Args:
        one: ``(8 M, K)``, not scaled.
        other: the same of the other person.
        amount: ``(8 M, 1)`` or one number: 0 is ``one``, 1 is ``other``; beyond them both are extrapolated.
        spherical: go along the arc between each two rows' directions, their lengths changing evenly. Rows that point
            the same way or opposite ways have no arc of their own, and go straight.

    Returns:
        ``(8 M, K)``.
    """
    straight = (1 - amount) * one + amount * other
    if not spherical:
        return straight
    lengths = [rows.norm(dim=-1, keepdim=True) for rows in (one, other)]
    directions = [rows / length.clamp(min=ROW_EPS) for rows, length in zip((one, other), lengths, strict=True)]
    angle = (directions[0] * directions[1]).sum(-1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    flat = sine < 1e-4
    along = ((1 - amount) * angle).sin() * directions[0] + (amount * angle).sin() * directions[1]
    length = (1 - amount) * lengths[0] + amount * lengths[1]
    return torch.where(flat, straight, along / sine.clamp(min=1e-4) * length)
