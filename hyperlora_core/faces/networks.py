"""The three networks of a pack of face models: what goes into each, and what its numbers mean.

Made to give what insightface gives with the same files: its sizes, means, anchors and limits. Pictures are
``(height, width, 3)``, RGB, uint8; places are (x, y), pixels of the picture.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from .onnx_file import Graph
from .warping import FACE_SIDE, alignment, inverted, moved, resize, warp

LEAST_SCORE = 0.5
_MOST_OVERLAP = 0.4  # of two boxes that are two faces
_KEYPOINTS = 5


class Run(Protocol):
    """Computes a network's outputs from pixel values ``(n, 3, h, w)``, float32; both on the CPU.

    Attributes:
        where: it computes, as users know it.
    """

    where: str

    def __call__(self, pixels: Tensor) -> list[Tensor]: ...


@dataclass(frozen=True)
class Network:
    """A network and how it is run.

    Attributes:
        path: its file.
        graph: of the file; its weights may have been left out.
        run: computes its outputs.
    """

    path: Path
    graph: Graph
    run: Run

    @property
    def takes_pixels(self) -> bool:
        """Whether it takes off the mean of its input itself, as those that were made with MXNet do."""
        names = [node.name for node in self.graph.nodes[:8]]
        subtracts = any(name.startswith(("Sub", "_minus")) for name in names)
        multiplies = any(name.startswith(("Mul", "_mul")) for name in names)
        return (subtracts and multiplies) or "bn_data" in names[:3]


def kind_of(graph: Graph) -> str | None:
    """What a network of a pack is for, by its shapes: "detection", "landmarks" or "recognition"; None for others."""
    if not graph.inputs or len(graph.inputs[0].shape) != 4:
        return None
    height, width = graph.inputs[0].shape[2:]
    if len(graph.outputs) >= 5:
        return "detection"
    if len(graph.outputs) != 1 or len(graph.inputs) != 1:
        return None
    if height == width == 192:
        return "landmarks" if graph.outputs[0].shape[-1:] == (212,) else None
    if height == width and height >= FACE_SIDE and height % 16 == 0:
        return "recognition"
    return None


def _values(pictures: Sequence[np.ndarray], mean: float, spread: float) -> Tensor:
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()
    return (stacked - mean) * (1 / spread)


class Detector:
    """SCRFD (Guo et al., ICLR 2022): faces, with five points of each.

    Args:
        network: with 6, 9, 10 or 15 outputs: scores, boxes and, of some, keypoints at three or five strides.
    """

    def __init__(self, network: Network) -> None:
        self._run = network.run
        outputs = len(network.graph.outputs)
        self._levels = 5 if outputs in (10, 15) else 3
        self._anchors = 1 if self._levels == 5 else 2
        self.has_keypoints = outputs == 3 * self._levels

    def detect(self, picture: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the faces of a picture, shrunk or enlarged to fit a size.

        Args:
            picture: any size.
            width, height: of what the network sees, multiples of 32.

        Returns:
            ``(faces, 5)``: left, top, right, bottom, score, surest first; and keypoints ``(faces, 5, 2)``.
        """
        rows, columns = picture.shape[:2]
        ratio = rows / columns
        fitted = (int(height / ratio), height) if ratio > height / width else (width, int(width * ratio))
        scale = fitted[1] / rows
        canvas = np.zeros((height, width, 3), np.uint8)
        canvas[: fitted[1], : fitted[0]] = resize(picture, *fitted)
        outputs = [output.numpy() for output in self._run(_values([canvas], 127.5, 128.0))]
        boxes, points = self._decoded(outputs, width, height)
        boxes[:, :4] /= scale
        order = np.argsort(-boxes[:, 4], kind="stable")
        boxes, points = boxes[order], points[order] / scale
        separate = _apart(boxes)
        return boxes[separate], points[separate].astype(np.float32)

    @staticmethod
    def misfit(shapes: Sequence[tuple[int, ...]], side: int) -> str | None:
        """What is wrong with the shapes of outputs for a square picture of ``side``; None where they are right."""
        levels = len(shapes) // 3
        anchors = 1 if levels == 5 else 2
        wide = (1, 4, 2 * _KEYPOINTS)
        expected = [(side // (8 << level)) ** 2 * anchors * channels for channels in wide for level in range(levels)]
        counts = [math.prod(shape) for shape in shapes]
        return None if counts == expected else f"it gives {counts} numbers, and {expected} were expected"

    def _decoded(self, outputs: list[np.ndarray], width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        boxes, points = [], []
        for level in range(self._levels):
            stride = 8 << level
            scores, edges, keypoints = (
                outputs[level + self._levels * part].reshape(-1, wide)
                for part, wide in enumerate((1, 4, 2 * _KEYPOINTS))
            )
            sure = np.flatnonzero(scores[:, 0] >= LEAST_SCORE)
            cells = sure // self._anchors
            columns = width // stride
            place = np.stack([cells % columns, cells // columns], axis=-1).astype(np.float32) * stride
            edges, spots = edges[sure] * stride, keypoints[sure].reshape(-1, _KEYPOINTS, 2) * stride
            boxes.append(np.hstack([place - edges[:, :2], place + edges[:, 2:], scores[sure]]))
            points.append(place[:, None] + spots)
        return np.vstack(boxes), np.vstack(points)


def _apart(boxes: np.ndarray) -> list[int]:
    """Non-maximum suppression: the indices of the boxes to keep, of ``(n, 5)`` sorted by score."""
    left, top, right, bottom = boxes[:, :4].T
    areas = (right - left + 1) * (bottom - top + 1)
    separate, candidates = [], np.arange(len(boxes))
    while candidates.size:
        surest, candidates = candidates[0], candidates[1:]
        separate.append(int(surest))
        wide = np.minimum(right[surest], right[candidates]) - np.maximum(left[surest], left[candidates]) + 1
        high = np.minimum(bottom[surest], bottom[candidates]) - np.maximum(top[surest], top[candidates]) + 1
        common = wide.clip(0) * high.clip(0)
        candidates = candidates[common / (areas[surest] + areas[candidates] - common) <= _MOST_OVERLAP]
    return separate


class Landmarker:
    """The outline, brows, eyes, nose and mouth of a face, as 106 points."""

    def __init__(self, network: Network) -> None:
        self._run, self._side = network.run, network.graph.inputs[0].shape[2]
        self._mean, self._spread = (0.0, 1.0) if network.takes_pixels else (127.5, 128.0)

    def landmarks(self, picture: np.ndarray, box: np.ndarray) -> np.ndarray:
        """``(106, 2)`` float32, of the face in a box: left, top, right, bottom."""
        # sums in single, the rest in double precision, as of insightface with NumPy before 2: the face box is rounded
        # before it is cut out, and where its edge lies between two pixels the last digit decides
        low, high = np.asarray(box[:2], np.float32), np.asarray(box[2:], np.float32)
        scale = self._side / (float((high - low).max()) * 1.5)
        x, y = (float(place) / 2 for place in high + low)
        half = self._side / 2
        to_crop = np.array([[scale, 0, half - x * scale], [0, scale, half - y * scale]])
        (output,) = self._run(_values([warp(picture, to_crop, self._side)], self._mean, self._spread))
        return moved((output.numpy().reshape(-1, 2) + 1) * (self._side // 2), inverted(to_crop))


class Embedder:
    """ArcFace (Deng et al., CVPR 2019): who a face is.

    Attributes:
        run: computes the network.
        mean, spread: input is ``(pixels - mean) / spread``, of pixels from 0 to 255.
    """

    def __init__(self, network: Network) -> None:
        self.run = network.run
        self.mean, self.spread = (0.0, 1.0) if network.takes_pixels else (127.5, 127.5)
        self._side = network.graph.inputs[0].shape[2]

    def of_aligned(self, face: np.ndarray) -> np.ndarray:
        """Embedding ``(length,)`` float32 of an aligned face, not of unit length."""
        (output,) = self.run(_values([face], self.mean, self.spread))
        return output.numpy().ravel()

    def embedding(self, picture: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
        """Embedding ``(length,)`` float32, of unit length, of the face with these keypoints ``(5, 2)``."""
        embedding = self.of_aligned(aligned(picture, keypoints, self._side))
        return (embedding / np.linalg.norm(embedding)).astype(np.float32)


def aligned(picture: np.ndarray, keypoints: np.ndarray, side: int = FACE_SIDE) -> np.ndarray:
    """A face as embedders take it: upright, ``(side, side, 3)`` uint8."""
    return warp(picture, alignment(keypoints) * (side / FACE_SIDE), side)


def fitting(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """The width and height that a picture needs to be seen at a scale, as ``Detector.detect`` takes them."""
    width, height = (max(32, math.ceil(side * scale / 32) * 32) for side in size)
    return width, height
