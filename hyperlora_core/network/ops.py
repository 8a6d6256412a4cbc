"""The leaves that hold weights. A host that moves and casts weights itself passes its own classes of these names.

Every leaf computes in its input's type and casts its weight on use, so a half-precision file stays as it is in memory.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """``(..., in_features) -> (..., out_features)``."""

    def forward(self, input: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return F.linear(input, self.weight.to(input.dtype), bias)


class LayerNorm(nn.LayerNorm):
    """``(..., dim) -> (..., dim)``."""

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self.weight.to(input.dtype), self.bias.to(input.dtype)
        return F.layer_norm(input, self.normalized_shape, weight, bias, self.eps)


class Queries(nn.Module):
    """The resampler's learned queries: ``() -> (1, queries, dim)`` in the type and on the device of ``like``."""

    def __init__(self, queries: int, dim: int, device: torch.device | str | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, queries, dim, device=device))

    def forward(self, like: Tensor) -> Tensor:
        return self.weight.to(like)


class Basis(nn.Module):
    """A bank of K matrices, mixed by coefficients: ``(..., K) -> (..., rows, columns)``."""

    def __init__(self, size: int, rows: int, columns: int, device: torch.device | str | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, rows, columns, device=device))

    def forward(self, coefficients: Tensor) -> Tensor:
        return mix_basis(coefficients, self.weight.to(coefficients.dtype))


def mix_basis(coefficients: Tensor, basis: Tensor) -> Tensor:
    """``sum_k coefficients[..., k] * basis[k]``, for ``(..., K)`` and ``(K, rows, columns)``, as one matrix product."""
    return (coefficients @ basis.flatten(1)).unflatten(-1, basis.shape[1:])
