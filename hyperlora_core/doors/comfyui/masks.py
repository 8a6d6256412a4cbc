"""Where in the picture LoRAs act: their masks, at each size at which the UNet looks at the picture."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import HyperLoRAError
from .pictures import Sampled

LEVELS = 4  # how often a UNet of this family halves its picture, and one to spare

Size = tuple[int, int]


def sized(mask: Tensor, height: int, width: int) -> Tensor:
    """A mask ``(masks, height, width)`` at another size."""
    resized = F.interpolate(mask[:, None].float().cpu(), size=(height, width), mode="bilinear", antialias=True)
    return resized[:, 0].clamp(0, 1)


def of_pictures(mask: Tensor | None, sampled: Sampled) -> Tensor:
    """A layer's mask for each picture, ``(pictures, height, width)``; ones where there is none.

    Raises:
        HyperLoRAError: it has neither one picture nor as many as the batch.
    """
    count, size = len(sampled.numbers), (sampled.height, sampled.width)
    if mask is None:
        return torch.ones(count, *size)
    if sampled.cut and max(sampled.numbers) < len(mask):
        mask = mask[list(sampled.numbers)]
    if len(mask) not in (1, count):
        raise HyperLoRAError(
            f"a mask has {len(mask)} pictures, and the batch {count}: one for all is needed, or one each"
        )
    return sized(mask, *size).expand(count, -1, -1)


class Painted:
    """Layers' masks over the rows of a call.

    Attributes:
        at: ``(height, width)`` at which the UNet looks at the picture -> ``(rows, tokens, layers)``.
    """

    def __init__(self, masks: Tensor, device: torch.device) -> None:
        """Paint them at the sizes that the UNet itself makes; others come as they are asked for.

        Args:
            masks: ``(layers, rows, height, width)`` of the latent.
            device: for what is painted.
        """
        self._masks = masks
        self._device = device
        self.latent: Size = (masks.shape[-2], masks.shape[-1])
        self.at: dict[Size, Tensor] = {}
        height, width = self.latent
        for _ in range(LEVELS):
            self.paint((height, width))
            height, width = (height + 1) // 2, (width + 1) // 2

    def paint(self, size: Size) -> Tensor:
        """The masks at a size, ``(rows, tokens, layers)``."""
        if size not in self.at:
            resized = F.interpolate(self._masks, size=size, mode="bilinear", antialias=True)
            self.at[size] = resized.flatten(2).permute(1, 2, 0).contiguous().to(self._device)
        return self.at[size]

    @property
    def rows(self) -> int:
        """How many rows they are over."""
        return self._masks.shape[1]


class Where:
    """What part of the picture the UNet's tokens are, in one call.

    Attributes:
        painted: the masks.
        size: the ``(height, width)`` of the picture in the transformer that runs; Deep Shrink makes it any.
    """

    def __init__(self, painted: Painted, options: Mapping[str, Any]) -> None:
        self.painted = painted
        self.size: Size | None = None
        self._options = options

    def of(self, tokens: Tensor) -> Size:
        """The size of the picture whose ``(rows, tokens, ...)`` are given.

        Raises:
            HyperLoRAError: they are not a picture's.
        """
        rows, count = tokens.shape[:2]
        if self.size is not None and (rows, count) == (self.painted.rows, self.size[0] * self.size[1]):
            return self.size
        height, width = self.painted.latent
        seen = "of a size that is not known" if self.size is None else f"{self.size[0]} x {self.size[1]}"
        changed = ", ".join(changers(self._options)) or "none that says so"
        raise HyperLoRAError(
            f"attention was given {rows} rows of {count} tokens, and the picture there is {self.painted.rows} rows "
            f"{seen} (a latent of {height} x {width}): another node rearranges or merges picture tokens. Nodes that "
            f"change this model's attention or blocks: {changed}. Take it out, or apply the LoRA without masks"
        )


def changers(options: Mapping[str, Any]) -> list[str]:
    """Names of what other nodes have put into a UNet, as ComfyUI's ``transformer_options`` list it."""
    lists = [*options.get("patches", {}).values()]
    lists += [blocks.values() for blocks in options.get("patches_replace", {}).values()]
    patches = [patch for each in lists for patch in each]
    return sorted({getattr(patch, "__qualname__", type(patch).__qualname__).partition(".")[0] for patch in patches})
