"""The LoRAs of a batch, made so that gradients flow from the UNet back into the hypernetwork.

Shapes: B samples, R reference photos each (padded), M attentions, K coefficients a row.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..network.hyperlora import HyperLoRA

Matrices = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Conditions:
    """What the hypernetwork reads of a batch, and which of its LoRAs each sample is drawn with.

    Attributes:
        id_on: ``(B,)``, 1 where the ID-LoRA acts, else 0.
        base_on: ``(B,)``, the same of the Base-LoRA.
        present: ``(B, R)``, 1 for a photo, 0 for padding; each sample has a photo.
        id_embeds: ``(B, R, id_embed_dim)`` or None.
        clip_tokens: ``(B, R, tokens, width)`` or None.
        base_tokens: ``(B, tokens, width)`` of the photo whose face is blurred, or None.
    """

    id_on: Tensor
    base_on: Tensor
    present: Tensor
    id_embeds: Tensor | None = None
    clip_tokens: Tensor | None = None
    base_tokens: Tensor | None = None


class GeneratedLoRAs(nn.Module):
    """What is trained: conditions in, matrices for ``LoRAInjection`` out.

    Args:
        network: the hypernetwork.
        makes: "id", "base" or both.

    Attributes:
        gate: how much of the face embedding's attention counts, 0 to 1.
        scale: of the matrices, alpha over rank, the file format's.
    """

    scale = 0.5

    def __init__(self, network: HyperLoRA, makes: frozenset[str]) -> None:
        super().__init__()
        self.network = network
        self.makes = makes
        self.gate = 1.0
        if network.config.id_embed_dim is not None and network.config.reads_clip:
            for block in network.resampler.layers:
                block.get_submodule("attn2").register_forward_hook(self._gated())

    def _gated(self) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]:
        return lambda module, inputs, output: None if self.gate == 1 else output * self.gate

    def forward(self, conditions: Conditions) -> Matrices:
        """The LoRAs of each sample, their ranks joined.

        Returns:
            Canonical name -> down ``(B, ranks, in)``, up ``(B, out, ranks)``; a LoRA that does not act on a sample has
            an ``up`` of zeros there.
        """
        parts: list[Matrices] = []
        if "id" in self.makes:
            rows = self.id_rows(conditions)
            parts.append(self._matrices(self.network.id_bases, rows, conditions.id_on))
        if "base" in self.makes and self.network.config.base_resampler is not None:
            rows = self.network.mix(self.network.base_rows(conditions.base_tokens)[:, None])
            parts.append(self._matrices(self.network.base_bases, rows, conditions.base_on))
        if len(parts) == 1:
            return parts[0]
        return {
            name: (
                torch.cat([part[name][0] for part in parts], dim=-2),
                torch.cat([part[name][1] for part in parts], -1),
            )
            for name in parts[0]
        }

    def id_rows(self, conditions: Conditions) -> Tensor:
        """Coefficients of the ID-LoRAs, ``(B, 8 M, K)``: the mean over each sample's photos, scaled."""
        batch, refs = conditions.present.shape
        flat = [None if each is None else each.flatten(0, 1) for each in (conditions.id_embeds, conditions.clip_tokens)]
        rows = self.network.id_rows(*flat).unflatten(0, (batch, refs))
        return self.network.mix(rows, conditions.present.to(rows))

    @staticmethod
    def _matrices(bases: nn.Module, coefficients: Tensor, on: Tensor) -> Matrices:
        acts = on.to(coefficients)[:, None, None]
        return {name: (down, up * acts) for name, down, up in bases(coefficients)}
