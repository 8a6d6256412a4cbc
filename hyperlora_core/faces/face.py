"""A face on a photo."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Face:
    """One face on a photo; pixels of the photo throughout, float32.

    Attributes:
        box: ``(4,)``, left, top, right, bottom.
        score: how sure the detector is, 0..1.
        keypoints: ``(5, 2)``, eyes, nose, corners of the mouth.
        landmarks: ``(106, 2)``.
        embedding: ``(512,)``, unit length, of the face as it lies in the whole photo; None where it was not asked for.
    """

    box: np.ndarray
    score: float
    keypoints: np.ndarray
    landmarks: np.ndarray
    embedding: np.ndarray | None = None

    def scaled(self, by: float) -> "Face":
        """The face on the same photo at another size."""
        return replace(self, box=self.box * by, keypoints=self.keypoints * by, landmarks=self.landmarks * by)

    @property
    def area(self) -> float:
        """Of the box, in pixels."""
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))
