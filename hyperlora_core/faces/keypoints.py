"""Keypoints of faces as a picture, for ControlNets of InstantID's kind: where the face is, and where it looks.

Colours and measures are those that InstantID's ControlNet was trained with
(https://github.com/instantX-research/InstantID).
"""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from ..errors import HyperLoRAError

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
"""Of the eyes, the nose, the corners of the mouth; each pair from the picture's left."""

_NOSE = 2
_LIMB, _POINT = 4, 10  # half width and radius, in pixels
_DIMMED = 0.6
_FINER = 4  # drawn larger and reduced, for smooth edges


def keypoints_picture(size: tuple[int, int], faces: Sequence[np.ndarray]) -> Image.Image:
    """Draw the keypoints of faces on black: a limb from the nose to each other point, and a disc on each.

    Args:
        size: width and height of the picture.
        faces: ``(5, 2)`` each, in its pixels.

    Raises:
        HyperLoRAError: keypoints are not five finite points.
    """
    for keypoints in faces:
        if np.shape(keypoints) != (5, 2) or not np.isfinite(keypoints).all():
            raise HyperLoRAError(f"five finite keypoints are needed, got an array of shape {np.shape(keypoints)}")
    picture = Image.new("RGB", (size[0] * _FINER, size[1] * _FINER))
    draw = ImageDraw.Draw(picture)
    scaled = [(np.asarray(keypoints, dtype=np.float64) + 0.5) * _FINER for keypoints in faces]
    for points in scaled:
        for number, point in enumerate(points):
            if number != _NOSE:
                dimmed = tuple(int(value * _DIMMED) for value in COLOURS[number])
                draw.polygon(_ellipse(point, points[_NOSE], _LIMB * _FINER), fill=dimmed)
    for points in scaled:
        for point, colour in zip(points, COLOURS, strict=True):
            draw.circle((float(point[0]), float(point[1])), _POINT * _FINER, fill=colour)
    return picture.resize(size, Image.Resampling.BOX)


def _ellipse(start: np.ndarray, end: np.ndarray, half_width: float) -> list[tuple[float, float]]:
    """A slim ellipse from one point to another."""
    middle, along = (start + end) / 2, (end - start) / 2
    length = max(float(np.hypot(*along)), 1e-6)
    across = np.array([-along[1], along[0]]) / length * half_width
    turns = [math.tau * i / 90 for i in range(90)]
    points = [middle + along * math.cos(turn) + across * math.sin(turn) for turn in turns]
    return [(float(x), float(y)) for x, y in points]
