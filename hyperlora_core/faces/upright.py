"""Heads that lie on their side or upside down: how far a face is turned, and its photo turned upright.

Face models are made for upright faces. One that is turned by more than some 30 degrees is found, and read as another
person's: at 180 degrees little of the likeness is left.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .face import Face
from .warping import alignment

TURNED = 30.0
"""Degrees of roll above which a face is read wrongly."""

_SURE = 0.6  # the detector's score of a face that is found upright
_TRIES = 3  # the further a face is turned, the less exactly its roll is known
_QUARTER = 45.0  # degrees above which a photo is turned by quarters, which loses nothing


@dataclass(frozen=True, eq=False)
class View:
    """A face as it is read.

    Attributes:
        photo: RGB; turned upright, with black corners, where the head was turned.
        face: on it.
        turned: degrees, clockwise above 0, by which the head was turned on the photo as it was given.
    """

    photo: Image.Image
    face: Face
    turned: float = 0.0


def roll(keypoints: np.ndarray) -> float:
    """How far a face is turned in the picture's plane, in degrees from -180 to 180, clockwise above 0.

    Args:
        keypoints: ``(5, 2)``, pixels.
    """
    matrix = alignment(keypoints)
    return float(np.degrees(np.arctan2(-matrix[1, 0], matrix[0, 0])))


def turned_back(photo: Image.Image, degrees: float) -> Image.Image:
    """A photo turned counterclockwise about its middle, as large as it needs to be."""
    quarters = {
        90: Image.Transpose.ROTATE_90,
        180: Image.Transpose.ROTATE_180,
        270: Image.Transpose.ROTATE_270,
    }
    if degrees % 360 == 0:
        return photo
    if degrees % 360 in quarters:
        return photo.transpose(quarters[int(degrees % 360)])
    return photo.rotate(degrees, Image.Resampling.BICUBIC, expand=True)


def turned_upright(photo: Image.Image, face: Face, detect: Callable[[Image.Image], Sequence[Face]]) -> View | None:
    """Turn a photo so that a face on it is upright.

    Args:
        photo: RGB.
        face: a face on it.
        detect: finds the faces of a photo.

    Returns:
        The photo and the face as found on it; None where it is not surely found upright.
    """
    degrees, upright_face = 0.0, face
    for _ in range(_TRIES):
        remaining = roll(upright_face.keypoints)
        degrees += 90 * round(remaining / 90) if abs(remaining) > _QUARTER else remaining
        view = turned_back(photo, degrees)
        place = _moved(face, photo, view, degrees)
        candidates = [candidate for candidate in detect(view) if _holds(candidate.box, place)]
        if not candidates:
            return None
        upright_face = min(candidates, key=lambda candidate: float(np.abs(_middle(candidate.box) - place).sum()))
        if abs(roll(upright_face.keypoints)) <= TURNED:
            return View(view, upright_face, degrees) if upright_face.score >= _SURE else None
    return None


def _middle(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2


def _moved(face: Face, photo: Image.Image, view: Image.Image, degrees: float) -> np.ndarray:
    """Where the middle of a face comes to lie when its photo is turned back."""
    x, y = _middle(face.box) - np.array(photo.size) / 2
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([x * cosine + y * sine, y * cosine - x * sine]) + np.array(view.size) / 2


def _holds(box: np.ndarray, place: np.ndarray) -> bool:
    return bool((box[:2] <= place).all() and (place <= box[2:]).all())
