"""The two pictures that CLIP is shown of a photo: the face alone on grey, and the photo with the face blurred.

What the released weights were trained on, to the pixel: boxes are floats and PIL's crop rounds their edges, but what is
pasted back is placed at the truncated corner. Coordinates outside the photo are black. Landmarks are insightface's 106.
"""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ..errors import HyperLoRAError

LANDMARKS = 106
GREY = (0x7F, 0x7F, 0x7F)
THUMBNAIL = 256

# The jaw from one temple to the other, then both brows back.
OUTLINE = (
    [1, 9, 10, 11, 12, 13, 14, 15, 16, 2, 3, 4, 5, 6, 7, 8, 0]
    + [24, 23, 22, 21, 20, 19, 18, 32, 31, 30, 29, 28, 27, 26, 25, 17]
    + [101, 105, 104, 103, 102, 50, 51, 49, 48, 43]
)

_WORK_SIZE = 512  # masks and blurs are made at this size, whatever the face's
_MASK_BLUR, _FACE_BLUR = 15, 45
_BASE_MASK_SCALE = 1.4

Box = tuple[float, float, float, float]


def face_box(landmarks: np.ndarray, scale: float = 1.0) -> Box:
    """The square around a face.

    Args:
        landmarks: ``(106, 2)``, pixels.
        scale: what its half side is multiplied by; the centre stays.

    Returns:
        Left, top, right, bottom; may reach out of the photo.

    Raises:
        HyperLoRAError: the landmarks are no 106 finite points, or lie all in one place.
    """
    x, y, half = _face_square(landmarks)
    half *= scale
    return (x - half, y - half, x + half, y + half)


def id_image(
    photo: Image.Image, landmarks: np.ndarray, remove_background: bool = True, grayscale: bool = False
) -> Image.Image:
    """What CLIP is shown of who the person is.

    Args:
        photo: RGB.
        landmarks: ``(106, 2)``, pixels of the photo.
        remove_background: put grey around the face.
        grayscale: take the colour out.

    Returns:
        RGB, cut to the face box.

    Raises:
        HyperLoRAError: as ``face_box``.
    """
    box = face_box(landmarks)
    if remove_background:
        face, mask, corner = _outline_crop(photo, landmarks, scale=1.0)
        photo = Image.new("RGB", photo.size, GREY)
        photo.paste(face, corner, _blurred(mask, _MASK_BLUR))
    picture = photo.crop(box)
    return picture.convert("L").convert("RGB") if grayscale else picture


def thumbnail(photo: Image.Image, landmarks: np.ndarray, size: int = THUMBNAIL) -> Image.Image:
    """The face with a margin, as a square picture of ``size`` pixels.

    Raises:
        HyperLoRAError: as ``face_box``.
    """
    return photo.crop(face_box(landmarks, scale=1.2)).resize((size, size), Image.Resampling.LANCZOS, reducing_gap=2)


def base_image(
    photo: Image.Image,
    landmarks: np.ndarray,
    crop: bool = True,
    scale_lrtb: Sequence[float] = (1, 1, 1, 1),
    safe_crop: bool = True,
) -> Image.Image:
    """What CLIP is shown of everything but the person: the photo with the face blurred.

    Args:
        photo: RGB.
        landmarks: ``(106, 2)``, pixels of the photo.
        crop: cut to the face's surroundings.
        scale_lrtb: how far that cut reaches to the left, right, top and bottom, as factors of the face box's half side.
        safe_crop: keep that cut within the photo.

    Returns:
        RGB.

    Raises:
        HyperLoRAError: as ``face_box``, or a scale is not positive, or the cut holds no pixel.
    """
    if len(scale_lrtb) != 4 or not all(math.isfinite(scale) and scale > 0 for scale in scale_lrtb):
        raise HyperLoRAError(f"the crop's scales are {tuple(scale_lrtb)}; four numbers above 0 were expected")
    x, y, half = _face_square(landmarks)
    face, mask, corner = _outline_crop(photo, landmarks, scale=_BASE_MASK_SCALE)
    photo = photo.copy()
    photo.paste(_blurred(face, _FACE_BLUR), corner, _blurred(mask, _MASK_BLUR))
    if not crop:
        return photo
    left, right, top, bottom = (half * scale for scale in scale_lrtb)
    box = (x - left, y - top, x + right, y + bottom)
    if safe_crop:
        width, height = photo.size
        box = (max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height))
    if round(box[2]) <= round(box[0]) or round(box[3]) <= round(box[1]):
        raise HyperLoRAError(f"nothing of the photo ({photo.width} x {photo.height}) is left in the cut {box}")
    return photo.crop(box)


def _face_square(landmarks: np.ndarray) -> tuple[float, float, float]:
    """Centre and half side of the face box."""
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (LANDMARKS, 2) or not np.isfinite(points).all():
        raise HyperLoRAError(f"{LANDMARKS} finite face landmarks are needed, got an array of shape {points.shape}")
    low, high = points.min(axis=0), points.max(axis=0)
    half = 0.75 * float((high - low).max())
    if half < 1:
        raise HyperLoRAError("the face landmarks lie all in one place: no face can be cut out there")
    x, y = (low + high) / 2
    return float(x), float(y) - half / 8, half


def _outline_crop(
    photo: Image.Image, landmarks: np.ndarray, scale: float
) -> tuple[Image.Image, Image.Image, tuple[int, int]]:
    """The square around the face's outline, the outline's mask (scaled about its middle), and where it is pasted."""
    outline = np.asarray(landmarks, dtype=np.float64)[OUTLINE]
    x, y = outline.mean(axis=0)
    half = 0.8 * float(np.ptp(outline, axis=0).max())
    mask = Image.new("L", photo.size)
    scaled = (outline - (x, y)) * scale + (x, y)
    ImageDraw.Draw(mask).polygon([(float(px), float(py)) for px, py in scaled], fill=255)
    box = (x - half, y - half, x + half, y + half)
    return photo.crop(box), mask.crop(box), (int(x - half), int(y - half))


def _blurred(picture: Image.Image, radius: float) -> Image.Image:
    """Blurred at the working size, so that the blur is in proportion to the face."""
    worked = picture.resize((_WORK_SIZE, _WORK_SIZE)).filter(ImageFilter.GaussianBlur(radius))
    return worked.resize(picture.size)
