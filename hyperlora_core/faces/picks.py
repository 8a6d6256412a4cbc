"""Faces that somebody pointed at: by the photo's content and a place on it, so that no other photo is ever meant."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..errors import HyperLoRAError, shortened
from .face import Face

AGAIN = "Pick again on the photo that is connected now, or clear the choice"


@dataclass(frozen=True)
class Pick:
    """A face that was picked.

    Attributes:
        photo: sha256 of the photo's size and pixels, as ``Reference.photo_sha256``.
        x, y: the middle of the face's box, as fractions of the photo's width and height.
    """

    photo: str
    x: float
    y: float

    @classmethod
    def of(cls, face: Face, photo: Image.Image, photo_sha256: str) -> "Pick":
        """The pick that means a face."""
        left, top, right, bottom = map(float, face.box)
        return cls(
            photo_sha256, round((left + right) / 2 / photo.width, 4), round((top + bottom) / 2 / photo.height, 4)
        )

    def find(self, faces: Sequence[Face], photo: Image.Image, number: int) -> Face:
        """The face that is meant: of those whose boxes hold the place, the one whose middle is nearest.

        Args:
            faces: those on the photo.
            photo: whose sha256 is the pick's.
            number: the photo's, for the message.

        Raises:
            HyperLoRAError: there is none.
        """
        place = np.array([self.x * photo.width, self.y * photo.height])

        def away(face: Face) -> float:
            return float(np.linalg.norm((face.box[:2] + face.box[2:]) / 2 - place))

        candidates = [face for face in faces if (face.box[:2] <= place).all() and (place <= face.box[2:]).all()]
        if not candidates:
            raise HyperLoRAError(
                f"a face was picked on photo {number}, {self.x:.0%} from the left and {self.y:.0%} from the top, where "
                f"none of the {len(faces)} faces is that the face models find there. {AGAIN}"
            )
        return min(candidates, key=away)


def read_picks(text: str) -> list[Pick]:
    """Picks out of a widget's text: a JSON list of ``{"photo": sha256, "x": 0..1, "y": 0..1}``; empty is none.

    Raises:
        HyperLoRAError: it is something else.
    """
    try:
        return [_read(entry) for entry in json.loads(text.strip() or "[]")]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise HyperLoRAError(
            f"the picked faces cannot be read from {shortened(text)}: a list was expected, as "
            '[{"photo": "<sha256>", "x": 0.41, "y": 0.33}]; POST /hyperlora/faces gives such entries'
        ) from error


def check_picks(picks: Sequence[Pick], photos: Mapping[str, object]) -> None:
    """See that every pick is on one of the photos, which are given by their sha256.

    Raises:
        HyperLoRAError: one is not.
    """
    for pick in picks:
        if pick.photo not in photos:
            connected = ", ".join(sha256[:8] for sha256 in photos)
            raise HyperLoRAError(
                f"a face was picked on another photo ({pick.photo[:8]}) than is connected now ({connected}): the photo "
                f"was exchanged, resized or edited since. {AGAIN}"
            )


def _read(entry: Mapping[str, object]) -> Pick:
    photo, x, y = str(entry["photo"]), float(entry["x"]), float(entry["y"])  # type: ignore[arg-type]
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise ValueError(f"the place {x}, {y} is outside the photo")
    return Pick(photo, x, y)
