"""The LoRA value: what travels between nodes, and what is saved.

It is a dict of kohya key -> tensor, so that everything that takes a LoRA state dict takes it, ComfyUI's own nodes among
them. Canonical names (diffusers paths) are what the rest of the project speaks; the two meet here.
"""

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from . import files
from .blocks import BlockStrengths
from .errors import HyperLoRAError

PREFIX = "lora_unet_"
SUFFIXES = (".lora_down.weight", ".lora_up.weight", ".alpha")

_BLOCK = r"(?:down_blocks_(\d+)|up_blocks_(\d+)|mid_block)_attentions_(\d+)_transformer_blocks_(\d+)_(attn[12])"
_ATTENTION = re.compile(_BLOCK)
_TARGET = re.compile(rf"({_BLOCK})_(to_[qkv]|to_out_0)")


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
        for name, each in factors.items():
            lora._put(name, each)
        return lora

    def _put(self, name: str, factors: Factors) -> None:
        key = kohya_name(name)
        self[f"{key}.lora_down.weight"] = factors.down
        self[f"{key}.lora_up.weight"] = factors.up
        self[f"{key}.alpha"] = torch.tensor(factors.alpha)

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

    def kohya_state_dict(self) -> dict[str, Tensor]:
        """A plain dict of kohya key -> tensor, the tensors shared."""
        return dict(self)

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
        scaled = LoRA(metadata=self.metadata)
        for name, factors in self.factors():
            strength = blocks.of(name)
            if strength != 0:
                scaled._put(name, replace(factors, up=factors.up * strength))
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
    def load(cls, path: str | Path) -> "LoRA":
        """Read a kohya LoRA whose targets are attention projections of an SDXL-style UNet.

        Raises:
            HyperLoRAError: the file cannot be read, or is another kind of file.
        """
        tensors = files.load(path)
        lora = cls(tensors, files.read_header(path).metadata)
        try:
            found = list(lora.factors())
        except HyperLoRAError as error:
            raise HyperLoRAError(f"{path}: {error}") from error
        except (KeyError, ValueError, IndexError, RuntimeError) as error:
            raise HyperLoRAError(f"{path} is no whole LoRA: {error} is missing or misshapen") from error
        unknown = [key for key in tensors if not key.endswith(SUFFIXES)]
        if not found or unknown:
            example = (unknown or list(tensors) or ["nothing"])[0]
            raise HyperLoRAError(
                f"{path} is no kohya LoRA of attention projections: it holds {example!r}, where keys such as "
                f"'{PREFIX}down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight' were expected"
            )
        return lora


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
    combined = LoRA(metadata=kept[0][0].metadata if kept else None)
    grouped: dict[str, list[tuple[Factors, float]]] = {}
    for lora, weight in kept:
        for name, factors in lora.factors():
            grouped.setdefault(name, []).append((factors, weight))
    for name, group in grouped.items():
        scale = group[0][0].scale
        downs = [factors.down for factors, _ in group]
        ups = [factors.up * (weight * factors.scale / scale) for factors, weight in group]
        down, up = (downs[0], ups[0]) if len(group) == 1 else (torch.cat(downs, dim=0), torch.cat(ups, dim=1))
        combined._put(name, Factors(down, up, scale * down.shape[0]))
    return combined


def in_one_copy(tensors: Sequence[Tensor], device: torch.device | str) -> list[Tensor]:
    """Tensors of one type on a device, brought there together: each by itself would wait for the device."""
    numbers = torch.cat([tensor.flatten() for tensor in tensors]).to(device)
    parts = numbers.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def kohya_name(canonical: str) -> str:
    """A diffusers path as kohya writes it: ``mid_block....attn1.to_q`` -> ``lora_unet_mid_block_..._attn1_to_q``."""
    return PREFIX + canonical.replace(".", "_")


@lru_cache(maxsize=4096)
def canonical_name(kohya: str) -> str:
    """The diffusers path of a projection from kohya's name for it.

    Raises:
        HyperLoRAError: the name is no attention projection of an SDXL-style UNet.
    """
    match = _TARGET.fullmatch(kohya.removeprefix(PREFIX))
    if not kohya.startswith(PREFIX) or match is None:
        raise HyperLoRAError(f"{kohya!r} names no attention projection of an SDXL-style UNet in kohya's way")
    return f"{_attention_path(match[1])}.{match.groups()[-1].replace('_0', '.0')}"


def canonical_attention_name(kohya: str) -> str:
    """The diffusers path of an attention from kohya's name for it.

    Raises:
        HyperLoRAError: the name is no attention of an SDXL-style UNet.
    """
    if not kohya.startswith(PREFIX) or _ATTENTION.fullmatch(kohya.removeprefix(PREFIX)) is None:
        raise HyperLoRAError(
            f"{kohya!r} names no attention of an SDXL-style UNet; a name such as "
            f"'{PREFIX}down_blocks_1_attentions_0_transformer_blocks_0_attn1' was expected"
        )
    return _attention_path(kohya.removeprefix(PREFIX))


def _attention_path(name: str) -> str:
    match = _ATTENTION.fullmatch(name)
    assert match is not None
    down, up, attention, block, kind = match.groups()
    part = f"down_blocks.{down}" if down is not None else f"up_blocks.{up}" if up is not None else "mid_block"
    return f"{part}.attentions.{attention}.transformer_blocks.{block}.{kind}"
