"""Cross-attention where LoRAs have masks: once without them, once more for each, blended by the masks."""

from collections.abc import Collection

from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor, nn
from torch.nn import functional as F

from .linears import LoRALinear, add_product
from .masks import TokenGrid


class CrossAttention:
    """What the four projections of one cross-attention share during a call.

    Attributes:
        attention: the module.
        masked: numbers of the layers that have a mask.
        grid: the place of its tokens in the picture.
        query: ``(rows, tokens, width)``.
        keys: layer's number -> ``(rows, prompt tokens, width)`` with that masked LoRA; at None without any of them.
        values: as ``keys``.
    """

    def __init__(self, attention: nn.Module, masked: Collection[int], grid: TokenGrid) -> None:
        self.attention = attention
        self.masked = masked
        self.grid = grid
        self.query: Tensor | None = None
        self.keys: dict[int | None, Tensor] = {}
        self.values: dict[int | None, Tensor] = {}

    def blend(self, attended: Tensor) -> Tensor:
        """Within each LoRA's mask, replace the attention without that LoRA by the attention with it.

        The difference of the two is added, so that whatever else is in the output (an IP-Adapter's) stays.

        Args:
            attended: the attention's output without masked LoRAs, ``(rows, tokens, width)``.
        """
        masks = self.grid.masks.at(self.grid.size_of(attended)).to(attended.dtype)
        without = self._attend(None)
        for number in self.keys.keys() | self.values.keys():
            if number is not None:
                attended = attended + masks[..., number, None] * (self._attend(number) - without)
        return attended

    def _attend(self, number: int | None) -> Tensor:
        keys, values = (variants.get(number, variants[None]) for variants in (self.keys, self.values))
        heads, precision = self.attention.heads, self.attention.attn_precision
        return optimized_attention(self.query, keys, values, heads, attn_precision=precision)


class CrossAttentionLinear(LoRALinear):
    """A projection of a cross-attention in which LoRAs have masks.

    Attributes:
        shared: what the attention's projections share.
    """

    shared: CrossAttention


class QueryLinear(CrossAttentionLinear):
    """``to_q``, which reads picture tokens."""

    def forward(self, input: Tensor) -> Tensor:
        self.shared.query = super().forward(input)
        return self.shared.query


class PromptLinear(CrossAttentionLinear):
    """``to_k`` or ``to_v``, which read prompt tokens: one variant for each masked LoRA.

    The variant without masked LoRAs is the output, and what ComfyUI's own attention goes on with.
    """

    def forward(self, input: Tensor) -> Tensor:
        inner = self.gates.apply(F.linear(input, self.factors.down))
        output = self.original(input)
        ranks = [rank for _, rank in self.factors.layers]
        products = {}
        for (number, _), part, up in zip(
            self.factors.layers, inner.split(ranks, dim=-1), self.factors.up.split(ranks, dim=-1), strict=True
        ):
            if number in self.shared.masked:
                products[number] = (part, up)
            else:
                output = add_product(output, part, up)
        variants: dict[int | None, Tensor] = {None: output}
        self.store(variants | {number: output + F.linear(part, up) for number, (part, up) in products.items()})
        return output

    def store(self, variants: dict[int | None, Tensor]) -> None:
        """Keep the variants for ``CrossAttention.blend``: layer's number or None -> ``(rows, prompt tokens, out)``."""
        raise NotImplementedError


class KeyLinear(PromptLinear):
    """``to_k``."""

    def store(self, variants: dict[int | None, Tensor]) -> None:
        self.shared.keys = variants


class ValueLinear(PromptLinear):
    """``to_v``."""

    def store(self, variants: dict[int | None, Tensor]) -> None:
        self.shared.values = variants


class OutLinear(CrossAttentionLinear):
    """``to_out.0``, which reads the attention's output."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(self.shared.blend(input))


LINEARS: dict[str, type[CrossAttentionLinear]] = {
    "to_q": QueryLinear,
    "to_k": KeyLinear,
    "to_v": ValueLinear,
    "to_out.0": OutLinear,
}
"""Path of a projection in its attention -> its patch."""
