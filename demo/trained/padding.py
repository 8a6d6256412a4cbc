"""The small base in SDXL's shape: the same numbers, computed in wider layers.

ComfyUI's stock loaders know SDXL's family by its widths, so that is what they get: the small model's weights with zeros
around them. What makes that exact:

- A GroupNorm's groups are as large here as there: the small one's are the first of the wide one's.
- A LayerNorm averages over all channels, so where one reads, the channels are repeated until they fill the width: mean
  and spread stay the same. Whoever writes such channels writes all copies; whoever reads them reads the first.
- Heads of attention are 64 wide in SDXL. A narrower head is the start of a wide one, and its queries are scaled by what
  the wide one divides more by.
- Sines and cosines of fewer frequencies are among those of more.
- A text encoder's layers that add nothing are skipped: its output is that of the small one's first.

``Place`` says where the small tensor's rows and columns go. Shapes: ``WIDE`` and the like are SDXL's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .base import POOLED, SIZE_NUMBERS, TEXT_WIDTHS, WIDTH

WIDE = 320
TEXT_WIDE = (768, 1280)
_TIME, _TIME_WIDE = 2 * WIDTH, 1280
_HEAD, _HEAD_WIDE = WIDTH // 2, 64
_SIZE_WIDE = 256


@dataclass(frozen=True)
class Place:
    """Where one axis of a small tensor goes in the wide one.

    Attributes:
        index: for each small channel, in order, its place; several rows of it for several copies, ``(copies, small)``.
        width: of the wide axis.
    """

    index: Tensor
    width: int


def _first(small: int, wide: int) -> Place:
    return Place(torch.arange(small)[None], wide)


def _copies(small: int, wide: int) -> Place:
    return Place(torch.arange(wide).view(-1, small), wide)


def _joined(*places: Place) -> Place:
    """Side by side; each has one copy."""
    starts = [sum(place.width for place in places[:i]) for i in range(len(places))]
    index = torch.cat([place.index[0] + start for place, start in zip(places, starts, strict=True)])
    return Place(index[None], sum(place.width for place in places))


def _waves(small: int, wide: int) -> Place:
    """Cosines, then sines, of fewer frequencies among those of more."""
    indices = torch.arange(small // 2) * (wide // small)
    return Place(torch.cat([indices, wide // 2 + indices])[None], wide)


PLAIN = _first(WIDTH, WIDE)
COPIED = _copies(WIDTH, WIDE)
HEADS = Place(torch.cat([torch.arange(_HEAD), _HEAD_WIDE + torch.arange(_HEAD)])[None], WIDE)
CONTEXT = _joined(*(_first(small, wide) for small, wide in zip(TEXT_WIDTHS, TEXT_WIDE, strict=True)))
_TIMES = _first(_TIME, _TIME_WIDE)
_FORWARD = _first(4 * WIDTH, 4 * WIDE)
_JOINED = _joined(PLAIN, PLAIN)

_UNET: tuple[tuple[str, Place | None, Place | None], ...] = (
    (r"time_embedding\.linear_1", _TIMES, _waves(WIDTH, WIDE)),
    (r"time_embedding\.linear_2", _TIMES, _TIMES),
    (
        r"add_embedding\.linear_1",
        _TIMES,
        _joined(_first(POOLED, TEXT_WIDE[1]), *[_waves(SIZE_NUMBERS, _SIZE_WIDE)] * 6),
    ),
    (r"add_embedding\.linear_2", _TIMES, _TIMES),
    (r"conv_in", PLAIN, None),
    (r"conv_out", None, PLAIN),
    (r".*\.time_emb_proj", PLAIN, _TIMES),
    (r"up_blocks\.\d\.resnets\.\d\.norm1", _JOINED, None),
    (r"up_blocks\.\d\.resnets\.\d\.(conv1|conv_shortcut)", PLAIN, _JOINED),
    (r".*\.proj_in", COPIED, PLAIN),
    (r".*\.proj_out", PLAIN, PLAIN),
    (r".*\.transformer_blocks\.\d\.norm\d", COPIED, None),
    (r".*\.attn2\.to_[kv]", HEADS, CONTEXT),
    (r".*\.attn\d\.to_[qkv]", HEADS, PLAIN),
    (r".*\.to_out\.0", COPIED, HEADS),
    (r".*\.ff\.net\.0\.proj", _joined(_FORWARD, _FORWARD), PLAIN),
    (r".*\.ff\.net\.2", COPIED, _FORWARD),
    (r".*", PLAIN, PLAIN),
)
"""Names of layers -> where their rows and columns go, the first that fits; None keeps an axis as it is."""


def unet_places(layer: str) -> tuple[Place | None, Place | None]:
    """Where a UNet layer's rows and columns go, by its diffusers path."""
    return next((rows, columns) for pattern, rows, columns in _UNET if re.fullmatch(pattern, layer))


def padded(tensor: Tensor, *places: Place | None) -> Tensor:
    """A small tensor with zeros around it.

    Args:
        tensor: its first axes are placed.
        places: of each of them, or None where one stays as it is.
    """
    for axis, place in enumerate(places[: tensor.ndim]):
        if place is None:
            continue
        assert tensor.shape[axis] == place.index.shape[1], (tuple(tensor.shape), axis, tuple(place.index.shape))
        shape = list(tensor.shape)
        shape[axis] = place.width
        wide = torch.zeros(shape, dtype=tensor.dtype)
        for copy in place.index:
            wide.index_copy_(axis, copy, tensor)
        tensor = wide
    return tensor


def query_scale(layer: str) -> float:
    """What a UNet layer's rows are multiplied by, 1 but for queries."""
    return (_HEAD_WIDE / _HEAD) ** 0.5 if layer.endswith(".to_q") else 1.0


def wide_unet(small: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The UNet's weights in SDXL's widths, by the same diffusers names."""
    wide = {}
    for name, tensor in small.items():
        layer = name.rpartition(".")[0]
        wide[name] = padded(tensor, *unet_places(layer))
        wide[name] = wide[name] * query_scale(layer)
    return wide


def wide_text(small: Mapping[str, Tensor], encoder: int, layers: int) -> dict[str, Tensor]:
    """A text encoder's weights in SDXL's widths, by transformers' names; its table is that of all tokens already.

    Args:
        small: of the small one, of whose two layers the first counts.
        encoder: 0 or 1.
        layers: of SDXL's.
    """
    width, full = TEXT_WIDTHS[encoder], TEXT_WIDE[encoder]
    first, copied, inner = _first(width, full), _copies(width, full), _first(2 * width, 4 * full)
    places = (
        (r".*token_embedding\.weight|.*position_embedding\.weight", (None, copied)),
        (r".*layer_norm\d\..*|.*final_layer_norm\..*", (copied,)),
        (r".*(q|k|v)_proj\..*", (first, first)),
        (r".*out_proj\..*", (copied, first)),
        (r".*fc1\..*", (inner, first)),
        (r".*fc2\..*", (copied, inner)),
        (r"text_projection\.weight", (_first(POOLED, full), first)),
    )
    wide = {}
    for name, tensor in small.items():
        if name.endswith("position_ids"):
            continue
        if not name.startswith(("text_model.", "text_projection.")):
            name = f"text_model.{name}"  # which transformers leaves out where there is no projection
        wide_tensor = padded(tensor, *next(place for pattern, place in places if re.fullmatch(pattern, name)))
        stem, last, suffix = name.partition(".layers.1.")
        for number in range(1, layers) if last else [None]:
            wide[name if number is None else f"{stem}.layers.{number}.{suffix}"] = wide_tensor.clone()
    return wide


def wide_vae(small: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``AutoencoderTiny``'s weights as TAESD's, 64 wide, by ComfyUI's names."""
    wide = {}
    for name, tensor in small.items():
        side, _, key = name.partition(".layers.")
        number, _, parameter = key.partition(".")
        last = tensor.shape[0] in (3, 4)
        places = [None if last else _first(tensor.shape[0], 64)]
        if tensor.ndim > 1:
            places.append(None if tensor.shape[1] in (3, 4) else _first(tensor.shape[1], 64))
        at = int(number) + (side == "decoder")  # its first layer there is the clamp
        wide[f"taesd_{side}.{at}.{parameter}"] = padded(tensor, *places)
    return wide
