"""The perceiver resampler: learned queries read the conditions and become rows of coefficients.

Shapes: B photos, N queries, T tokens, D width of the queries, K coefficients a row. Attribute names are the released
files' tensor names. Architecture: HyperLoRA (arXiv 2503.16944), after IP-Adapter's and Flamingo's resamplers.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import ResamplerConfig

CONDITIONS = ("x", "y")  # the files' suffixes: the first condition's norm is norm_attn2_x, the second's norm_attn3_y


class Attention(nn.Module):
    """Multi-head attention without biases: queries ``(B or 1, N, D)`` and context ``(B, T, D)`` -> ``(B, N, D)``."""

    def __init__(self, config: ResamplerConfig, operations: Any, device: torch.device | str | None) -> None:
        super().__init__()
        dim, inner = config.dim, config.heads * config.head_dim
        self.heads = config.heads
        self.to_q = operations.Linear(dim, inner, bias=False, device=device)
        self.to_k = operations.Linear(dim, inner, bias=False, device=device)
        self.to_v = operations.Linear(dim, inner, bias=False, device=device)
        self.to_out = nn.ModuleList([operations.Linear(inner, dim, bias=False, device=device)])

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, N or T, head_dim)
            for part in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        out = F.scaled_dot_product_attention(q.expand(k.shape[0], -1, -1, -1), k, v)
        return self.to_out[0](out.transpose(1, 2).flatten(2))


class GELUProjection(nn.Module):
    """``(..., D) -> (..., D * mult)``, then the exact GELU."""

    def __init__(self, dim: int, hidden: int, operations: Any, device: torch.device | str | None) -> None:
        super().__init__()
        self.proj = operations.Linear(dim, hidden, device=device)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.proj(x))


class FeedForward(nn.Module):
    """``(..., D) -> (..., D)``. Position 1 of ``net`` is the files' dropout, which holds nothing."""

    def __init__(self, dim: int, mult: int, operations: Any, device: torch.device | str | None) -> None:
        super().__init__()
        widen = GELUProjection(dim, dim * mult, operations, device)
        self.net = nn.Sequential(widen, nn.Identity(), operations.Linear(dim * mult, dim, device=device))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class ResamplerBlock(nn.Module):
    """Self-attention, then attention to each condition in turn, then feed-forward; pre-norm, residual each time."""

    def __init__(self, config: ResamplerConfig, operations: Any, device: torch.device | str | None) -> None:
        super().__init__()

        def norm() -> nn.Module:
            return operations.LayerNorm(config.dim, device=device)

        def attention() -> Attention:
            return Attention(config, operations, device)

        self.norm_attn1, self.attn1 = norm(), attention()
        self.conditions = [
            (f"norm_attn{i}_l", f"norm_attn{i}_{suffix}", f"attn{i}")
            for i, suffix in enumerate(CONDITIONS[: len(config.condition_dims)], start=2)
        ]
        for norm_queries, norm_tokens, name in self.conditions:
            self.add_module(norm_queries, norm())
            self.add_module(norm_tokens, norm())
            self.add_module(name, attention())
        self.norm_ff = norm()
        self.ff = FeedForward(config.dim, config.ff_mult, operations, device)

    def look_at_queries(self, latents: Tensor) -> Tensor:
        """The self-attention of the queries."""
        normed = self.norm_attn1(latents)
        return latents + self.attn1(normed, normed)

    def look_at_conditions(self, latents: Tensor, contexts: Sequence[Tensor]) -> Tensor:
        """The rest of the block."""
        for (norm_queries, norm_tokens, name), context in zip(self.conditions, contexts, strict=True):
            queries, tokens = getattr(self, norm_queries)(latents), getattr(self, norm_tokens)(context)
            latents = latents + getattr(self, name)(queries, tokens)
        return latents + self.ff(self.norm_ff(latents))


class Resampler(nn.Module):
    """Conditions, a list of ``(B, T, condition_dim)`` -> rows ``(B, N, K)``.

    The queries stay one for all photos up to the first attention to a condition. What they are by then does not depend
    on the photos: it is computed once for as long as the weights stay where they are.
    """

    def __init__(self, config: ResamplerConfig, operations: Any, device: torch.device | str | None = None) -> None:
        super().__init__()
        self.latents = operations.Learned(1, config.queries, config.dim, device=device)
        self.condition_names = ("proj_in", "proj_in_2")[: len(config.condition_dims)]
        for name, width in zip(self.condition_names, config.condition_dims, strict=True):
            self.add_module(name, operations.Linear(width, config.dim, device=device))
        self.layers = nn.ModuleList(ResamplerBlock(config, operations, device) for _ in range(config.depth))
        self.proj_out = operations.Linear(config.dim, config.out_dim, device=device)
        self._start: tuple[tuple, Tensor] | None = None

    def forward(self, conditions: Sequence[Tensor]) -> Tensor:
        contexts = [getattr(self, name)(tokens) for name, tokens in zip(self.condition_names, conditions, strict=True)]
        first, *others = self._blocks()
        latents = first.look_at_conditions(self._queries(first, contexts[0]), contexts)
        for block in others:
            latents = block.look_at_conditions(block.look_at_queries(latents), contexts)
        return self.proj_out(latents)

    def _blocks(self) -> list[ResamplerBlock]:
        return list(self.layers)  # type: ignore[arg-type]

    def _queries(self, first: ResamplerBlock, like: Tensor) -> Tensor:
        """The queries after the first block's self-attention, ``(1, N, D)``."""
        weights = [self.latents.weight, *first.norm_attn1.parameters(), *first.attn1.parameters()]
        if torch.is_grad_enabled() or any(w.requires_grad for w in weights):  # an optimizer may count no versions
            return first.look_at_queries(self.latents(like))
        key = (like.dtype, like.device, *((w.data_ptr(), 0 if w.is_inference() else w._version) for w in weights))
        if self._start is None or self._start[0] != key:
            self._start = (key, first.look_at_queries(self.latents(like)).clone())
        return self._start[1]
