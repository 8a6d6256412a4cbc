"""Faces on photos: boxes, landmarks and embeddings, by the face models of a pack.

Preprocessing and the two passes of the embedding are what the released weights were trained on.
"""

import logging
import threading
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps

from .. import ops
from ..errors import HyperLoRAError, NoFaceError
from . import models
from .crops import face_box
from .engines import ENGINES
from .face import Face
from .models import FaceModels
from .networks import fitting

ORDERS = ("largest", "left to right", "detection order", "best match")

_DETECTION_SIZES = (640, 512, 384, 256)
_LOOKED_AT_ONCE = 4096  # pixels of the longer side up to which the largest size shows each face of 100 pixels
_MARGINS = (0.25, 0.5, 1.0)  # of the longer side: tight crops are found once there is something around them

log = logging.getLogger(__name__)


class FaceAnalyzer:
    """Finds and describes faces.

    Attributes:
        models: detector, landmarker and embedder.
        path: the folder of its models.
        embedder: which face embedder it has.
        content: sha256 of its models.
        engine: the engine that was requested, one of ``ENGINES``.
        runs_on: engine and device that compute, as "torch on cuda:0".
        cache_key: what its results depend on.
    """

    _loaded: dict[Hashable, tuple[object, "FaceAnalyzer"]] = {}  # noqa: RUF012 - one cache for the process
    _lock = threading.Lock()

    def __init__(self, models: FaceModels, path: Path, engine: str = ENGINES[0]) -> None:
        self.models, self.path, self.engine = models, path, engine
        self.embedder, self.content = models.encoder, models.content
        self.runs_on = f"{models.engine} on {models.device}"
        self.cache_key = (models.content, self.runs_on)

    @classmethod
    def load(
        cls,
        path: str | Path,
        engine: str = ENGINES[0],
        device: str | torch.device = "cpu",
        operations: Any = ops,
        on_new: Callable[["FaceAnalyzer"], object] = lambda analyzer: None,
    ) -> "FaceAnalyzer":
        """Load a face pack, once a process for each way of running it, and again when its files were replaced.

        Nothing is ever downloaded.

        Args:
            path: the folder of the .onnx files, e.g. ``models/insightface/models/antelopev2``.
            engine: what runs them, one of ``ENGINES``.
            device: where torch computes; the other engines take a GPU of their own where it is no CPU.
            operations: classes for the leaves of torch's modules; see ``ops``.
            on_new: called with a new analyzer, so that a host can take over its weights.

        Raises:
            HyperLoRAError: the folder lacks a model, or one is broken or of another kind.
            MissingPackageError: a package that the engine needs is missing.
        """
        with cls._lock:
            key = (Path(path).resolve(), engine, str(device), operations)
            stamp = models.stamp(key[0])
            if key not in cls._loaded or cls._loaded[key][0] != stamp:
                analyzer = cls(models.load(key[0], engine, device, operations), key[0], engine)
                on_new(analyzer)
                cls._loaded[key] = (stamp, analyzer)
            return cls._loaded[key][1]

    def detect(self, photo: Image.Image, embed: bool = False, margins: bool = True) -> list[Face]:
        """Find all faces.

        Smaller detector sizes are tried until a face is found, then the photo with a margin around it: a face that
        fills the frame is found so. Photos longer than 4096 pixels are looked at once more, at a size at which a face
        of 100 pixels is as large as on one of 4096.

        Args:
            photo: RGB.
            embed: compute each face's embedding too, which takes longer than everything else together.
            margins: also try with margins around the photo, which takes most of the time where there is no face.

        Returns:
            The faces in the detector's order, surest first; empty where there is none.
        """
        for margin in (0.0, *_MARGINS) if margins else (0.0,):
            border = round(margin * max(photo.size))
            pixels = _pixels(ImageOps.expand(photo, border) if border else photo)
            detections = next(
                (detections for size in _DETECTION_SIZES if (detections := self._detect_at(pixels, size, size))), []
            )
            if not border and max(photo.size) > _LOOKED_AT_ONCE:
                scale = _DETECTION_SIZES[0] / _LOOKED_AT_ONCE
                finer = self._detect_at(pixels, *fitting(photo.size, scale))
                detections += [
                    face for face in finer if not any(_overlap(face[0], coarse[0]) > 0.2 for coarse in detections)
                ]
            if detections:
                return [self._describe(pixels, box, points, embed, -border) for box, points in detections]
        return []

    def id_embedding(self, photo: Image.Image, face: Face) -> np.ndarray:
        """The embedding that the network is conditioned on: of the face, found again in a crop twice its face box.

        Where that crop holds several faces, the one that overlaps ``face`` most is taken.

        Args:
            photo: RGB.
            face: a face on it.

        Returns:
            ``(512,)`` float32, unit length.

        Raises:
            NoFaceError: no face is found in the crop.
        """
        box = face_box(face.landmarks, scale=2)
        pixels = _pixels(photo.crop(box))
        box_in_crop = face.box - np.array([round(box[0]), round(box[1])] * 2)
        for size in _DETECTION_SIZES:
            detections = self._detect_at(pixels, size, size)
            if detections:
                _, keypoints = max(detections, key=lambda detection: _overlap(detection[0], box_in_crop))
                return self.models.embedder.embedding(pixels, keypoints)
        raise NoFaceError("a face was found, but not again in the crop around it: use a sharper or larger photo")

    def _detect_at(self, pixels: np.ndarray, width: int, height: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Boxes with their scores ``(5,)``, and keypoints ``(5, 2)``."""
        if min(pixels.shape[:2]) * max(width, height) < max(pixels.shape[:2]):
            return []  # a strip, of which nothing is left at this size
        boxes, keypoints = self.models.detector.detect(pixels, width, height)
        return [
            (box, points)
            for box, points in zip(boxes, keypoints, strict=True)
            if min(box[2] - box[0], box[3] - box[1]) >= 1
        ]

    def _describe(self, pixels: np.ndarray, box: np.ndarray, keypoints: np.ndarray, embed: bool, by: float) -> Face:
        """A face on ``pixels``, in coordinates of the photo: ``by`` is added to all of its places."""
        landmarks = self.models.landmarker.landmarks(pixels, box[:4])
        return Face(
            (box[:4] + by).astype(np.float32),
            float(box[4]),
            (keypoints + by).astype(np.float32),
            (landmarks + by).astype(np.float32),
            self.models.embedder.embedding(pixels, keypoints) if embed else None,
        )


def sort_faces(faces: Sequence[Face], order: str = "largest", reference: np.ndarray | None = None) -> list[Face]:
    """Order the faces of a photo.

    Args:
        faces: in the detector's order.
        order: one of ``ORDERS``.
        reference: ``(512,)``, for "best match": the embedding to be near to.

    Raises:
        HyperLoRAError: the order is unknown, or its reference is missing, or the faces' embeddings are.
    """
    keys: dict[str, Callable[[Face], float]] = {
        "largest": lambda face: -face.area,
        "left to right": lambda face: float(face.box[0] + face.box[2]),
        "detection order": lambda face: 0.0,
        "best match": lambda face: 0.0 if reference is None else -float(_embedding_of(face) @ reference),
    }
    if order not in keys:
        raise HyperLoRAError(f"the order {order!r} is unknown: one of {', '.join(ORDERS)} was expected")
    if order == "best match" and reference is None:
        raise HyperLoRAError("the order 'best match' needs a reference: connect a photo of the person")
    return sorted(faces, key=keys[order])


def _embedding_of(face: Face) -> np.ndarray:
    if face.embedding is None:
        raise HyperLoRAError("the order 'best match' needs the faces' embeddings: detect(photo, embed=True)")
    return face.embedding


def choose_face(faces: Sequence[Face], index: int = 0) -> Face:
    """Pick one of a photo's faces by its place among them, from 0.

    Raises:
        NoFaceError: there is none, or not so many.
    """
    if not faces:
        raise NoFaceError(
            "no face was found. Use a photo that shows the face from the front, in good light, at least 100 pixels wide"
        )
    if not 0 <= index < len(faces):
        raise NoFaceError(f"face {index} was asked for, but only {len(faces)} found: the first is 0")
    return faces[index]


def draw_faces(
    photo: Image.Image, faces: Sequence[Face], highlighted: Sequence[Face], labels: Sequence[str] = ()
) -> Image.Image:
    """A photo with its faces framed, and labelled or numbered; highlighted faces have a thick double frame."""
    drawn = photo.copy()
    draw = ImageDraw.Draw(drawn)
    line = max(1, round(max(photo.size) / 200))
    for number, face in enumerate(faces):
        box = tuple(float(value) for value in face.box)
        if any(face is highlight for highlight in highlighted):
            draw.rectangle(box, outline="white", width=3 * line)
            draw.rectangle(box, outline="limegreen", width=2 * line)
        else:
            draw.rectangle(box, outline="orange", width=line)
        above = box[1] >= 16 * line  # beside the face, where there is room
        draw.text(
            (box[0], box[1] - 2 * line) if above else (box[0] + 4 * line, box[1] + 4 * line),
            labels[number] if labels else str(number),
            anchor="lb" if above else "la",
            fill="white",
            font_size=10 * line,
            stroke_fill="black",
            stroke_width=line,
        )
    return drawn


def _pixels(photo: Image.Image) -> np.ndarray:
    return np.asarray(photo)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    a, b = a[:4], b[:4]
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    common = float(np.prod(np.clip(high - low, 0, None)))
    areas = [float(np.prod(box[2:] - box[:2])) for box in (a, b)]
    return common / (sum(areas) - common)
