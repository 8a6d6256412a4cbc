"""The face models of a pack such as antelopev2: found by what they are, run by insightface on onnxruntime.

insightface and onnxruntime are imported here alone, when a pack is loaded.
"""

import logging
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from . import files
from .encoders import Encoder, face_encoder
from .errors import HyperLoRAError, MissingPackageError

PROVIDERS = ("auto", "CUDA", "ROCm", "CoreML", "DirectML", "CPU")

_EXECUTION_PROVIDERS = {
    "CUDA": "CUDAExecutionProvider",
    "ROCm": "ROCMExecutionProvider",
    "CoreML": "CoreMLExecutionProvider",
    "DirectML": "DmlExecutionProvider",
    "CPU": "CPUExecutionProvider",
}
_ROLES = {
    "detection": "a face detector (antelopev2: scrfd_10g_bnkps.onnx)",
    "landmark_2d_106": "106 landmarks (antelopev2: 2d106det.onnx)",
    "recognition": "a face embedder (antelopev2: glintr100.onnx)",
}
_UNUSED = ("1k3d68", "genderage")  # of antelopev2: 3D landmarks, age and sex
_EMBEDDING = 512
_GPU_PACKAGES = ("onnxruntime-gpu", "onnxruntime-rocm", "onnxruntime-directml")
_INSTALL_GPU = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FaceModels:
    """insightface's three models.

    Attributes:
        detector: boxes and keypoints of a picture.
        landmarker: 106 landmarks of a face.
        embedder: the embedding of a face.
        provider: what runs them, one of ``PROVIDERS`` without "auto".
        encoder: which embedder it is.
        content: sha256 of the three files.
    """

    detector: Any
    landmarker: Any
    embedder: Any
    provider: str
    encoder: Encoder
    content: tuple[str, ...]

    def landmarks(self, pixels: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Landmarks ``(106, 2)`` of a face on a picture ``(height, width, BGR)``."""
        from insightface.app.common import Face

        return self.landmarker.get(pixels, Face(bbox=box))

    def embedding(self, pixels: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
        """Embedding ``(512,)`` of unit length of a face on a picture ``(height, width, BGR)``."""
        from insightface.app.common import Face

        embedding = self.embedder.get(pixels, Face(kps=keypoints))
        return (embedding / np.linalg.norm(embedding)).astype(np.float32)


def load(path: Path, provider: str = "auto", threads: int | None = None) -> FaceModels:
    """Load the models of a folder.

    Args:
        path: the folder, or one that holds a folder of the same name, as a zip often unpacks.
        provider: one of ``PROVIDERS``; "auto" takes the first that onnxruntime offers.
        threads: that each model computes with; None leaves it to onnxruntime, which takes all cores.

    Raises:
        HyperLoRAError: the folder lacks a model, or one is broken or of another kind.
        MissingPackageError: a package is missing, or the provider is.
    """
    folder, models_found = _model_files(path)
    names = _provider_names(provider)
    models: dict[str, Any] = {}
    read_from: dict[str, Path] = {}
    for file in models_found:
        model = _load_model(file, names, threads)
        task = getattr(model, "taskname", None)
        if task in _ROLES and task not in models:
            models[task], read_from[task] = model, file
    lacking = [role for task, role in _ROLES.items() if task not in models]
    if lacking:
        raise HyperLoRAError(
            f"the face models in {folder} lack {' and '.join(lacking)}; "
            f"found: {', '.join(file.name for file in models_found)}. Unpack the whole antelopev2 there"
        )
    detector, landmarker, embedder = (models[task] for task in _ROLES)
    detector.prepare(0, det_thresh=0.5, input_size=(640, 640))
    if not detector.use_kps:
        raise HyperLoRAError(f"the face detector in {folder} gives no keypoints; scrfd_10g_bnkps.onnx does")
    if embedder.output_shape[-1] != _EMBEDDING:
        raise HyperLoRAError(
            f"the face embedder in {folder} makes embeddings of {embedder.output_shape[-1]} numbers; "
            f"{_EMBEDDING} are needed"
        )
    used = _provider_in_use(detector.session.get_providers()[0], provider)
    log.info("Faces are found with %s on %s", folder, used)
    content = tuple(face_encoder(read_from[task]).sha256 for task in _ROLES)
    return FaceModels(detector, landmarker, embedder, used, face_encoder(read_from["recognition"]), content)


def load_embedder(file: Path, provider: str = "auto") -> Callable[[np.ndarray], np.ndarray]:
    """Load a face embedder in ArcFace's format alone.

    Args:
        file: .onnx, whose input is a face of 112 x 112 pixels.
        provider: one of ``PROVIDERS``; "auto" takes the first that onnxruntime offers.

    Returns:
        Aligned face ``(112, 112, RGB)`` of uint8 -> embedding ``(D,)``.

    Raises:
        HyperLoRAError: it is something else.
        MissingPackageError: a package is missing, or the provider is.
    """
    model = _load_model(file, _provider_names(provider), None)
    if getattr(model, "taskname", None) != "recognition":
        raise HyperLoRAError(f"{file} is no face embedder in ArcFace's format, which takes faces of 112 x 112 pixels")
    return lambda aligned: model.get_feat(np.ascontiguousarray(aligned[..., ::-1])).ravel()


def stamp(path: Path) -> files.Stamp:
    """What tells that a folder's models were replaced."""
    places = [place for place in (path, path / path.name) if place.is_dir()]
    return files.stamp(sorted(file for place in places for file in place.glob("*.onnx")))


def _model_files(path: Path) -> tuple[Path, list[Path]]:
    """The folder that holds the models, and those of its files that may be needed."""
    folder = path / path.name if (path / path.name).is_dir() else path
    found = sorted(f for f in folder.glob("*.onnx") if f.stem not in _UNUSED and not files.is_clutter(f.name))
    if not found:
        raise HyperLoRAError(f"there are no face models in {folder}: {_packed(folder)}")
    return folder, found


def _packed(folder: Path) -> str:
    """What to do about a folder without models: unpack the zip that lies there, beside it or instead of it."""
    beside = [folder, folder.with_name(f"{folder.name}.zip")] if folder.name else []
    below = sorted(folder.glob("*.zip")) if folder.is_dir() else []
    archive = next((file for file in [*below, *beside] if file.is_file()), None)
    if archive is not None and not zipfile.is_zipfile(archive):
        with archive.open("rb") as file:
            begun = file.read(4) == b"PK\x03\x04"
        cut = f"is cut short: {files.DOWNLOAD_AGAIN}"
        return f"{archive} {cut if begun else files.foreign(archive) or cut}"
    if archive is not None:
        target = folder.with_suffix("") if archive == folder else folder
        return f"{archive} is still packed. Unpack it, so that its .onnx files lie in {target}"
    return f"it needs {', '.join(_ROLES.values())}. Unpack the whole antelopev2 there"


def _load_model(file: Path, providers: list[str], threads: int | None) -> Any:
    from google.protobuf.message import DecodeError
    from insightface.model_zoo import get_model
    from onnxruntime import SessionOptions
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    try:
        if threads is None:
            return get_model(str(file), providers=providers)
        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        return get_model(str(file), providers=providers, sess_options=options)
    except IndexError:  # insightface asks every model for the height and width of its input
        log.info("%s is no model of pictures: passed over", file)
        return None
    except (DecodeError, errors.InvalidProtobuf, errors.InvalidGraph, errors.Fail, errors.InvalidArgument) as error:
        known = files.foreign(file)
        raise HyperLoRAError(
            f"the face model {file} {known}"
            if known
            else f"the face model {file} cannot be read ({type(error).__name__}): it is broken, {files.DOWNLOAD_AGAIN}"
        ) from error


def known_as(provider: str) -> str:
    """A provider's name, for what is loaded once: "auto" is "CPU" where onnxruntime offers nothing else.

    Raises:
        HyperLoRAError: there is none of that name.
        MissingPackageError: a package is missing, or the provider is.
    """
    names = _provider_names(provider)
    return "CPU" if names == [_EXECUTION_PROVIDERS["CPU"]] else provider


def _provider_names(provider: str) -> list[str]:
    if provider not in PROVIDERS:
        raise HyperLoRAError(f"the provider {provider!r} is unknown: one of {', '.join(PROVIDERS)} was expected")
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError(
            f"finding faces needs onnxruntime, which cannot be imported ({error}): pip install onnxruntime"
        ) from error
    try:
        import insightface.model_zoo  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            f"finding faces needs insightface, which cannot be imported ({error}): pip install 'insightface>=2.1,<3'"
        ) from error
    onnxruntime.set_default_logger_severity(3)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"insightface\.utils\.face_align")
    offered = onnxruntime.get_available_providers()
    if provider == "auto":
        return [name for name in _EXECUTION_PROVIDERS.values() if name in offered]
    name = _EXECUTION_PROVIDERS[provider]
    if name not in offered:
        raise MissingPackageError(
            f"the provider {provider} was asked for, but the onnxruntime that is installed offers "
            f"{', '.join(offered)}. {_provider_advice(provider)}"
        )
    return [name] if provider == "CPU" else [name, _EXECUTION_PROVIDERS["CPU"]]


def _provider_in_use(execution_provider: str, asked: str) -> str:
    used = next(
        (name for name, value in _EXECUTION_PROVIDERS.items() if value == execution_provider), execution_provider
    )
    if asked not in ("auto", used):
        raise MissingPackageError(
            f"the provider {asked} was asked for, but could not start and {used} took its place. "
            f"{_provider_advice(asked)}"
        )
    if asked == "auto" and used == "CPU" and _installed(*_GPU_PACKAGES):
        log.warning("Faces are found on the CPU although a GPU build is installed. %s", _provider_advice("CUDA"))
    return used


def _provider_advice(provider: str) -> str:
    if provider != "CUDA":
        return "Choose 'auto', or install the build of onnxruntime that has it."
    if _installed("onnxruntime") and _installed("onnxruntime-gpu"):
        return f"onnxruntime and onnxruntime-gpu are both installed and overwrite each other: {_INSTALL_GPU}"
    if _installed("onnxruntime-gpu"):
        return "onnxruntime-gpu is installed; its CUDA and cuDNN libraries do not fit this machine's."
    return f"Install the CUDA build in place of the CPU one: {_INSTALL_GPU}"


def _installed(*packages: str) -> bool:
    found = {str(distribution.metadata["Name"]).lower() for distribution in metadata.distributions()}
    return not found.isdisjoint(packages)
