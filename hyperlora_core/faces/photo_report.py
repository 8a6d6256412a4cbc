"""What photos of a person are worth as references: size, sharpness, pose, and how they agree; and what to replace."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from .crops import face_box
from .references import Reference
from .scale import INSIGHTFACE, mean_agreement
from .upright import TURNED as ROLLED

LEAST_PIXELS, FEW_PIXELS = 80, 150
BLURRED, SOFT = 0.12, 0.25
TURNED, PROFILE = 25.0, 45.0  # degrees
UNSURE = 0.6

_LOOKED_AT = 160  # pixels a side, at which sharpness is measured

# Eyes, nose, corners of the mouth of a face that looks at the camera: x to the right, y down, z to the camera, in
# distances between the eyes. An average of faces: a pose is good to some ten degrees.
_FACE = np.array(
    [[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.55, 0.45], [-0.42, 1.03, 0.08], [0.42, 1.03, 0.08]], dtype=np.float64
)


@dataclass(frozen=True)
class PhotoQuality:
    """What one photo is worth.

    Attributes:
        number: the photo's position, from 1.
        size: of the photo, width and height.
        pixels: the longer side of the face's box.
        sharpness: spread of the face's second differences at one size, by its contrast; see ``sharpness``.
        yaw: degrees, to the picture's right above 0.
        pitch: degrees, downwards above 0.
        roll: degrees, clockwise above 0.
        score: how sure the detector is, 0 to 1.
        agreement: mean cosine of its face embedding with the others'; None for a single photo, or without embeddings.
        turned: degrees that the photo was turned by to be read upright; pose and sharpness are of the upright photo.
    """

    number: int
    size: tuple[int, int]
    pixels: float
    sharpness: float
    yaw: float
    pitch: float
    roll: float
    score: float
    agreement: float | None
    turned: float = 0.0

    @property
    def is_somebody_else(self) -> bool:
        """Whether it agrees so little with the others that it shows another person."""
        return self.agreement is not None and self.agreement < INSIGHTFACE.same

    @property
    def faults(self) -> list[str]:
        """What is wrong with it, the worst first; empty for a good photo."""
        faults = []
        if self.is_somebody_else:
            faults.append("looks like somebody else than the others: check who it is")
        if self.pixels < LEAST_PIXELS:
            faults.append(f"the face is too small: use one of {FEW_PIXELS} pixels and more")
        elif self.pixels < FEW_PIXELS:
            faults.append(f"the face is small: one of {FEW_PIXELS} pixels and more shows more of it")
        if self.sharpness < BLURRED:
            faults.append("blurred: use a sharper one")
        elif self.sharpness < SOFT:
            faults.append("a little soft")
        if abs(self.roll) > ROLLED:
            faults.append(f"the head is turned by {abs(self.roll):.0f} degrees: turn the photo upright")
        away = max(abs(self.yaw), abs(self.pitch))
        if away > PROFILE:
            faults.append("turned far away: add one from the front")
        elif away > TURNED:
            faults.append("turned aside: good beside one from the front")
        if self.score < UNSURE:
            faults.append("the face is hardly recognised: hidden, or in bad light")
        return faults

    @property
    def is_bad(self) -> bool:
        """Whether the photo should be replaced."""
        return (
            self.is_somebody_else
            or self.pixels < LEAST_PIXELS
            or self.sharpness < BLURRED
            or self.score < UNSURE
            or abs(self.roll) > ROLLED
        )

    def __str__(self) -> str:
        agreement = "" if self.agreement is None else f", agreement {self.agreement:.2f}"
        upright = f", turned upright by {abs(self.turned):.0f} degrees" if self.turned else ""
        return (
            f"photo {self.number}: {'replace' if self.is_bad else 'keep'}. face {self.pixels:.0f} pixels of "
            f"{self.size[0]} x {self.size[1]}, sharpness {self.sharpness:.2f}, yaw {self.yaw:+.0f}, pitch "
            f"{self.pitch:+.0f}, roll {self.roll:+.0f}, detected {self.score:.2f}{agreement}{upright}. "
            f"{'; '.join(self.faults) or 'good'}"
        )


def examine(references: Sequence[Reference]) -> list[PhotoQuality]:
    """Measure the quality of photos of one person.

    Args:
        references: from ``find_references``; with embeddings they are compared with each other.
    """
    embeds = [ref.id_embed for ref in references]
    agreements: Sequence[float | None] = [None] * len(references)
    if len(references) > 1 and all(embed is not None for embed in embeds):
        agreements = mean_agreement(torch.stack([torch.from_numpy(embed) for embed in embeds if embed is not None]))
    qualities = []
    for ref, agreement in zip(references, agreements, strict=True):
        view = ref.view
        left, top, right, bottom = (float(edge) for edge in view.face.box)
        qualities.append(
            PhotoQuality(
                ref.number,
                ref.photo.size,
                max(right - left, bottom - top),
                sharpness(view.photo, view.face.landmarks),
                *pose(view.face.keypoints),
                view.face.score,
                agreement,
                view.turned,
            )
        )
    return qualities


def summary(qualities: Sequence[PhotoQuality]) -> str:
    """A line on all of them together: what to replace, or that nothing has to be."""
    if len(qualities) > 1 and all(quality.is_somebody_else for quality in qualities):
        return "these photos show several people, or one hardly to be recognised: sort them out first"
    bad = [str(quality.number) for quality in qualities if quality.is_bad]
    if bad:
        return f"replace photo {', '.join(bad)}"
    if all(abs(quality.yaw) > TURNED for quality in qualities):
        return "add a photo from the front"
    return "nothing has to be replaced"


def sharpness(photo: Image.Image, landmarks: np.ndarray) -> float:
    """How sharp a face is, at one size whatever the photo's.

    The standard deviation of the discrete Laplacian of its brightness, which is brought to a deviation of one before.
    Sharp portraits have 0.4 and more, faces blurred by a hundredth of their width about 0.1.

    Args:
        photo: RGB.
        landmarks: ``(106, 2)``, pixels.
    """
    face = photo.crop(face_box(landmarks, scale=2 / 3)).convert("L")
    grey = np.asarray(face.resize((_LOOKED_AT, _LOOKED_AT), Image.Resampling.LANCZOS), dtype=np.float64)
    grey = (grey - grey.mean()) / max(float(grey.std()), 1.0)
    around = grey[1:-1, :-2] + grey[1:-1, 2:] + grey[:-2, 1:-1] + grey[2:, 1:-1]
    return float((around - 4 * grey[1:-1, 1:-1]).std())


def pose(keypoints: np.ndarray) -> tuple[float, float, float]:
    """Where a face looks, by fitting an average face seen from afar to its keypoints.

    Args:
        keypoints: ``(5, 2)``, pixels: eyes, nose, corners of the mouth, each pair from the picture's left.

    Returns:
        Yaw, pitch and roll in degrees: to the picture's right, downwards, clockwise.
    """
    points = np.asarray(keypoints, dtype=np.float64)
    model = _FACE - _FACE.mean(axis=0)
    projection, *_ = np.linalg.lstsq(
        model, points - points.mean(axis=0), rcond=None
    )  # (3, 2): scaled rows of a rotation
    across, down = projection.T
    left, _, right = np.linalg.svd(np.stack([across, down]), full_matrices=False)
    first, second = left @ right  # the nearest pair of orthonormal rows
    third = np.cross(first, second)
    yaw = np.arcsin(np.clip(-third[0], -1, 1))
    pitch = np.arctan2(-third[1], third[2])
    roll = np.arctan2(second[0], first[0])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))
