"""A layer: one LoRA with its strength and schedule, and the prompts, pictures and masks that it is limited to."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ....errors import HyperLoRAError
from ....lora.schedule import Schedule
from ....lora.value import LoRA
from .masks import mask_per_picture
from .pictures import SampledBatch

KEY = "hyper_lora"
"""Our wrappers in a model patcher, and our marks in a conditioning."""


@dataclass(frozen=True)
class BatchSlot:
    """One entry of a list of people that is spread over the pictures of a batch.

    Attributes:
        index: of the entry.
        count: length of the list.
        repeat: start again from the first entry where the batch is longer; else a longer batch is an error.
    """

    index: int
    count: int
    repeat: bool

    def matches(self, batch: SampledBatch) -> list[bool]:
        """For each sampled picture, whether this entry is the one for it.

        Raises:
            HyperLoRAError: the list does not fit the batch.
        """
        length = max(batch.numbers) + 1
        if self.count < length and not self.repeat:
            raise HyperLoRAError(
                f"there are {self.count} identities for a batch of {length} pictures: add identities, or let them "
                "repeat"
            )
        if self.count > length and not batch.is_subset:
            raise HyperLoRAError(
                f"there are {self.count} identities for a batch of {length} pictures: make the batch as large, or use "
                "HyperLoRA Apply where pictures, tiles or faces are drawn one at a time"
            )
        return [number % self.count == self.index for number in batch.numbers]


@dataclass(frozen=True, eq=False)
class Layer:
    """A LoRA, and when and where it acts.

    Attributes:
        lora: its targets fit the model.
        strength: factor of delta W.
        schedule: a further factor that follows the timestep.
        slot: the pictures of a batch that it acts on; None: all.
        prompt: the mark of the conditionings that it acts on; None: all.
        mask: ``(1 or batch, height, width)``, 0 to 1: the part of the picture that it acts on; None: all.
    """

    lora: LoRA
    strength: float = 1.0
    schedule: Schedule | None = None
    slot: BatchSlot | None = None
    prompt: str | None = None
    mask: Tensor | None = None

    @property
    def varies(self) -> bool:
        """Whether its strength differs between batch rows or timesteps."""
        return any(limit is not None for limit in (self.schedule, self.slot, self.prompt))

    @property
    def by_picture(self) -> bool:
        """Whether it acts differently on different pictures of a batch."""
        several = self.mask is not None and len(self.mask) > 1
        return several or (self.slot is not None and (self.slot.count > 1 or not self.slot.repeat))


def per_item(
    loras: Sequence[LoRA], strength: float = 1.0, repeat: bool = True, schedule: Schedule | None = None
) -> list[Layer]:
    """Layers that give each picture of a batch its own LoRA.

    Args:
        loras: in the order of the batch; an empty one leaves its picture as it is.
        strength: of each LoRA.
        repeat: start again from the first LoRA where the batch is longer; else the model raises an error when it runs.
        schedule: a further factor that follows the timestep.
    """
    return [Layer(lora, strength, schedule, BatchSlot(i, len(loras), repeat)) for i, lora in enumerate(loras)]


def in_regions(
    loras: Sequence[LoRA], masks: Sequence[Tensor], strength: float = 1.0, schedule: Schedule | None = None
) -> list[Layer]:
    """Layers that limit each LoRA to its mask; where masks add up to more than 1, they are divided by their sum.

    Args:
        loras: one for each mask.
        masks: ``(1 or batch, height, width)``, 0 to 1, of any sizes.
        strength: of each LoRA.
        schedule: a further factor that follows the timestep.

    Raises:
        HyperLoRAError: there are not as many masks as LoRAs, or a mask is empty or no mask.
    """
    if len(loras) != len(masks):
        raise HyperLoRAError(f"there are {len(masks)} masks for {len(loras)} people: each person needs one")
    for number, mask in enumerate(masks, start=1):
        check_mask(mask, f"mask {number} of {len(masks)}")
    height, width = (max(mask.shape[axis] for mask in masks) for axis in (1, 2))
    batch = SampledBatch(tuple(range(max(len(mask) for mask in masks))), height, width)
    resized = [mask_per_picture(mask, batch) for mask in masks]
    total = torch.stack(resized).sum(dim=0).clamp(min=1)
    return [Layer(lora, strength, schedule, mask=mask / total) for lora, mask in zip(loras, resized, strict=True)]


def check_mask(mask: Tensor, name: str) -> None:
    """Refuse a mask that is empty, or is not ``(batch, height, width)`` of finite numbers.

    Raises:
        HyperLoRAError: naming it.
    """
    if mask.ndim != 3 or not mask.numel() or not bool(torch.isfinite(mask).all()):
        raise HyperLoRAError(
            f"{name} is no mask, but {tuple(mask.shape)}: finite numbers of a batch, a height and a width were expected"
        )
    if not bool((mask > 0).any()):
        raise HyperLoRAError(
            f"{name} is empty: nothing of this person would be drawn. Paint it, or take the person out"
        )


def for_prompt(conditioning: list, mark: str) -> list:
    """A copy of a CONDITIONING with a mark: layers whose ``prompt`` is this mark act on it."""
    return [[tokens, {**options, KEY: options.get(KEY, frozenset()) | {mark}}] for tokens, options in conditioning]
