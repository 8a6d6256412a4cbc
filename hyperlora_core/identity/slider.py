"""Sliders: what tells people apart, as a LoRA to be turned up and down; smile or not, young or old, thin or stout.

A slider is a difference of weight changes, delta W(A) - delta W(B). It cannot be taken of coefficients: delta W is a
product of two maps that are linear in them, so it does not feel their sign, and A - B would be what B - A is.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from .. import files
from ..errors import HyperLoRAError
from ..files import kinds
from .file import FORMAT, pack, read, unpack
from .value import Identity

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Slider:
    """Pairs of identities that differ in one thing.

    Attributes:
        pairs: of each, what there is more of at a strength above 0, and what there is more of below.
    """

    pairs: tuple[tuple[Identity, Identity], ...]

    def __post_init__(self) -> None:
        if not self.pairs:
            raise HyperLoRAError("a slider needs at least one pair of identities")
        first = self.pairs[0][0]
        for number, pair in enumerate(self.pairs, start=1):
            for side, identity in zip(("more", "less"), pair, strict=True):
                first.check_alike(identity)
                if identity.id_rows is None:
                    raise HyperLoRAError(
                        f"the identity '{side}' of pair {number} has no ID part: encode photos with HyperLoRA Encode "
                        "Identity"
                    )

    @property
    def people(self) -> list[Identity]:
        """All identities: more and less of each pair in turn."""
        return [identity for pair in self.pairs for identity in pair]

    @property
    def cache_key(self) -> Hashable:
        """What its LoRA depends on."""
        return tuple(identity.cache_key for identity in self.people)

    def save(self, path: str | Path) -> Path:
        """Write it to a file, with both sides of each pair.

        Raises:
            HyperLoRAError: the file cannot be written.
        """
        tensors: dict[str, Tensor] = {}
        metadata = {kinds.SLIDER_KEY: FORMAT, "hyperlora.pairs": str(len(self.pairs))}
        for i, pair in enumerate(self.pairs):
            for side, identity in zip(("more", "less"), pair, strict=True):
                parts, about = pack(identity)
                tensors |= {f"{side}.{i}.{name}": tensor for name, tensor in parts.items()}
                metadata |= {f"{side}.{i}.{key}": value for key, value in about.items()}
        return files.save(path, tensors, metadata)

    @classmethod
    def load(cls, path: files.PathOrFile) -> "Slider":
        """Read it from a file.

        Raises:
            HyperLoRAError: it cannot be read, is another kind of file, or what it holds does not fit together.
        """
        tensors, metadata = read(path, kinds.SLIDER_KEY, kinds.SLIDER)

        def identity(prefix: str) -> Identity:
            try:
                return unpack(_below(tensors, prefix), _below(metadata, prefix))
            except HyperLoRAError as error:
                raise HyperLoRAError(f"{path}: {prefix}{error}") from error

        count = metadata.get("hyperlora.pairs", "")
        if not count.isdecimal() or not 0 < int(count) <= len(tensors):
            raise HyperLoRAError(f"{path} is said to have {count or 'no'} pairs: {files.DOWNLOAD_AGAIN}")
        return cls(tuple((identity(f"more.{i}."), identity(f"less.{i}.")) for i in range(int(count))))


def _below(entries: Mapping[str, T], prefix: str) -> dict[str, T]:
    return {name.removeprefix(prefix): value for name, value in entries.items() if name.startswith(prefix)}
