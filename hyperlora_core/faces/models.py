"""The face models of a pack such as antelopev2: found by what they are, and opened for an engine."""

import logging
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from .. import files, ops
from ..errors import HyperLoRAError, MissingPackageError
from ..files.encoders import Encoder, face_encoder
from . import insightface_engine
from .engines import ENGINES, OnnxRuntimeRun, TorchRun, need_onnxruntime
from .networks import Detector, Embedder, Landmarker, Network, kind_of
from .onnx_file import Graph, OnnxError, UnreadOnnxError, read_graph
from .onnx_module import OnnxModule

_ROLES = {
    "detection": "a face detector (antelopev2: scrfd_10g_bnkps.onnx)",
    "landmarks": "106 landmarks (antelopev2: 2d106det.onnx)",
    "recognition": "a face embedder (antelopev2: glintr100.onnx)",
}
_UNUSED = ("1k3d68", "genderage")  # of antelopev2: 3D landmarks, age and sex
_EMBEDDING = 512
_CHECKED_SIDE = 128  # of the picture that a detector's shapes are checked with

log = logging.getLogger(__name__)


class Finds(Protocol):
    """Finds the faces of a picture; see ``Detector``."""

    def detect(self, picture: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]: ...


class Places(Protocol):
    """Finds a face's landmarks; see ``Landmarker``."""

    def landmarks(self, picture: np.ndarray, box: np.ndarray) -> np.ndarray: ...


class Embeds(Protocol):
    """Tells who a face is; see ``Embedder``."""

    def embedding(self, picture: np.ndarray, keypoints: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class FaceModels:
    """The three models of a pack, opened.

    Attributes:
        detector, landmarker, embedder: what they do.
        engine: what runs them: "torch", "onnxruntime", "insightface", or the first two where one model needs it.
        device: on what, as torch ("cpu", "cuda:0") or onnxruntime ("CPU", "CUDA") calls it.
        runs: what torch runs; a host moves their modules.
        encoder: which embedder it is.
        embedder_file: where it is.
        content: sha256 of the three files.
    """

    detector: Finds
    landmarker: Places
    embedder: Embeds
    engine: str
    device: str
    runs: tuple[TorchRun, ...]
    encoder: Encoder
    embedder_file: Path
    content: tuple[str, ...]


def load(path: Path, engine: str = ENGINES[0], device: str | torch.device = "cpu", operations: Any = ops) -> FaceModels:
    """Open the models of a folder.

    Args:
        path: the folder, or one that holds a folder of the same name, as a zip often unpacks.
        engine: one of ``ENGINES``.
        device: where torch computes; the other engines take a GPU of their own where it is no CPU.
        operations: classes for the torch modules' leaves; see ``ops``.

    Raises:
        HyperLoRAError: the folder lacks a model, or one is broken or of another kind.
        MissingPackageError: a package that the engine needs is missing.
    """
    if engine not in ENGINES:
        raise HyperLoRAError(f"the face engine {engine!r} is unknown: one of {', '.join(ENGINES)} was expected")
    folder, candidates = _model_files(path)
    networks: dict[str, tuple[Path, Graph]] = {}
    for file in candidates:
        graph = _graph(file)
        kind = kind_of(graph)
        if kind is None:
            log.info("%s is no model of a face pack: passed over", file)
        elif kind not in networks:
            _check(kind, graph, folder)
            networks[kind] = (file, graph)
    lacking = [role for kind, role in _ROLES.items() if kind not in networks]
    if lacking:
        raise HyperLoRAError(
            f"the face models in {folder} lack {' and '.join(lacking)}; "
            f"found: {', '.join(file.name for file in candidates)}. Unpack the whole antelopev2 there"
        )
    pack = _opened({kind: networks[kind] for kind in _ROLES}, engine, torch.device(device), operations)
    log.info("Faces are found with %s by %s on %s", folder, pack.engine, pack.device)
    return pack


def _opened(networks: dict[str, tuple[Path, Graph]], engine: str, device: torch.device, operations: Any) -> FaceModels:
    files_of = [file for file, _ in networks.values()]
    embedder_file, _ = networks["recognition"]
    identification = (face_encoder(embedder_file), embedder_file, tuple(face_encoder(file).sha256 for file in files_of))
    if engine == "insightface":
        try:
            models = insightface_engine.Models(files_of, device)
        except OnnxError as error:
            raise HyperLoRAError(f"the face models cannot be used: {error}") from error
        return FaceModels(models, models, models, engine, models.provider, (), *identification)
    detector, landmarker, embedder = (
        _network(kind, file, graph, engine, device, operations) for kind, (file, graph) in networks.items()
    )
    all_three = (detector, landmarker, embedder)
    used = dict.fromkeys("torch" if isinstance(network.run, TorchRun) else "onnxruntime" for network in all_three)
    places = dict.fromkeys(network.run.where for network in all_three)
    return FaceModels(
        Detector(detector),
        Landmarker(landmarker),
        Embedder(embedder),
        " and ".join(used),
        " and ".join(places),
        tuple(network.run for network in all_three if isinstance(network.run, TorchRun)),
        *identification,
    )


def load_embedder(file: Path, engine: str = ENGINES[0], device: str | torch.device = "cpu") -> Embedder:
    """Open a face embedder in ArcFace's format alone.

    Args:
        file: .onnx, whose input is an aligned face.
        engine, device: as for ``load``; what insightface would run, onnxruntime does.

    Raises:
        HyperLoRAError: it is broken, or something else.
        MissingPackageError: it needs onnxruntime, which is missing.
    """
    graph = _graph(file)
    if kind_of(graph) != "recognition":
        raise HyperLoRAError(f"{file} is no face embedder in ArcFace's format, which takes faces of 112 x 112 pixels")
    engine = "onnxruntime" if engine == "insightface" else engine
    return Embedder(_network("recognition", file, graph, engine, torch.device(device), ops))


def _network(kind: str, file: Path, graph: Graph, engine: str, device: torch.device, operations: Any) -> Network:
    """Open one model, of which all but the weights was read already.

    Raises:
        HyperLoRAError: it is broken.
        MissingPackageError: it needs onnxruntime, which is missing.
    """
    try:
        if engine == "onnxruntime":
            return Network(file, graph, OnnxRuntimeRun(file, device))
        return Network(file, graph, TorchRun(_module(kind, file, operations), device))
    except UnreadOnnxError as error:
        if engine == "torch":
            raise HyperLoRAError(
                f"torch cannot run the face model {file}, for {error}: choose 'onnxruntime'"
            ) from error
        try:
            need_onnxruntime()
        except MissingPackageError as missing:
            raise MissingPackageError(
                f"torch cannot run the face model {file}, for {error}. {missing.args[0]}"
            ) from error
        log.info("The face model %s runs on onnxruntime, for %s", file, error)
        return _network(kind, file, graph, "onnxruntime", device, operations)
    except OnnxError as error:
        raise _broken(file, error) from error


def _module(kind: str, file: Path, operations: Any) -> OnnxModule:
    """A model as a torch module whose shapes were seen to fit."""
    graph = read_graph(file)
    side = {"detection": _CHECKED_SIDE, "landmarks": 192}.get(kind, graph.inputs[0].shape[2])
    module = OnnxModule(graph)
    shapes = module.check((1, 3, side, side))
    wrong = Detector.misfit(shapes, side) if kind == "detection" else _misfit(shapes, 212 if kind == "landmarks" else 0)
    if wrong:
        raise OnnxError(wrong)
    return module if operations is ops else OnnxModule(graph, operations)


def _misfit(shapes: Sequence[tuple[int, ...]], numbers: int) -> str | None:
    count = math.prod(shapes[0])
    return f"it gives {count} numbers, and {numbers} were expected" if numbers and count != numbers else None


def _check(kind: str, graph: Graph, folder: Path) -> None:
    if kind == "detection" and len(graph.outputs) not in (9, 15):
        raise HyperLoRAError(f"the face detector in {folder} gives no keypoints; scrfd_10g_bnkps.onnx does")
    length = (graph.outputs[0].shape or (0,))[-1]
    if kind == "recognition" and length not in (0, _EMBEDDING):
        raise HyperLoRAError(
            f"the face embedder in {folder} makes embeddings of {length} numbers; {_EMBEDDING} are needed"
        )


def _graph(file: Path) -> Graph:
    try:
        return read_graph(file, weights=False)
    except OnnxError as error:
        raise _broken(file, error) from error
    except OSError as error:
        raise HyperLoRAError(f"the face model {file} cannot be read: {error.strerror or error}") from error


def _broken(file: Path, error: OnnxError) -> HyperLoRAError:
    reason = files.foreign(file)
    return HyperLoRAError(
        f"the face model {file} {reason}"
        if reason
        else f"the face model {file} cannot be read, for {error}: {files.DOWNLOAD_AGAIN}"
    )


def stamp(path: Path) -> files.Stamp:
    """What tells that a folder's models were replaced."""
    places = [place for place in (path, path / path.name) if place.is_dir()]
    return files.stamp(sorted(file for place in places for file in place.glob("*.onnx")))


def _model_files(path: Path) -> tuple[Path, list[Path]]:
    """The folder that holds the models, and those of its files that may be needed."""
    folder = path / path.name if (path / path.name).is_dir() else path
    candidates = sorted(f for f in folder.glob("*.onnx") if f.stem not in _UNUSED and not files.is_clutter(f.name))
    if not candidates:
        raise HyperLoRAError(f"there are no face models in {folder}: {_packed(folder)}")
    return folder, candidates


def _packed(folder: Path) -> str:
    """What to do about a folder without models: unpack the zip that lies there, beside it or instead of it."""
    beside = [folder, folder.with_name(f"{folder.name}.zip")] if folder.name else []
    below = sorted(folder.glob("*.zip")) if folder.is_dir() else []
    archive = next((file for file in [*below, *beside] if file.is_file()), None)
    if archive is not None and not zipfile.is_zipfile(archive):
        with archive.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
        cut = f"is cut short: {files.DOWNLOAD_AGAIN}"
        return f"{archive} {cut if is_zip else files.foreign(archive) or cut}"
    if archive is not None:
        target = folder.with_suffix("") if archive == folder else folder
        return f"{archive} is still packed. Unpack it, so that its .onnx files lie in {target}"
    return f"it needs {', '.join(_ROLES.values())}. Unpack the whole antelopev2 there"
