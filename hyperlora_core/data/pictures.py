"""Decodes a picture for a training set, decides which file is stored of it, and hashes it."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..cache import digest
from ..files.photos import open_picture, orientation, upright

MAX_SIDE = 4096
"""Longer pictures of a training set are reduced to this many pixels a side: nothing larger is trained on."""

PHASH_BITS = 64

_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}
_QUALITY = 95


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture.

    Attributes:
        photo: RGB, upright, no longer than ``MAX_SIDE``.
        file: what is stored: the original file where any reader gets these pixels from it, else a JPEG of them.
        suffix: of that file.
    """

    photo: Image.Image
    file: bytes
    suffix: str


def size_of(file: bytes, name: str) -> tuple[int, int]:
    """Width and height of an upright picture, from its header alone.

    Raises:
        HyperLoRAError: it is no picture.
    """
    with open_picture(file, name) as image:
        turned = orientation(image) in (5, 6, 7, 8)
        return (image.height, image.width) if turned else image.size


def read(file: bytes, name: str) -> Picture:
    """Decode a picture.

    Args:
        file: its file's bytes.
        name: for errors.

    Raises:
        HyperLoRAError: it is no picture, or broken.
    """
    with open_picture(file, name) as image:
        suffix = _suffix_as_it_is(image)
        photo = upright(image, MAX_SIDE)
    if suffix:
        return Picture(photo, file, suffix)
    return Picture(photo, jpeg(photo), ".jpg")


def _suffix_as_it_is(image: Image.Image) -> str:
    """The suffix of a file that can be stored as it is, for any reader gets the same pixels from it; else empty."""
    plain = (
        image.format in _SUFFIXES
        and image.mode == "RGB"
        and not image.has_transparency_data
        and getattr(image, "n_frames", 1) == 1
        and orientation(image) == 1
        and max(image.size) <= MAX_SIDE
    )
    return _SUFFIXES[str(image.format)] if plain else ""


def jpeg(photo: Image.Image, quality: int = _QUALITY) -> bytes:
    """A picture as a JPEG file, without metadata."""
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=quality, subsampling=0 if quality >= _QUALITY else -1, comment=b"")
    return file.getvalue()


def thumbnail(photo: Image.Image, side: int = 128) -> bytes:
    """A small JPEG of a picture; its longer side has ``side`` pixels."""
    small = photo.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2)
    return jpeg(small, 80)


def pixel_hash(photo: Image.Image) -> bytes:
    """16 bytes, equal for two pictures whose pixels are all equal."""
    return bytes.fromhex(digest(photo))[:16]


def perceptual_hash(photo: Image.Image) -> int:
    """64 bits, of which few differ between two files of one picture (https://pypi.org/project/ImageHash, ``phash``)."""
    from imagehash import phash

    bits = np.packbits(phash(photo).hash.ravel())
    return int.from_bytes(bits.tobytes(), "big")
