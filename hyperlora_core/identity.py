"""A person as HyperLoRA sees them: unscaled rows of coefficients, one set for each photo, and where they came from."""

from collections.abc import Hashable
from dataclasses import dataclass, replace

from torch import Tensor

from .cache import digest
from .errors import HyperLoRAError


@dataclass(frozen=True, eq=False)
class Identity:
    """What is kept of a person. The LoRA is made of it late, for it is 40 times larger.

    Attributes:
        id_rows: ``(refs, 8 M, K)`` float32 on the CPU, before mean and scaling, or None.
        base_rows: the same of the Base-LoRA (its photos may be others), or None.
        checkpoint: name and fingerprint of the HyperLoRA that made the rows.
        photos: sha256 of each ID photo's pixels.
    """

    id_rows: Tensor | None
    base_rows: Tensor | None
    checkpoint: dict[str, str]
    photos: tuple[str, ...] = ()

    @property
    def cache_key(self) -> Hashable:
        """What a LoRA of it depends on."""
        return (digest(self.id_rows, self.base_rows), tuple(self.checkpoint.items()), self.photos)

    def check_checkpoint(self, source: dict[str, str]) -> None:
        """Refuse a checkpoint that did not make these rows: they mean nothing to another.

        Raises:
            HyperLoRAError: naming both checkpoints.
        """
        if self.checkpoint.get("fingerprint") != source.get("fingerprint"):
            raise HyperLoRAError(
                f"this identity was made by the HyperLoRA {describe(self.checkpoint)}, but "
                f"{describe(source)} is loaded: load the first, or encode the photos again"
            )

    def with_base(self, base: "Identity") -> "Identity":
        """This identity with the Base part of another.

        Raises:
            HyperLoRAError: the other was made by another checkpoint.
        """
        base.check_checkpoint(self.checkpoint)
        return replace(self, base_rows=base.base_rows)


def describe(checkpoint: dict[str, str]) -> str:
    """A checkpoint as messages name it."""
    return f"'{checkpoint.get('name', 'unknown')}' ({checkpoint.get('fingerprint', 'no fingerprint')[:10]})"
