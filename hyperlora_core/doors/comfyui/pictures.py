"""Which pictures the UNet is drawing, and which part of them.

A sampler may be given some pictures of a batch (Latent From Batch), and the UNet some of the sampler's (context
windows) or a part of each (a prompt's area). ComfyUI tells the UNet nothing of the first. It does make the noise of a
picture by the picture's number in its batch, so that it stays what it was there: by the noise the number is known
again. Where a picture is drawn on with no noise or other noise, it is known by itself, as a sampling of this process
left it.
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

from ...errors import HyperLoRAError

MOST = 512  # the longest batch in which a picture's number is looked for
KNOWN = 10_000  # pictures that are known again

_known: OrderedDict[bytes, int] = OrderedDict()


@dataclass(frozen=True)
class Sampled:
    """The pictures that a sampler draws.

    Attributes:
        numbers: of each, its number in the batch that it comes from, from 0.
        height: of the latent.
        width: likewise.
    """

    numbers: tuple[int, ...]
    height: int
    width: int

    @property
    def cut(self) -> bool:
        """Whether they are others than the first ones of a batch, in order."""
        return self.numbers != tuple(range(len(self.numbers)))


@dataclass(frozen=True)
class Part:
    """The part of what is sampled that is drawn in one call; None is what cannot be known.

    Attributes:
        pictures: places in the sampled batch.
        lines: of the latent.
        columns: likewise.
    """

    pictures: tuple[int, ...] | None
    lines: tuple[int, ...] | None
    columns: tuple[int, ...] | None


def part(
    sampled: Sampled, shape: Sequence[int], area: Sequence[int] | None, options: Mapping[str, Any], retained: Sequence
) -> Part:
    """What one call draws.

    Args:
        sampled: what the sampler was given.
        shape: ``(pictures, channels, height, width)`` that a conditioning was given.
        area: of the conditioning, ``(height, width, top, left)``; None: the whole.
        options: ComfyUI's ``transformer_options``.
        retained: pictures or lines that each of ComfyUI's windows keeps.
    """
    sizes = {0: len(sampled.numbers), 2: sampled.height, 3: sampled.width}
    windows = {dim: _windows(dim, size, options, retained) for dim, size in sizes.items()}
    height, width, top, left = area or (None, None, 0, 0)
    cuts = {0: slice(None), 2: slice(top, None if height is None else top + height)}
    cuts[3] = slice(left, None if width is None else left + width)
    found = {}
    for dim, size in sizes.items():
        possible = [indices[cuts[dim]] for indices in (*windows[dim], tuple(range(size)))]
        found[dim] = next((indices for indices in possible if len(indices) == shape[dim]), None)
    return Part(found[0], found[2], found[3])


def _windows(dim: int, size: int, options: Mapping[str, Any], retained: Sequence) -> list[tuple[int, ...]]:
    """What the windows over a dimension hold of it: ComfyUI's own, and AnimateDiff-Evolved's over the pictures."""
    held = []
    window = options.get("context_window")
    if isinstance(window, IndexListContextWindow) and window.dim == dim and max(window.index_list) < size:
        # by ComfyUI's own way of cutting: it puts a picture before the window, and keeps some
        held.append(tuple(window.get_tensor(torch.arange(size), dim=0, retain_index_list=list(retained)).tolist()))
    evolved = (options.get("ad_params") or {}).get("sub_idxs")
    if dim == 0 and evolved is not None and max(evolved) < size:
        held.append(tuple(evolved))
    return held


def numbers(noise: Tensor, latents: Tensor, seed: int | None) -> tuple[int, ...]:
    """Numbers of a sampler's pictures, in the batch that they come from.

    Pictures that nothing is known of are a batch of their own; so are batches that were put together.

    Args:
        noise: ``(pictures, channels, height, width)``.
        latents: likewise; zeros where a picture is begun.
        seed: of the noise.

    Raises:
        HyperLoRAError: some were cut out of a batch and then repeated or joined, and whose is which cannot be known.
    """
    alone = tuple(range(len(noise)))
    pictures = [fingerprint(latent) for latent in latents]
    drawn_here = all(picture in _known for picture in pictures)
    found = [_known[picture] for picture in pictures] if drawn_here else _by_noise(noise, seed)
    if found is None or _whole(found):
        return alone
    different = len(set(zip(found, pictures, strict=True)))
    if latents.count_nonzero():  # copies of a picture are its person's, too
        clear = different == len(set(found)) == len(set(pictures))
    else:
        clear = len(set(found)) == len(found)
    if not clear:
        raise HyperLoRAError(
            f"these {len(found)} pictures were cut out of a batch and then repeated or joined, or given one seed: "
            "whose each is cannot be known any more. Cut them out last (Latent From Batch), or draw each person's by "
            "itself (HyperLoRA Apply)"
        )
    return tuple(found)


def remember(latents: Tensor, sampled: Sampled) -> None:
    """Know pictures that a sampler has drawn again.

    Args:
        latents: ``(pictures, channels, height, width)``.
        sampled: which they are.
    """
    for latent, number in zip(latents, sampled.numbers, strict=True):
        _known[fingerprint(latent)] = number
    while len(_known) > KNOWN:
        _known.popitem(last=False)


def fingerprint(latent: Tensor) -> bytes:
    """What a picture ``(channels, height, width)`` is known by, at half precision."""
    return hashlib.sha256(latent.detach().cpu().half().contiguous().numpy().tobytes()).digest()


def _whole(found: Sequence[int]) -> bool:
    """Whether these are whole batches, one after another."""
    return found[0] == 0 and all(after in (0, before + 1) for before, after in pairwise(found))


def _by_noise(noise: Tensor, seed: int | None) -> list[int] | None:
    """Numbers of pictures by their noise, where all of it is ComfyUI's for a seed."""
    if seed is None or noise.device.type != "cpu" or not noise.count_nonzero():
        return None
    generator = torch.Generator().manual_seed(seed)
    places: dict[int, int] = {}
    for number in range(MOST):
        made = torch.randn((1, *noise.shape[1:]), generator=generator).to(noise.dtype)[0]
        for place, each in enumerate(noise):
            if place not in places and torch.equal(each, made):
                places[place] = number
        if len(places) == len(noise):
            return [places[place] for place in range(len(noise))]
    return None
