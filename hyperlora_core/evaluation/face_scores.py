"""Face embeddings by which the identity of pictures is judged: best by a model that no method was trained with.

The paper's judge is CurricularFace (Huang et al., CVPR 2020, arXiv 2004.00288): an IR-101 network, in PyTorch's or in
ONNX's format a user's own file. Any ONNX model in ArcFace's format does, and is named for what it is.
"""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from .. import files
from ..devices import check_device
from ..errors import HyperLoRAError
from ..faces import Face, FaceAnalyzer, sort_faces
from ..faces.models import load_embedder
from ..faces.networks import aligned
from ..faces.warping import FACE_SIDE
from ..files.encoders import Encoder, face_encoder, is_known_embedder

_UNITS = {24: (3, 4, 14, 3), 49: (3, 13, 30, 3), 50: (3, 8, 36, 3)}
"""Blocks of the IR networks of 50, 101 and 152 layers, in stages of 64, 128, 256 and 512 channels."""
_DEPTHS = (64, 128, 256, 512)


@dataclass(frozen=True)
class FaceJudge:
    """What finds a picture's face and describes it.

    Attributes:
        analyzer: finds it.
        encoder: what describes it.
    """

    analyzer: FaceAnalyzer
    encoder: Encoder
    _embed: Callable[[np.ndarray], np.ndarray]

    @classmethod
    def load(cls, analyzer: FaceAnalyzer, path: str | Path | None, device: str = "cpu") -> "FaceJudge":
        """Load an embedder.

        Args:
            analyzer: finds faces.
            path: ``.onnx`` in ArcFace's format; ``.pth``, ``.pt`` or ``.safetensors`` of an IR network, as
                CurricularFace's backbone is published. None takes the analyzer's own embedder.
            device: where it computes.

        Raises:
            HyperLoRAError: it cannot be read, or is something else.
        """
        path = Path(path) if path is not None else analyzer.models.embedder_file
        if not path.is_file():
            raise HyperLoRAError(f"there is no face embedder {path}")
        if path.suffix.lower() == ".onnx":
            return cls(analyzer, face_encoder(path), load_embedder(path, analyzer.engine, device).of_aligned)
        return cls(analyzer, face_encoder(path), _of_network(read_network(path), device))

    @property
    def remark(self) -> str:
        """How far it can be believed."""
        who = f"{self.encoder.name} ({self.encoder.sha256[:10]})"
        own = self.encoder == self.analyzer.embedder
        if own or is_known_embedder(self.encoder):
            return (
                f"ID Sim is by {who}, which identity methods are trained with or read faces by: that flatters them. "
                "Give a model that was not, such as CurricularFace, with --id-model"
            )
        return f"ID Sim is by {who}"

    def faces(self, picture: Image.Image) -> tuple[Face, ...]:
        """The faces on an RGB picture, the largest first."""
        return tuple(sort_faces(self.analyzer.detect(picture)))

    def embedding(self, picture: Image.Image, face: Face) -> np.ndarray:
        """Of a face on an RGB picture, float32, unit length."""
        embedding = self._embed(aligned(np.asarray(picture), face.keypoints))
        return (embedding / np.linalg.norm(embedding)).astype(np.float32)


class IRNetwork(nn.Module):
    """A residual network of faces, as face.evoLVe, TFace and CurricularFace name its parts.

    ``(N, 3, 112, 112)``, RGB in -1..1 -> ``(N, 512)``.

    Args:
        units: blocks of each stage.
        affine: whether the last norm has a scale and a shift.
    """

    def __init__(self, units: tuple[int, ...], affine: bool) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        before, blocks = 64, []
        for depth, count in zip(_DEPTHS, units, strict=True):
            for place in range(count):
                blocks.append(_Block(before, depth, 2 if place == 0 else 1))
                before = depth
        self.body = nn.Sequential(*blocks)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(512 * (FACE_SIDE // 16) ** 2, 512),
            nn.BatchNorm1d(512, affine=affine),
        )

    def forward(self, faces: Tensor) -> Tensor:
        """See the class."""
        return self.output_layer(self.body(self.input_layer(faces)))


class _Block(nn.Module):
    def __init__(self, before: int, depth: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if before != depth:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(before, depth, 1, stride, bias=False), nn.BatchNorm2d(depth))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(before),
            nn.Conv2d(before, depth, 3, 1, 1, bias=False),
            nn.PReLU(depth),
            nn.Conv2d(depth, depth, 3, stride, 1, bias=False),
            nn.BatchNorm2d(depth),
        )

    def forward(self, faces: Tensor) -> Tensor:
        return self.shortcut_layer(faces) + self.res_layer(faces)


def read_network(path: Path) -> IRNetwork:
    """Read an IR network of 50, 101 or 152 layers.

    Args:
        path: its state dict; of PyTorch's own files tensors alone are read, code in them is not run.

    Raises:
        HyperLoRAError: it is something else.
    """
    state = {name.removeprefix("module."): value for name, value in _state_of(path).items()}
    blocks = len({name.split(".")[1] for name in state if name.startswith("body.")})
    if blocks not in _UNITS or any(".res_layer.5." in name for name in state):
        raise HyperLoRAError(
            f"the face embedder {path} is no IR network of 50, 101 or 152 layers, as CurricularFace's backbone is: "
            "give that, or an .onnx in ArcFace's format"
        )
    network = IRNetwork(_UNITS[blocks], "output_layer.4.weight" in state)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise HyperLoRAError(f"the face embedder {path} is an IR network of another shape ({reason})") from error
    return network.requires_grad_(False).eval()


def _state_of(path: Path) -> Mapping[str, Tensor]:
    if path.suffix.lower() == ".safetensors":
        return files.open_safetensors(path).load()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError) as error:
        raise HyperLoRAError(
            f"the face embedder {path} cannot be read as tensors of PyTorch ({type(error).__name__}): a state dict is "
            "needed, for code in such files is not run"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise HyperLoRAError(f"the face embedder {path} is no state dict: save the backbone's alone")
    return state


def _of_network(network: IRNetwork, device: str) -> Callable[[np.ndarray], np.ndarray]:
    check_device(device, "--device")
    network.to(device)

    @torch.inference_mode()
    def embed(face: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(face).permute(2, 0, 1)[None].float().to(device)
        return network(pixels / 127.5 - 1)[0].cpu().numpy()

    return embed
