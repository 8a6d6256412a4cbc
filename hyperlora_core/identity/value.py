"""A person as HyperLoRA sees them: unscaled rows of coefficients, one set for each photo, and where they came from."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from PIL import Image
from torch import Tensor

from ..cache import digest
from ..errors import HyperLoRAError
from ..files.encoders import Encoder
from ..network.config import Source
from ..network.rows import mean_of_photos


@dataclass(frozen=True, eq=False)
class Identity:
    """What is kept of a person. The LoRA is made of it late, for it is 40 times larger.

    Attributes:
        id_rows: ``(refs, 8 M, K)`` float32 on the CPU, before mean and scaling, or None.
        base_rows: the same of the Base-LoRA (its photos may be others), or None.
        checkpoint: the HyperLoRA that made the rows.
        attentions: canonical names of the M attentions, each with 8 rows.
        photos: sha256 of the pixels of each ID photo that it was made of.
        base_photos: the same of the Base photos.
        weights: of each set of ID rows in their mean; empty where all are equal.
        embeds: ``(refs, 512)`` float32, unit length, the face embedding of each ID photo; None where none was read.
        embedder: what made ``embeds``: only those of one embedder can be compared.
        settings: how the photos were looked at.
        thumbnail: the face on the first ID photo, RGB.
    """

    id_rows: Tensor | None
    base_rows: Tensor | None
    checkpoint: Source
    attentions: tuple[str, ...]
    photos: tuple[str, ...] = ()
    base_photos: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    embeds: Tensor | None = None
    embedder: Encoder | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    thumbnail: Image.Image | None = None

    @property
    def refs(self) -> int:
        """How many sets of ID rows it has."""
        return 0 if self.id_rows is None else len(self.id_rows)

    @property
    def cache_key(self) -> Hashable:
        """What a LoRA of it depends on."""
        return (digest(self.id_rows, self.base_rows), self.checkpoint, self.photos, self.weights)

    @property
    def id_mean(self) -> Tensor | None:
        """The weighted mean of the ID rows, ``(8 M, K)``, not scaled; None where there is none."""
        if self.id_rows is None:
            return None
        return mean_of_photos(self.id_rows, torch.tensor(self.weights) if self.weights else None)

    @property
    def base_mean(self) -> Tensor | None:
        """The mean of the Base rows, ``(8 M, K)``, not scaled; None where there is none."""
        return None if self.base_rows is None else mean_of_photos(self.base_rows)

    def check_checkpoint(self, source: Source) -> None:
        """Refuse a checkpoint that did not make these rows: they mean nothing to another.

        Raises:
            HyperLoRAError: naming both checkpoints.
        """
        if self.checkpoint.fingerprint != source.fingerprint:
            raise HyperLoRAError(
                f"this identity was made by the HyperLoRA {self.checkpoint}, but "
                f"{source} is loaded: load the first, or encode the photos again"
            )

    def check_alike(self, other: "Identity") -> None:
        """Refuse another identity that cannot be put together with this one.

        Raises:
            HyperLoRAError: they were made by two checkpoints; both are named.
        """
        if self.checkpoint.fingerprint != other.checkpoint.fingerprint:
            raise HyperLoRAError(
                f"these identities were made by two HyperLoRAs, {self.checkpoint} and "
                f"{other.checkpoint}, whose coefficients mean nothing to each other: encode the photos of "
                "one of them again"
            )

    def with_base(self, base: "Identity") -> "Identity":
        """This identity with the Base part of another.

        Raises:
            HyperLoRAError: the other was made by another checkpoint.
        """
        self.check_alike(base)
        return replace(
            self,
            base_rows=base.base_rows,
            base_photos=base.base_photos,
            settings={**self.settings, **base.settings},
        )


def check_weights(weights: Sequence[float], refs: int) -> None:
    """Refuse weights that cannot be those of a mean over ``refs`` photos.

    Raises:
        HyperLoRAError: they are too few or too many, below zero, not finite, or all zero.
    """
    shown = ", ".join(f"{weight:g}" for weight in weights)
    if len(weights) != refs:
        raise HyperLoRAError(f"{len(weights)} weights ({shown}) were given for {refs} photos: give one for each")
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or sum(weights) == 0:
        raise HyperLoRAError(f"the photos' weights are {shown}: 0 and larger numbers were expected, not all of them 0")
