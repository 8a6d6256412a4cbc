"""Looking at a sample of a checkpoint's numbers: enough to tell it apart, and to see NaN and unfinished downloads."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .. import files
from ..files import StoredTensor

_WHOLE = 64 << 20  # bytes: checkpoints up to this size are looked at whole
_SAMPLE = 16 << 10  # bytes: of larger ones, so much of each tensor's beginning and end

# The bits of each type's exponent, which are all set in NaN and infinity.
_EXPONENT = {"F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80), "F32": ("<u4", 0x7F800000)}


@dataclass(frozen=True)
class Samples:
    """What samples tell.

    Attributes:
        digest: sha256 over names, types, shapes and samples.
        not_finite: names of tensors with NaN or infinity in their samples.
        blank: names of tensors whose samples are all zero.
    """

    digest: str
    not_finite: tuple[str, ...]
    blank: tuple[str, ...]


def look(tensors: Mapping[str, StoredTensor], more: str = "") -> Samples:
    """Read samples of tensors.

    Up to 64 MB altogether are read whole. Of more, 16 KB of each tensor's beginning and end.

    Args:
        tensors: by name; their order does not matter.
        more: what the digest covers besides.
    """
    digest = hashlib.sha256(more.encode())
    whole = sum(tensor.length for tensor in tensors.values()) <= _WHOLE
    not_finite, blank = [], []
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}:{tensor.dtype}:{tensor.shape}:".encode())
        data = b"".join(files.read_bytes(_windows(tensor, whole)))
        digest.update(data)
        if not finite(data, tensor.dtype):
            not_finite.append(name)
        if tensor.length and not data.strip(b"\0"):
            blank.append(name)
    return Samples(digest.hexdigest(), tuple(not_finite), tuple(blank))


def finite(data: bytes, dtype: str) -> bool:
    """Whether bytes of a type, by safetensors' name of it, hold no NaN and no infinity; True of types without these."""
    if dtype not in _EXPONENT:
        return True
    kind, exponent = _EXPONENT[dtype]
    return not ((np.frombuffer(data, np.dtype(kind)) & exponent) == exponent).any()


def _windows(tensor: StoredTensor, whole: bool) -> list[StoredTensor]:
    if whole or tensor.length <= 2 * _SAMPLE:
        return [tensor]
    ends = (tensor.start, tensor.start + tensor.length - _SAMPLE)
    return [StoredTensor(tensor.path, tensor.dtype, (), start, _SAMPLE) for start in ends]
