"""The LoRA value: what travels between nodes, and what is saved.

It is a dict of kohya key -> tensor, so that everything that takes a LoRA state dict takes it, ComfyUI's own nodes among
them, and whatever saves it writes a file that kohya's own tools load. The rest of the project speaks canonical names
(diffusers paths); ``of_factors`` and ``factors`` are where the two meet. Every operation on a LoRA goes through them,
and translates names there and back. There is no second dict by canonical names: other nodes may change this one, and a
translation costs one lookup in a cache for each name.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from .. import files
from ..errors import HyperLoRAError
from .blocks import BlockStrengths
from .names import canonical_name, kohya_names

SUFFIXES = (".lora_down.weight", ".lora_up.weight", ".alpha")


@dataclass(frozen=True)
class Factors:
    """One LoRA target: delta W = alpha / rank * up @ down.

    Attributes:
        down: ``(rank, in)``.
        up: ``(out, rank)``.
        alpha: scale times rank.
    """

    down: Tensor
    up: Tensor
    alpha: float

    @property
    def rank(self) -> int:
        """Rank of the pair."""
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        """What the product is multiplied by."""
        return self.alpha / self.rank


class LoRA(dict[str, Tensor]):
    """Kohya key -> tensor, with metadata.

    Attributes:
        metadata: what a saved file's header says beside kohya's own entries.
        uuid: tells it apart from every other; once it is made, its tensors are left as they are.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(tensors)
        self.metadata = dict(metadata or {})
        self.uuid = uuid.uuid4()

    @classmethod
    def from_matrices(
        cls, matrices: Iterable[tuple[str, Tensor, Tensor]], alpha: float, metadata: Mapping[str, str] | None = None
    ) -> "LoRA":
        """Build from canonical name, down ``(rank, in)``, up ``(out, rank)``; one alpha for all."""
        return cls.of_factors({name: Factors(down, up, alpha) for name, down, up in matrices}, metadata)

    @classmethod
    def of_factors(cls, factors: Mapping[str, Factors], metadata: Mapping[str, str] | None = None) -> "LoRA":
        """Build from canonical name -> factors."""
        lora = cls(metadata=metadata)
        for name, key in kohya_names(factors).items():
            lora[f"{key}.lora_down.weight"] = factors[name].down
            lora[f"{key}.lora_up.weight"] = factors[name].up
            lora[f"{key}.alpha"] = torch.tensor(factors[name].alpha)
        return lora

    def factors(self) -> Iterator[tuple[str, Factors]]:
        """The targets: canonical name and factors, in the order of the keys."""
        for key in self:
            if key.endswith(".lora_down.weight"):
                stem = key.removesuffix(".lora_down.weight")
                up, alpha = self[f"{stem}.lora_up.weight"], self.get(f"{stem}.alpha")
                rank = self[key].shape[0]
                yield canonical_name(stem), Factors(self[key], up, rank if alpha is None else float(alpha))

    @property
    def rank(self) -> int:
        """The largest rank of all targets; 0 where there is none."""
        return max((factors.rank for _, factors in self.factors()), default=0)

    def to(self, dtype: torch.dtype) -> "LoRA":
        """The same LoRA with its matrices rounded to ``dtype``; alphas stay as they are."""
        tensors = {key: value if key.endswith(".alpha") else value.to(dtype) for key, value in self.items()}
        return LoRA(tensors, self.metadata)

    def cpu(self) -> "LoRA":
        """The same LoRA on the CPU, all its matrices brought there in one copy; itself where it is there already."""
        away = {key: value for key, value in self.items() if value.device.type != "cpu"}
        if not away:
            return self
        return LoRA({**self, **dict(zip(away, in_one_copy(list(away.values()), "cpu"), strict=True))}, self.metadata)

    @property
    def is_finite(self) -> bool:
        """Whether it holds no NaN and no infinity."""
        sums = [value.sum(dtype=torch.float32) for value in self.values()]
        return bool(torch.isfinite(torch.stack(sums)).all()) if sums else True

    @property
    def norm(self) -> float:
        """The Frobenius norm of all its weight changes together, found without making them."""
        squares = []
        for _, factors in self.factors():
            down, up = factors.down.double(), factors.up.double()  # differences cancel
            squares.append(factors.scale**2 * ((down @ down.mT) * (up.mT @ up)).sum())
        return float(torch.stack(squares).sum().clamp(min=0).sqrt()) if squares else 0.0

    def scaled(self, blocks: BlockStrengths) -> "LoRA":
        """The same LoRA, each target at the strength of its block; those at 0 are left out.

        Raises:
            HyperLoRAError: a block has no target.
        """
        blocks.check(name for name, _ in self.factors())
        at_strengths = ((name, factors, blocks.of(name)) for name, factors in self.factors())
        kept = {name: replace(factors, up=factors.up * by) for name, factors, by in at_strengths if by != 0}
        scaled = LoRA.of_factors(kept, self.metadata)
        scaled.uuid = uuid.uuid5(self.uuid, repr(sorted(blocks.strengths.items())))
        return scaled

    def file_metadata(self) -> dict[str, str]:
        """What is written into a saved file's header: kohya's entries, then ``metadata``."""
        factors = [factor for _, factor in self.factors()]
        dims = sorted({factor.rank for factor in factors})
        alphas = sorted({factor.alpha for factor in factors})
        kohya = {
            "ss_network_module": "networks.lora",
            "ss_network_dim": str(dims[-1]) if dims else "0",
            "ss_network_alpha": f"{alphas[-1]:g}" if alphas else "0",
        }
        if len(dims) > 1 or len(alphas) > 1:
            kohya["ss_network_dim"] = kohya["ss_network_alpha"] = "Dynamic"
        return kohya | self.metadata

    def save(self, path: str | Path) -> Path:
        """Write a safetensors file that every SDXL LoRA loader reads.

        Args:
            path: where to; folders are made, and an existing file is replaced in one step.

        Returns:
            The path written.

        Raises:
            HyperLoRAError: the LoRA is empty, or the file cannot be written.
        """
        if not self:
            raise HyperLoRAError(
                "there is nothing to save: this LoRA is empty, for its weights were 0, or no photo with a face was left"
            )
        return files.save(path, self, self.file_metadata())

    @classmethod
    def load(cls, path: files.PathOrFile) -> "LoRA":
        """Read a LoRA of attention projections of an SDXL-style UNet, by kohya's names or by diffusers'.

        Raises:
            HyperLoRAError: the file cannot be read, or is another kind of file.
        """
        file = files.open_safetensors(path)
        tensors = file.load()
        try:
            found = list(cls(tensors).factors())
        except HyperLoRAError as error:
            raise HyperLoRAError(f"{path}: {error}") from error
        except (KeyError, ValueError, IndexError, RuntimeError) as error:
            raise HyperLoRAError(f"{path} is no whole LoRA: {error} is missing or misshapen") from error
        unknown = [key for key in tensors if not key.endswith(SUFFIXES)]
        if not found or unknown:
            example = (unknown or list(tensors) or ["nothing"])[0]
            raise HyperLoRAError(
                f"{path} is no kohya LoRA of attention projections: it holds {example!r}, where keys such as "
                "'lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.lora_down.weight' were expected"
            )
        factors = dict(found)
        if len(factors) < len(found):
            raise HyperLoRAError(f"{path} changes the same projections twice, by kohya's names and by diffusers'")
        return cls.of_factors(factors, file.metadata)


def combine(parts: Sequence[tuple[LoRA, float]]) -> LoRA:
    """One LoRA that does what several do together, each at its weight: delta W = sum of weight * delta W of each.

    Ranks are concatenated, and weights are multiplied into the up matrices. A part of weight 0 is left out, and a
    single part of weight 1 is returned as it is.

    Args:
        parts: LoRAs and their weights.

    Returns:
        The combined LoRA, with the metadata of the first part that was kept; empty if none was.
    """
    kept = [(lora, weight) for lora, weight in parts if weight != 0]
    if len(kept) == 1 and kept[0][1] == 1:
        return kept[0][0]
    grouped: dict[str, list[tuple[Factors, float]]] = {}
    for lora, weight in kept:
        for name, factors in lora.factors():
            grouped.setdefault(name, []).append((factors, weight))
    combined: dict[str, Factors] = {}
    for name, group in grouped.items():
        scale = group[0][0].scale
        downs = [factors.down for factors, _ in group]
        ups = [factors.up * (weight * factors.scale / scale) for factors, weight in group]
        down, up = (downs[0], ups[0]) if len(group) == 1 else (torch.cat(downs, dim=0), torch.cat(ups, dim=1))
        combined[name] = Factors(down, up, scale * down.shape[0])
    return LoRA.of_factors(combined, kept[0][0].metadata if kept else None)


def in_one_copy(tensors: Sequence[Tensor], device: torch.device | str) -> list[Tensor]:
    """Tensors of one type on a device, brought there together: each by itself would wait for the device."""
    numbers = torch.cat([tensor.flatten() for tensor in tensors]).to(device)
    parts = numbers.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
