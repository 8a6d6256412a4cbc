"""The leaves that hold weights. A host that moves and casts weights itself passes its own classes of these names.

Every leaf computes in its input's type and casts its weight on use, so a half-precision file stays as it is in memory.
"""

import threading

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Scratch(threading.local):
    """Memory that casts go to: fresh memory for each would cost three times the cast itself, in page faults."""

    buffer: Tensor | None = None

    def get(self, size: int, dtype: torch.dtype) -> Tensor:
        if self.buffer is None or self.buffer.dtype != dtype or len(self.buffer) < size:
            with torch.inference_mode(False):
                self.buffer = torch.empty(size, dtype=dtype)
        return self.buffer[:size]


_scratch = _Scratch()


def cast(weight: Tensor, like: Tensor) -> Tensor:
    """A weight in the type and on the device of ``like``.

    On a CPU, where no gradient is wanted, it lies in memory that the thread's next cast writes over: use it at once.
    """
    if weight.dtype == like.dtype and weight.device == like.device:
        return weight
    if torch.is_grad_enabled() or weight.device.type != "cpu" or like.device.type != "cpu":
        return weight.to(like)
    return _scratch.get(weight.numel(), like.dtype).view(weight.shape).copy_(weight)


class Linear(nn.Linear):
    """``(..., in_features) -> (..., out_features)``."""

    def forward(self, input: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return F.linear(input, cast(self.weight, input), bias)


class LayerNorm(nn.LayerNorm):
    """``(..., dim) -> (..., dim)``."""

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self.weight.to(input.dtype), self.bias.to(input.dtype)
        return F.layer_norm(input, self.normalized_shape, weight, bias, self.eps)


class Conv2d(nn.Conv2d):
    """``(batch, in_channels, height, width) -> (batch, out_channels, ...)``."""

    def forward(self, input: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return self._conv_forward(input, cast(self.weight, input), bias)


class Learned(nn.Module):
    """Learned numbers that nothing is multiplied with: ``() -> shape``, in the type and on the device of ``like``."""

    def __init__(self, *shape: int, device: torch.device | str | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape, device=device))

    def forward(self, like: Tensor) -> Tensor:
        return self.weight.to(like)


class Basis(nn.Module):
    """A bank of K matrices, mixed by coefficients: ``(..., K) -> (..., rows, columns)``."""

    def __init__(self, size: int, rows: int, columns: int, device: torch.device | str | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, rows, columns, device=device))

    def forward(self, coefficients: Tensor) -> Tensor:
        return mix_basis(coefficients, cast(self.weight, coefficients))


def mix_basis(coefficients: Tensor, basis: Tensor) -> Tensor:
    """``sum_k coefficients[..., k] * basis[k]``, for ``(..., K)`` and ``(K, rows, columns)``, as one matrix product."""
    return (coefficients @ basis.flatten(1)).unflatten(-1, basis.shape[1:])
