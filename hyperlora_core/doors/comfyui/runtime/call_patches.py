"""All forward patches of one call of the UNet."""

import weakref
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar

import comfy.utils
import torch
from torch import Tensor, nn

from .cross_attention import LINEARS, CrossAttention, PromptLinear
from .gates import RankGates, StackedFactors
from .linears import ForwardPatch, LoRALinear, SizeRecorder
from .masks import TokenGrid

Patch = TypeVar("Patch", bound=ForwardPatch)

_patches: weakref.WeakKeyDictionary[nn.Module, dict[type[ForwardPatch], ForwardPatch]] = weakref.WeakKeyDictionary()


class CallPatches:
    """Sets up the forward patches for one call.

    Attributes:
        masked: numbers of the layers that have a mask.
        rows: each layer's strength in each batch row, ``(rows, layers)``; None: 1 everywhere.
        grid: the tokens' place in the picture; None where no layer has a mask.
    """

    def __init__(self, masked: Collection[int], rows: Tensor | None, grid: TokenGrid | None) -> None:
        self.masked = masked
        self.rows = rows
        self.grid = grid
        self._gates: dict[Any, RankGates] = {}
        self._cross_attentions: dict[str, CrossAttention] = {}

    def prepare(self, model: nn.Module, factors: Mapping[str, StackedFactors]) -> Iterator[tuple[nn.Module, Any]]:
        """Yield each module to patch, and its patch: projections with LoRAs, and spatial transformers under masks.

        Args:
            model: the model.
            factors: path of a projection in the model -> the LoRAs' factors for it.
        """
        for name, stacked in factors.items():
            linear = comfy.utils.get_attr(model, name)
            attention, _, projection = name.rpartition(".attn2.")
            if self.grid is None or not attention:
                patch = _patch_of(linear, LoRALinear)
            else:
                patch = _patch_of(linear, LINEARS[projection])
                patch.shared = self.cross_attention(model, f"{attention}.attn2", self.grid)
            patch.factors, patch.gates = stacked, self.gates(stacked, isinstance(patch, PromptLinear))
            yield linear, patch
        if self.grid is not None:
            for name in {name.rpartition(".transformer_blocks.")[0] for name in factors}:
                module = comfy.utils.get_attr(model, name)
                recorder = _patch_of(module, SizeRecorder)
                recorder.grid = self.grid
                yield module, recorder

    def cross_attention(self, model: nn.Module, name: str, grid: TokenGrid) -> CrossAttention:
        """What the four projections of an attention share, by its path in the model."""
        if name not in self._cross_attentions:
            module = comfy.utils.get_attr(model, name)
            self._cross_attentions[name] = CrossAttention(module, self.masked, grid)
        return self._cross_attentions[name]

    def gates(self, factors: StackedFactors, reads_prompt: bool) -> RankGates:
        """The gates of a projection's ranks; projections with the same layers and ranks share them."""
        key = (factors.layers, reads_prompt)
        if key not in self._gates:
            like = factors.up
            layers = torch.tensor(
                [number for number, rank in factors.layers for _ in range(rank)], dtype=torch.long, device=like.device
            )
            rows = None if self.rows is None else self.rows.to(like.device, like.dtype)[:, None, layers]
            grid = None if reads_prompt else self.grid
            self._gates[key] = gates = RankGates(layers, rows, grid)
            if grid is not None:
                for size in tuple(grid.masks.by_size):
                    gates.build(grid, size, like)
        return self._gates[key]


def _patch_of(module: nn.Module, patch_type: type[Patch]) -> Patch:
    """The module's one patch object of a class."""
    patches: dict = _patches.setdefault(module, {})
    return patches.setdefault(patch_type, patch_type())
