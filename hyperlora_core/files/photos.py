"""Opening photos: as 8-bit RGB, turned upright by their EXIF orientation."""

import io
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ..errors import HyperLoRAError
from .clutter import is_clutter

MAX_SIDE = 16384
"""Longest side in pixels; larger photos are reduced to it."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""Suffixes of the files that are taken for photos in a folder."""

# The formats that are opened, whatever a file's suffix: for EPS, PIL would run another program over the file.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "JPEG2000", "BMP", "DIB", "GIF", "TIFF", "PPM")

_Turn = Image.Transpose
_TURNS = dict(
    enumerate(
        (
            _Turn.FLIP_LEFT_RIGHT,
            _Turn.ROTATE_180,
            _Turn.FLIP_TOP_BOTTOM,
            _Turn.TRANSPOSE,
            _Turn.ROTATE_270,
            _Turn.TRANSVERSE,
            _Turn.ROTATE_90,
        ),
        start=2,
    )
)

log = logging.getLogger(__name__)


def photo_files(folder: Path) -> list[Path]:
    """The photos in a folder, sorted by name: files with one of the ``SUFFIXES`` that are not clutter."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not is_clutter(path.name) and path.is_file()
    )


def unreadable(photos: Iterable[Path]) -> dict[Path, str]:
    """Photos that cannot be opened -> why not. Each is read to its end; JPEGs at a small size, for speed."""
    wrong = {}
    for path in dict.fromkeys(photos):
        try:
            with open_picture(path, str(path)) as image:
                image.draft("RGB", (1, 1))
                image.load()
        except HyperLoRAError as error:
            wrong[path] = str(error)
    return wrong


def open_photo(path: str | Path) -> Image.Image:
    """Open a photo as a person sees it.

    The EXIF orientation is applied, transparency is laid on white, 16 bits are reduced to 8, and a photo longer than
    ``MAX_SIDE`` is reduced.

    Args:
        path: a picture that PIL reads; of an animation the first frame is taken.

    Returns:
        RGB.

    Raises:
        HyperLoRAError: there is no such file, or it is no picture, or larger than PIL opens.
    """
    path = Path(path)
    if not path.is_file():
        raise HyperLoRAError(f"there is no photo {path}")
    with open_picture(path, str(path)) as image:
        return upright(image)


@contextmanager
def open_picture(picture: Path | bytes, name: str) -> Iterator[Image.Image]:
    """Open a picture and read its header; errors in the block, as from reading its pixels, name it as well.

    Args:
        picture: a file, or a file's bytes.
        name: what errors call it.

    Raises:
        HyperLoRAError: it is no picture, or broken, or larger than PIL opens.
    """
    try:
        file = io.BytesIO(picture) if isinstance(picture, bytes) else picture
        with Image.open(file, formats=_formats()) as image:
            yield image
    except Image.DecompressionBombError as error:
        raise HyperLoRAError(f"the photo {name} is too large to open: reduce it to {MAX_SIDE} pixels a side") from error
    except UnidentifiedImageError as error:
        raise HyperLoRAError(f"{name} is no picture that can be read: {_what_it_is(picture)}") from error
    except HyperLoRAError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise HyperLoRAError(f"the photo {name} cannot be read ({error}): it may be broken or cut short") from error


@cache
def _formats() -> tuple[str, ...]:
    """Those of ``_FORMATS`` that this PIL knows."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def orientation(image: Image.Image) -> int:
    """EXIF orientation of an open picture, 1 to 8; 1 where it has none, or where its tags are broken."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # whatever a parser of tags raises over broken ones; the pixels are there
        return 1


def upright(image: Image.Image, most: int = MAX_SIDE) -> Image.Image:
    """The pixels of an open picture as ``open_photo`` returns them: RGB, upright, at most ``most`` pixels a side."""
    image.draft("RGB", (most, most))
    image.load()
    # not ImageOps.exif_transpose, which writes all tags anew, and fails where another one is broken
    turn = _TURNS.get(orientation(image))
    return _limited(_rgb(image if turn is None else image.transpose(turn)), most)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # "I;16" is 16 bits; "I" is 32, and holds 8 or 16 of them
        pixels = np.asarray(image).astype(np.float32)
        divisor = 1 if image.mode == "I" and pixels.max(initial=0) <= 255 else 257
        image = Image.fromarray((pixels / divisor).clip(0, 255).round().astype("u1"))
    elif image.mode == "F":
        pixels = np.nan_to_num(np.asarray(image))
        image = Image.fromarray((pixels * (255 if pixels.max(initial=0) <= 1 else 1)).clip(0, 255).round().astype("u1"))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _limited(photo: Image.Image, most: int) -> Image.Image:
    if max(photo.size) <= most:
        return photo
    reduced = ImageOps.contain(photo, (most, most))
    log.info("A photo of %d x %d was reduced to %d x %d", *photo.size, *reduced.size)
    return reduced


def _what_it_is(picture: Path | bytes) -> str:
    if isinstance(picture, Path):
        with picture.open("rb") as file:
            picture = file.read(512)
    start = picture[:512].lstrip().lower()
    if not start:
        return "the file is empty"
    if start.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "it is a web page"
    if start[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        return "it is a HEIC photo; save it as JPEG or PNG"
    return "save it as JPEG or PNG"
