"""Drawing the faces of a picture again: whose face each is, the square that is cut out, and how it is pasted back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor
from torch.nn import functional as F

from ..errors import HyperLoRAError
from ..faces import Face
from ..faces.crops import OUTLINE, face_box
from .likeness import Judged

ASSIGNMENTS = ("left to right", "by likeness")
_MASK_SCALE = 1.25  # of the face's outline: brows and chin are within


@dataclass(frozen=True)
class Cut:
    """A square of a picture with a face in it.

    Attributes:
        left: pixels of the picture.
        top: likewise.
        side: likewise.
    """

    left: int
    top: int
    side: int

    @classmethod
    def around(cls, face: Face, size: tuple[int, int], surroundings: float) -> "Cut":
        """The square around a face, moved into the picture where it reaches out, and made smaller where it has to.

        Args:
            face: on the picture.
            size: width and height of the picture.
            surroundings: side of the square, as a factor of the face box's.
        """
        left, top, right, bottom = face_box(face.landmarks, surroundings)
        side = min(round(right - left), *size)
        middle = ((left + right) / 2, (top + bottom) / 2)
        corner = [min(max(0, round(at - side / 2)), length - side) for at, length in zip(middle, size, strict=True)]
        return cls(corner[0], corner[1], side)

    def take(self, image: Tensor, size: int) -> Tensor:
        """The square of ``(height, width, channels)``, resized to ``(1, size, size, channels)``."""
        cut = image[self.top : self.top + self.side, self.left : self.left + self.side]
        return _resized(cut[None], size)

    def mask(self, face: Face, feather: float) -> Tensor:
        """Where the face is in the square, ``(side, side)``, 0 to 1: its outline, a little larger, with soft edges.

        It is 0 at the square's own edges.

        Args:
            face: the face.
            feather: width of the soft edge, as a share of the side.
        """
        outline = np.asarray(face.landmarks, dtype=np.float64)[OUTLINE]
        middle = outline.mean(axis=0)
        points = (outline - middle) * _MASK_SCALE + middle - (self.left, self.top)
        drawn = Image.new("L", (self.side, self.side))
        ImageDraw.Draw(drawn).polygon([(float(x), float(y)) for x, y in points], fill=255)
        soft = drawn.filter(ImageFilter.GaussianBlur(feather * self.side / 2))
        along = torch.arange(self.side, dtype=torch.float32) + 0.5
        to_edge = torch.minimum(along, self.side - along) / max(feather * self.side, 1.0)
        ramp = to_edge.clamp(max=1.0)
        return torch.from_numpy(np.asarray(soft, dtype=np.float32) / 255) * torch.minimum(ramp[:, None], ramp[None])

    def put_back(self, image: Tensor, drawn: Tensor, mask: Tensor) -> Tensor:
        """A copy of ``(height, width, channels)`` with the square drawn anew where the mask is.

        Args:
            image: the picture.
            drawn: ``(1, size, size, channels)``.
            mask: ``(side, side)``.
        """
        result = image.clone()
        square = result[self.top : self.top + self.side, self.left : self.left + self.side]
        replacement = _resized(drawn, self.side)[0].to(square)
        square += (replacement - square) * mask[..., None].to(square)
        return result


def _resized(images: Tensor, size: int) -> Tensor:
    pixels = F.interpolate(images.movedim(-1, 1), size=(size, size), mode="bicubic", antialias=True)
    return pixels.movedim(1, -1).clamp(0, 1)


def assign(
    faces: Sequence[Face], people: int, judged: Sequence[Judged] | None = None, least: float = -1.0
) -> dict[int, int]:
    """Assign people to the faces of a picture.

    Args:
        faces: from left to right.
        people: how many there are.
        judged: for an assignment by likeness, the picture as each person judges it; None: people are taken from left
            to right.
        least: the lowest likeness at which a face is assigned to a person.

    Returns:
        Face's index -> person's index, both from 0. A person gets one face at most; faces without a person are absent.

    Raises:
        HyperLoRAError: ``judged`` has not one entry for each person.
    """
    if judged is None:
        return {number: number for number in range(min(len(faces), people))}
    if len(judged) != people:
        raise HyperLoRAError(
            f"{len(judged)} identities are connected for {people} LoRAs: connect one for each, in order"
        )
    scored = [
        (score, face, person)
        for person, judgement in enumerate(judged)
        for face, score in enumerate(judgement.scores)
        if score is not None and score >= least
    ]
    person_of: dict[int, int] = {}
    for _, face, person in sorted(scored, key=lambda entry: -entry[0]):
        if face not in person_of and person not in person_of.values():
            person_of[face] = person
    return person_of
