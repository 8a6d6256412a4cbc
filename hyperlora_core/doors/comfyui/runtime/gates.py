"""The LoRAs of one projection as a single pair of matrices, and the gate that says where each of their ranks acts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ....errors import HyperLoRAError
from .masks import Size, TokenGrid


@dataclass(frozen=True)
class StackedFactors:
    """The factors of all LoRAs for one projection, concatenated along the rank.

    Attributes:
        down: ``(ranks, in)``.
        up: ``(out, ranks)``, with strength and scale multiplied in.
        layers: of each LoRA, the layer's number and its rank.
    """

    down: Tensor
    up: Tensor
    layers: tuple[tuple[int, int], ...]


def stack_factors(parts: Sequence[tuple[int, Tensor, Tensor]], dtype: torch.dtype) -> StackedFactors:
    """Concatenate factors.

    Args:
        parts: layer's number, down ``(rank, in)``, up ``(out, rank)``.
        dtype: of the result.
    """
    downs, ups = [down for _, down, _ in parts], [up for _, _, up in parts]
    layers = tuple((number, len(down)) for number, down, _ in parts)
    return StackedFactors(torch.cat(downs).to(dtype), torch.cat(ups, dim=1).to(dtype), layers)


@dataclass(frozen=True)
class RankGates:
    """Where the ranks of a projection act in one call of the UNet.

    Attributes:
        layers: ``(ranks,)``, the number of the layer that each rank belongs to.
        rows: ``(rows, 1, ranks)``, the gate of each batch row; None: 1 in every row.
        grid: the tokens' place in the picture, where masks apply; None: the same gate for every token.
        by_size: ``(height, width)`` of the feature map -> ``(rows, tokens, ranks)``, with ``rows`` multiplied in.
    """

    layers: Tensor
    rows: Tensor | None
    grid: TokenGrid | None
    by_size: dict[Size, Tensor] = field(default_factory=dict)

    def apply(self, inner: Tensor) -> Tensor:
        """Multiply ``x @ down.T``, ``(rows, tokens, ranks)``, by the gate.

        Raises:
            HyperLoRAError: another node has rearranged rows or tokens.
        """
        if self.grid is not None:
            size = self.grid.size_of(inner)
            return inner * (self.by_size[size] if size in self.by_size else self.build(self.grid, size, inner))
        if self.rows is None:
            return inner
        repeats, remainder = divmod(len(inner), len(self.rows))  # HyperTile splits a row into several
        if remainder:
            raise HyperLoRAError(
                f"the UNet was given {len(inner)} rows where {len(self.rows)} or several times as many were expected: "
                "another node adds or takes out pictures in the middle of it. Take it out, or apply one LoRA to all"
            )
        return inner * (self.rows if repeats == 1 else self.rows.repeat_interleave(repeats, dim=0))

    def build(self, grid: TokenGrid, size: Size, like: Tensor) -> Tensor:
        """Make the gate for a size of the feature map, in the dtype of ``like``, and keep it in ``by_size``."""
        gate = grid.masks.at(size)[..., self.layers].to(like.dtype)
        self.by_size[size] = gate if self.rows is None else gate * self.rows
        return self.by_size[size]
