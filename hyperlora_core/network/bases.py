"""The learned bases: for every projection of every attention, K down and K up matrices that coefficients mix."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..lora.names import PROJECTIONS
from .config import ROWS_PER_MODULE, AttentionModule


class ProjectionBasis(nn.Module):
    """The bases of one projection: down ``(K, in, rank)``, up ``(K, rank, out)``."""

    def __init__(
        self,
        size: int,
        in_features: int,
        out_features: int,
        rank: int,
        operations: Any,
        device: torch.device | str | None,
    ) -> None:
        super().__init__()
        self.down = operations.Basis(size, in_features, rank, device=device)
        self.up = operations.Basis(size, rank, out_features, device=device)


class Bases(nn.Module):
    """The bases of one LoRA (ID or Base), a list over the attention modules, a ``ProjectionBasis`` for each projection.

    Module i takes the coefficient rows 8i .. 8i+7: q.down, q.up, k.down, k.up, v.down, v.up, out.down, out.up.
    """

    def __init__(
        self,
        modules: Sequence[AttentionModule],
        size: int,
        rank: int,
        operations: Any,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.attentions = tuple(modules)
        self.size, self.rank = size, rank
        self.bases = nn.ModuleList(
            nn.ModuleDict(
                {
                    name: ProjectionBasis(size, module.in_features(name), module.hidden_size, rank, operations, device)
                    for name in PROJECTIONS
                }
            )
            for module in modules
        )

    def forward(self, coefficients: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Mix the bases.

        Args:
            coefficients: ``(..., 8 M, K)``, their rows scaled.

        Yields:
            Canonical name of a projection, its down matrix ``(..., rank, in)`` and its up matrix ``(..., out, rank)``,
            both contiguous.
        """
        for i, (module, bases) in enumerate(zip(self.attentions, self.bases, strict=True)):
            rows = coefficients[..., ROWS_PER_MODULE * i : ROWS_PER_MODULE * (i + 1), :].unbind(-2)
            for j, name in enumerate(PROJECTIONS):
                basis = bases[name]  # type: ignore[index]
                down, up = basis.down(rows[2 * j]), basis.up(rows[2 * j + 1])
                yield projection_path(module.name, name), down.mT.contiguous(), up.mT.contiguous()


def targets(attentions: Iterable[str]) -> list[str]:
    """The linear layers that LoRAs for these attentions change, by their canonical names."""
    return [projection_path(attention, projection) for attention in attentions for projection in PROJECTIONS]


def projection_path(attention: str, projection: str) -> str:
    """The diffusers path of a projection: ``to_out`` is a list whose first element holds the weight."""
    return f"{attention}.to_out.0" if projection == "to_out" else f"{attention}.{projection}"
