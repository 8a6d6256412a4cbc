"""The drawn person who comes nearest to a real one: of like skin and hair, then by the face embedder."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from demo.drawn import people
from demo.drawn.drawing import colours, draw
from demo.drawn.folder import SIDE, as_image
from demo.drawn.scenes import plain
from hyperlora_core.errors import NoFaceError
from hyperlora_core.faces import Face

from . import world

CANDIDATES, OF_LIKE_COLOURS = 5000, 24
SEED = world.SEED + 9

_NO_SKIN = 28.0  # of CIELAB, which shadows on a forehead stay below


@dataclass(frozen=True)
class Colours:
    """What is read off a photo, RGB in [0, 1].

    Attributes:
        skin: of the cheeks.
        hair: above the forehead.
    """

    skin: Tensor
    hair: Tensor


def read(photo: Image.Image, face: Face) -> Colours:
    """Medians of small squares: two on the cheeks, and what follows on the skin above the forehead."""
    left, right, _, mouth_left, mouth_right = face.keypoints
    eyes, mouth = (left + right) / 2, (mouth_left + mouth_right) / 2
    down, across = mouth - eyes, (right - left) / 2
    side = float(np.linalg.norm(down)) * 0.10
    skin = _median(photo, [left + 0.55 * down - 0.25 * across, right + 0.55 * down + 0.25 * across], side)
    for up in np.arange(0.7, 1.6, 0.1):
        hair = _median(photo, [eyes - up * down], side)
        if float((_lab(hair) - _lab(skin)).norm()) > _NO_SKIN:
            return Colours(skin, _median(photo, [eyes - (up + 0.07) * down], side))
    return Colours(skin, skin)


def _median(photo: Image.Image, places: list[np.ndarray], side: float) -> Tensor:
    pixels = []
    for x, y in places:
        square = photo.crop((round(x - side), round(y - side), round(x + side) + 1, round(y + side) + 1))
        pixels.append(np.asarray(square.convert("RGB"), np.float32).reshape(-1, 3))
    return torch.from_numpy(np.median(np.concatenate(pixels), axis=0) / 255)


def nearest(photo: Image.Image) -> Tensor:
    """The person ``(T,)`` who comes nearest to the largest face of a photo.

    Raises:
        NoFaceError: there is none.
    """
    face = max(world.analyzer().detect(photo, embed=True), key=lambda candidate: candidate.area, default=None)
    if face is None or face.embedding is None:
        raise NoFaceError("no face was found on the photo: use one on which a face is larger, or seen from the front")
    target, persons = read(photo, face), people.people(SEED, range(CANDIDATES))
    skin, hair = colours(persons)
    apart = _lab(skin).sub(_lab(target.skin)).norm(dim=1) + _lab(hair).sub(_lab(target.hair)).norm(dim=1)
    like = persons[apart.argsort()[:OF_LIKE_COLOURS]]
    own = torch.from_numpy(face.embedding)
    faces = [world.face(as_image(picture)) for picture in draw(like, plain(len(like)))]
    scores = [-1.0 if embed is None else float(embed @ own) for embed in faces]
    return like[int(np.argmax(scores))]


def portrait(person: Tensor) -> Image.Image:
    """A plain photo of a drawn person."""
    return as_image(draw(person[None], plain(1), SIDE)[0])


def _lab(rgb: Tensor) -> Tensor:
    """CIELAB, where distances are about as eyes see them; of sRGB ``(..., 3)`` in [0, 1]."""
    from skimage.color import rgb2lab

    return torch.from_numpy(rgb2lab(rgb.numpy())).float()
