"""Which pictures of a batch the UNet is denoising, and which part of each.

A sampler may be given some pictures of a batch (Latent From Batch), and the UNet some of the sampler's (context
windows) or a part of each (a conditioning's area). ComfyUI does not tell the UNet about the first. But it makes a
picture's noise by the picture's number in its batch, so that a cut batch gives the same pictures: the number is
recovered from the noise. A picture that is sampled further with no noise or other noise is recognised by its own
latent, where a sampling of this process made it.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from comfy.context_windows import IndexListContextWindow
from torch import Tensor

from ....errors import HyperLoRAError

MAX_NUMBER = 512  # a picture's number is looked for below this one
MAX_REMEMBERED = 10_000  # latents whose numbers are remembered

_numbers: OrderedDict[bytes, int] = OrderedDict()


@dataclass(frozen=True)
class SampledBatch:
    """The pictures that one sampling denoises.

    Attributes:
        numbers: of each picture, its number in the batch that it was taken from, from 0.
        height: of the latent.
        width: of the latent.
    """

    numbers: tuple[int, ...]
    height: int
    width: int

    @property
    def is_subset(self) -> bool:
        """Whether they are other pictures than the first ones of a batch, in order."""
        return self.numbers != tuple(range(len(self.numbers)))


@dataclass(frozen=True)
class LatentPart:
    """The part of a sampled batch that one call denoises for a conditioning, as indices; None where unknown.

    Attributes:
        pictures: in the sampled batch.
        ys: along the latent's height.
        xs: along the latent's width.
    """

    pictures: tuple[int, ...] | None
    ys: tuple[int, ...] | None
    xs: tuple[int, ...] | None


def find_part(
    batch: SampledBatch,
    shape: Sequence[int],
    area: Sequence[int] | None,
    options: Mapping[str, Any],
    retained: Sequence[int],
) -> LatentPart:
    """The part of a batch that one call denoises for a conditioning.

    Args:
        batch: what the sampler was given.
        shape: of the conditioning's rows, ``(pictures, channels, height, width)``.
        area: of the conditioning, ``(height, width, top, left)``; None: all of the latent.
        options: ComfyUI's ``transformer_options``.
        retained: indices that every context window keeps, ``latent_retain_index_list`` of ComfyUI's context handler.
    """
    sizes = {0: len(batch.numbers), 2: batch.height, 3: batch.width}
    windows = {dim: _windows(dim, size, options, retained) for dim, size in sizes.items()}
    height, width, top, left = area or (None, None, 0, 0)
    cuts = {0: slice(None), 2: slice(top, None if height is None else top + height)}
    cuts[3] = slice(left, None if width is None else left + width)
    fitting = {}
    for dim, size in sizes.items():
        candidates = [indices[cuts[dim]] for indices in (*windows[dim], tuple(range(size)))]
        fitting[dim] = next((indices for indices in candidates if len(indices) == shape[dim]), None)
    return LatentPart(fitting[0], fitting[2], fitting[3])


def _windows(dim: int, size: int, options: Mapping[str, Any], retained: Sequence[int]) -> list[tuple[int, ...]]:
    """Indices in the current context windows over a dimension: ComfyUI's, and AnimateDiff-Evolved's over pictures."""
    windows = []
    window = options.get("context_window")
    if isinstance(window, IndexListContextWindow) and window.dim == dim and max(window.index_list) < size:
        # by ComfyUI's own method of cutting, which puts a picture before the window and keeps some
        indices = window.get_tensor(torch.arange(size), dim=0, retain_index_list=list(retained))
        windows.append(tuple(indices.tolist()))
    evolved = (options.get("ad_params") or {}).get("sub_idxs")
    if dim == 0 and evolved is not None and max(evolved) < size:
        windows.append(tuple(evolved))
    return windows


def batch_numbers(noise: Tensor, latents: Tensor, seed: int | None) -> tuple[int, ...]:
    """Each sampled picture's number in the batch that it was taken from.

    Pictures whose numbers cannot be recovered count as a batch of their own; so do batches that were put together.

    Args:
        noise: ``(pictures, channels, height, width)``.
        latents: the same shape; zeros for a picture that starts from noise alone.
        seed: of the noise.

    Raises:
        HyperLoRAError: pictures were taken from a batch and then repeated or joined, so that numbers are ambiguous.
    """
    own_batch = tuple(range(len(noise)))
    pictures = [fingerprint(latent) for latent in latents]
    remembered = all(picture in _numbers for picture in pictures)
    numbers = [_numbers[picture] for picture in pictures] if remembered else _numbers_of_noise(noise, seed)
    if numbers is None or _are_full_batches(numbers):
        return own_batch
    different = len(set(zip(numbers, pictures, strict=True)))
    if latents.count_nonzero():  # copies of a picture have its number, too
        unambiguous = different == len(set(numbers)) == len(set(pictures))
    else:
        unambiguous = len(set(numbers)) == len(numbers)
    if not unambiguous:
        raise HyperLoRAError(
            f"these {len(numbers)} pictures were cut out of a batch and then repeated or joined, or given one seed: "
            "whose each is cannot be known any more. Cut them out last (Latent From Batch), or draw each person's by "
            "itself (HyperLoRA Apply)"
        )
    return tuple(numbers)


def remember(latents: Tensor, batch: SampledBatch) -> None:
    """Remember the numbers of pictures that were sampled, for a sampling that goes on from them.

    Args:
        latents: ``(pictures, channels, height, width)``.
        batch: their numbers.
    """
    for latent, number in zip(latents, batch.numbers, strict=True):
        _numbers[fingerprint(latent)] = number
    while len(_numbers) > MAX_REMEMBERED:
        _numbers.popitem(last=False)


def fingerprint(latent: Tensor) -> bytes:
    """A sha256 of a latent ``(channels, height, width)`` in half precision."""
    return hashlib.sha256(latent.detach().cpu().half().contiguous().numpy().tobytes()).digest()


def _are_full_batches(numbers: Sequence[int]) -> bool:
    """Whether numbers are those of complete batches, one after another."""
    return numbers[0] == 0 and all(after in (0, before + 1) for before, after in pairwise(numbers))


def _numbers_of_noise(noise: Tensor, seed: int | None) -> list[int] | None:
    """Numbers of pictures by their noise; None where some of it is not ComfyUI's for this seed."""
    if seed is None or noise.device.type != "cpu" or not noise.count_nonzero():
        return None
    generator = torch.Generator().manual_seed(seed)
    numbers: dict[int, int] = {}
    for number in range(MAX_NUMBER):
        expected = torch.randn((1, *noise.shape[1:]), generator=generator).to(noise.dtype)[0]
        for index, picture_noise in enumerate(noise):
            if index not in numbers and torch.equal(picture_noise, expected):
                numbers[index] = number
        if len(numbers) == len(noise):
            return [numbers[index] for index in range(len(noise))]
    return None
