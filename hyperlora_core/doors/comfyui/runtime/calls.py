"""What ComfyUI passes to one call of the UNet, and which conditionings and pictures its batch rows are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ....errors import HyperLoRAError
from .pictures import LatentPart, SampledBatch, find_part


@dataclass(frozen=True)
class Conditioning:
    """What matters here of one of ComfyUI's conditionings.

    Attributes:
        marks: of the layers that act on it, see ``for_prompt``.
        area: in the latent's pixels: ``(height, width, top, left)``; None: all of it.
    """

    marks: frozenset[str] = frozenset()
    area: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class UNetCall:
    """The arguments of one call of the UNet.

    Attributes:
        x: ``(rows, channels, height, width)``: the pictures of the first conditioning, then those of the next.
        conditionings: in the order of the rows.
        options: ComfyUI's ``transformer_options``.
        batch: what the sampler was given.
    """

    x: Tensor
    conditionings: Sequence[Conditioning]
    options: Mapping[str, Any]
    batch: SampledBatch

    def parts(self, retained: Sequence[int]) -> list[LatentPart]:
        """The part of the batch that each conditioning's rows are; ``retained`` is as for ``find_part``."""
        count, remainder = divmod(len(self.x), len(self.conditionings))
        shape = (-1 if remainder else count, *self.x.shape[1:])
        return [find_part(self.batch, shape, cond.area, self.options, retained) for cond in self.conditionings]

    def pictures(self, part: LatentPart) -> list[int]:
        """Indices of a part's pictures in the sampled batch.

        Raises:
            HyperLoRAError: they cannot be known.
        """
        if part.pictures is None:
            raise HyperLoRAError(
                f"the UNet was given {len(self.x)} rows for {len(self.conditionings)} prompts and a batch of "
                f"{len(self.batch.numbers)} pictures: another node draws them in groups and does not say which. Take "
                "it out, use ComfyUI's Context Windows, or apply one LoRA to all with HyperLoRA Apply"
            )
        return list(part.pictures)

    def ys(self, part: LatentPart) -> list[int]:
        """Indices of a part along the latent's height.

        Raises:
            HyperLoRAError: they cannot be known.
        """
        return self._need(part.ys)

    def xs(self, part: LatentPart) -> list[int]:
        """Indices of a part along the latent's width.

        Raises:
            HyperLoRAError: they cannot be known.
        """
        return self._need(part.xs)

    def _need(self, indices: tuple[int, ...] | None) -> list[int]:
        if indices is None:
            size = " x ".join(map(str, self.x.shape[-2:]))
            raise HyperLoRAError(
                f"the UNet was given a part of {size} of a latent of {self.batch.height} x {self.batch.width}: "
                "another node draws it in tiles and does not say where each is. Take it out, or apply the LoRA without "
                "masks"
            )
        return list(indices)
