"""The layers' masks over the picture tokens, at each size of the UNet's feature maps."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ....errors import HyperLoRAError
from .pictures import SampledBatch

LEVELS = 4  # how often a UNet of this family halves its feature map, and one to spare

Size = tuple[int, int]


def resize(mask: Tensor, height: int, width: int) -> Tensor:
    """A mask ``(masks, height, width)`` at another size, on the CPU."""
    resized = F.interpolate(mask[:, None].float().cpu(), size=(height, width), mode="bilinear", antialias=True)
    return resized[:, 0].clamp(0, 1)


def mask_per_picture(mask: Tensor | None, batch: SampledBatch) -> Tensor:
    """A layer's mask for each sampled picture, ``(pictures, height, width)``; ones where the layer has none.

    Raises:
        HyperLoRAError: it has neither one picture nor as many as the batch.
    """
    count, size = len(batch.numbers), (batch.height, batch.width)
    if mask is None:
        return torch.ones(count, *size)
    if batch.is_subset and max(batch.numbers) < len(mask):
        mask = mask[list(batch.numbers)]
    if len(mask) not in (1, count):
        raise HyperLoRAError(
            f"a mask has {len(mask)} pictures, and the batch {count}: one for all is needed, or one each"
        )
    return resize(mask, *size).expand(count, -1, -1)


class TokenMasks:
    """The masks of all layers over the batch rows of a call, one number for each picture token.

    Attributes:
        latent: ``(height, width)``.
        by_size: ``(height, width)`` of a feature map -> ``(rows, tokens, layers)`` on the device.
    """

    def __init__(self, masks: Tensor, device: torch.device) -> None:
        """Make the masks for the sizes that the UNet itself uses; ``at`` adds others when they are needed.

        Args:
            masks: ``(layers, rows, height, width)`` of the latent.
            device: for the results.
        """
        self._masks = masks
        self._device = device
        self.latent: Size = (masks.shape[-2], masks.shape[-1])
        self.by_size: dict[Size, Tensor] = {}
        height, width = self.latent
        for _ in range(LEVELS):
            self.at((height, width))
            height, width = (height + 1) // 2, (width + 1) // 2

    def at(self, size: Size) -> Tensor:
        """The masks for a size of the feature map, ``(rows, tokens, layers)``."""
        if size not in self.by_size:
            resized = F.interpolate(self._masks, size=size, mode="bilinear", antialias=True)
            self.by_size[size] = resized.flatten(2).permute(1, 2, 0).contiguous().to(self._device)
        return self.by_size[size]

    @property
    def rows(self) -> int:
        """Number of batch rows."""
        return self._masks.shape[1]


class TokenGrid:
    """Which part of the picture each token is, in one call of the UNet.

    Attributes:
        masks: of all layers.
        size: ``(height, width)`` of the feature map in the transformer that is running; Deep Shrink makes it any size.
    """

    def __init__(self, masks: TokenMasks, options: Mapping[str, Any]) -> None:
        self.masks = masks
        self.size: Size | None = None
        self._options = options

    def size_of(self, tokens: Tensor) -> Size:
        """The size of the feature map whose ``(rows, tokens, ...)`` are passed.

        Raises:
            HyperLoRAError: another node has rearranged rows or tokens.
        """
        rows, count = tokens.shape[:2]
        if self.size is not None and (rows, count) == (self.masks.rows, self.size[0] * self.size[1]):
            return self.size
        height, width = self.masks.latent
        size = "of a size that is not known" if self.size is None else f"{self.size[0]} x {self.size[1]}"
        names = ", ".join(patch_names(self._options)) or "none that says so"
        raise HyperLoRAError(
            f"attention was given {rows} rows of {count} tokens, and the picture there is {self.masks.rows} rows "
            f"{size} (a latent of {height} x {width}): another node rearranges or merges picture tokens. Nodes that "
            f"change this model's attention or blocks: {names}. Take it out, or apply the LoRA without masks"
        )


def patch_names(options: Mapping[str, Any]) -> list[str]:
    """Names of the patches that other nodes have put into a UNet, as ComfyUI's ``transformer_options`` list them."""
    lists = [*options.get("patches", {}).values()]
    lists += [blocks.values() for blocks in options.get("patches_replace", {}).values()]
    patches = [patch for patch_list in lists for patch in patch_list]
    return sorted({getattr(patch, "__qualname__", type(patch).__qualname__).partition(".")[0] for patch in patches})
