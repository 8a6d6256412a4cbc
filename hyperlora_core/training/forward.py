"""The LoRAs of a batch, made so that gradients flow from the UNet back into the hypernetwork.

Shapes: B samples, R reference photos each (padded), M attentions, K coefficients a row.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..doors.diffusers.base_model import in_full
from ..network.bases import targets
from ..network.config import LORA_SCALE
from ..network.hyperlora import HyperLoRA
from . import stages
from .config import TrainConfig
from .stages import Stage

_BEHIND_THE_GATE = re.compile(r"\bresampler\.layers\.\d+\.attn2\.to_out\.0\.weight$")

Matrices = dict[str, tuple[Tensor, Tensor]]


def of_sample(matrices: Matrices, sample: int) -> Matrices:
    """The LoRA of one sample of a batch: down ``(rank, in)``, up ``(out, rank)``."""
    return {name: (down[sample], up[sample]) for name, (down, up) in matrices.items()}


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


class Learner(nn.Module):
    """What a run trains: conditions in, matrices for ``LoRAInjection`` out.

    Attributes:
        targets: canonical names of what they change.
    """

    targets: Sequence[str]

    def at(self, share: float) -> None:
        """Set what depends on how much of the run is done, 0 to 1; called before each step."""
        raise NotImplementedError

    def numbers(self) -> dict[str, float]:
        """Values for the run's log, by name."""
        return {}


class GeneratedLoRAs(Learner):
    """The LoRAs that a hypernetwork makes.

    Args:
        network: the hypernetwork.
        makes: "id", "base" or both.
        opening: the stage by which the gate opens; None leaves it open.

    Attributes:
        gate: how much of the face embedding's attention counts, 0 to 1.
    """

    def __init__(self, network: HyperLoRA, makes: frozenset[str], opening: Stage | None = None) -> None:
        super().__init__()
        self.network = network
        self.makes = makes
        self.opening = opening
        self.gate = 1.0
        self.targets = targets(network.attentions)
        self._has_gate = network.config.id_embed_dim is not None and network.config.reads_clip
        if self._has_gate:
            for block in network.resampler.layers:
                block.get_submodule("attn2").register_forward_hook(self._gated())

    @classmethod
    def of_run(cls, network: HyperLoRA, config: TrainConfig) -> "GeneratedLoRAs":
        """What a run of a stage trains; everything else of the network is frozen.

        Raises:
            HyperLoRAError: the network has nothing that the stage trains.
        """
        trained = stages.stage(config.stage)
        stages.freeze(network, trained, config.also_train)
        return cls(network, stages.makes(network, trained), trained)

    def at(self, share: float) -> None:
        """Open the gate as far as it is open when this share of the run, 0 to 1, is done."""
        if self.opening is not None:
            self.gate = stages.gate_at(self.opening, share)

    def numbers(self) -> dict[str, float]:
        """The gate, where there is one."""
        return {"gate": self.gate} if self._has_gate else {}

    def _gated(self) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]:
        return lambda module, inputs, output: None if self.gate == 1 else output * self.gate

    def without_gate(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's weights, of this module's state dict, that compute without a gate what it computes with it."""
        shut = self._has_gate and self.gate != 1
        return {
            name.removeprefix("network."): value * self.gate if shut and _BEHIND_THE_GATE.search(name) else value
            for name, value in weights.items()
        }

    def forward(self, conditions: Conditions) -> Matrices:
        """The LoRAs of each sample, their ranks joined.

        Returns:
            Canonical name -> down ``(B, ranks, in)``, up ``(B, out, ranks)``, whose product is what the layer's weight
            gains; a LoRA that does not act on a sample has an ``up`` of zeros there.
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
        inputs = (conditions.id_embeds, conditions.clip_tokens)
        flat = [None if values is None else values.flatten(0, 1) for values in inputs]
        rows = self.network.id_rows(*flat).unflatten(0, (batch, refs))
        return self.network.mix(rows, conditions.present.to(rows) if refs > 1 else None)

    @staticmethod
    def _matrices(bases: nn.Module, coefficients: Tensor, on: Tensor) -> Matrices:
        """In float32: autocast would keep a copy of all bases for the backward pass."""
        acts = (on * LORA_SCALE).to(coefficients)[:, None, None]
        with in_full(coefficients.device):
            return {name: (down, up * acts) for name, down, up in bases(coefficients.float())}
