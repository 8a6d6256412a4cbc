"""The face models as insightface runs them, where a user chooses that; also what tests compare with.

insightface is imported here alone; its versions 0.7.3 to 2.1 give the same numbers.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from ..errors import MissingPackageError
from .engines import need_onnxruntime, provider_name, providers
from .networks import LEAST_SCORE
from .onnx_file import OnnxError


class Models:
    """insightface's three models, behind the methods of ``networks``.

    Args:
        files: of the detector, the landmarks and the embedder.
        device: on the CPU they stay there; else see ``engines.providers``.

    Attributes:
        provider: what they compute on: "CPU", "CUDA", ...

    Raises:
        MissingPackageError: insightface or onnxruntime is missing, or the latter is only half there.
        OnnxError: a file cannot be loaded.
    """

    def __init__(self, files: Sequence[Path], device: torch.device) -> None:
        runtime = need_onnxruntime()
        try:
            from insightface.model_zoo import get_model
        except ImportError as error:
            raise MissingPackageError(
                f"insightface was chosen to find faces, and cannot be imported ({error}): choose 'torch', or install "
                "it: pip install insightface"
            ) from error
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"insightface\.utils\.face_align")
        names = providers(runtime, device)
        networks = []
        for file in files:
            try:
                networks.append(get_model(str(file), providers=names))
            except Exception as error:  # whatever another's code may raise
                raise OnnxError(f"insightface cannot load {file} ({type(error).__name__})") from error
        self._detector, self._landmarker, self._embedder = networks
        self._detector.prepare(0, det_thresh=LEAST_SCORE, input_size=(640, 640))
        self.provider = provider_name(self._detector.session.get_providers()[0])

    def detect(self, picture: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """See ``networks.Detector``."""
        return self._detector.detect(_bgr(picture), input_size=(width, height))

    def landmarks(self, picture: np.ndarray, box: np.ndarray) -> np.ndarray:
        """See ``networks.Landmarker``."""
        return self._landmarker.get(_bgr(picture), _Face(bbox=box))

    def embedding(self, picture: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
        """See ``networks.Embedder``."""
        embedding = self._embedder.get(_bgr(picture), _Face(kps=keypoints))
        return (embedding / np.linalg.norm(embedding)).astype(np.float32)


class _Face(SimpleNamespace):
    """What insightface's models read of a face, and write into."""

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, value)


def _bgr(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture[..., ::-1])
