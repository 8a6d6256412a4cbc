"""The node that loads a HyperLoRA, and the value that its socket carries."""

import logging
from collections.abc import Mapping
from pathlib import Path

import comfy.model_management
import torch
from comfy_api.latest import io

from ..hyperlora_core.clip.vision import ClipVision
from ..hyperlora_core.clip.weights import TowerFile, find_tower
from ..hyperlora_core.doors.comfyui.patching import Operations, hand_over
from ..hyperlora_core.errors import HyperLoRAError
from ..hyperlora_core.faces import ENGINES, FaceAnalyzer
from ..hyperlora_core.files.encoders import OTHER_ENCODERS, Encoder, check_clip, check_face
from ..hyperlora_core.network.hyperlora import HyperLoRA
from ..hyperlora_core.trigger_words import TRIGGER_WORDS
from .host import settings
from .host.folders import clip_files, face_folder, face_folders, hyper_lora_models, searched, stamp_of_models
from .host.sockets import CATEGORY, HyperLoraModel, other_encoders_input

AUTO = "auto"
FACE_MODEL = "antelopev2"
_VIT_L, _VIT_L_PIXELS = 1024, 224  # width and picture size of what the released weights were trained with
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

log = logging.getLogger(__name__)


class LoadedHyperLoRA:
    """What a HYPER_LORA socket carries: the network, its CLIP and its face models.

    CLIP and the face models are opened when first used. All weights are ComfyUI's to move, see ``hand_over``.

    Attributes:
        network: the HyperLoRA.
        patcher: the resampler's; by this name ComfyUI knows that a model is meant.
        config: the network's shapes.
        encoders: what it was trained with.
    """

    def __init__(
        self, network: HyperLoRA, tower: TowerFile | None, face_path: Path, face_engine: str, other_encoders: str
    ) -> None:
        network.compute_device = comfy.model_management.get_torch_device()
        self.network = network
        self.patcher = hand_over(network, network.children())[network.resampler]
        self.config = network.config
        self.encoders = network.encoders
        self._tower, self._dtype = tower, network.compute_dtype
        self._face_path, self._face_engine = face_path, face_engine
        self._other_encoders = other_encoders
        self._clip: ClipVision | None = None

    def clip(self) -> ClipVision | None:
        """The CLIP vision tower; None where the network reads none."""
        if self._clip is None and self._tower is not None:
            self._clip = ClipVision.load(self._tower, dtype=self._dtype, operations=Operations)
            self._clip.compute_device = comfy.model_management.get_torch_device()
            hand_over(self._clip, [self._clip.model])
        return self._clip

    def analyzer(self) -> FaceAnalyzer:
        """The face models."""
        analyzer = _analyzer(self._face_path, self._face_engine)
        if self.config.reads_faces:
            check_face(self.encoders.face, analyzer.embedder, self._other_encoders)
        return analyzer


def _compute_dtype(choice: str) -> torch.dtype:
    device = comfy.model_management.get_torch_device()
    if choice == AUTO:
        half = not comfy.model_management.is_device_cpu(device) and comfy.model_management.should_use_fp16(device)
        return torch.float16 if half else torch.float32
    if choice != "fp32" and comfy.model_management.is_device_cpu(device):
        log.warning("HyperLoRA computes in fp32: the CPU is a hundred times slower in %s", choice)
        return torch.float32
    return DTYPES[choice]


def _choose_clip(choice: str, width: int | None, trained_with: Encoder | None, other_encoders: str) -> TowerFile | None:
    if width is None:
        return None
    files = clip_files()
    if choice != AUTO:
        if choice not in files:
            raise HyperLoRAError(f"the CLIP vision model {choice!r} is not in {searched('clip_vision', 'hyper_lora')}")
        tower = find_tower(files[choice], width)
    else:
        tower = _fitting_clip(files, width, trained_with)
    check_clip(trained_with, tower.encoder, other_encoders)
    log.info("HyperLoRA uses the CLIP vision model %s", tower.file)
    return tower


def _fitting_clip(files: Mapping[str, Path], width: int, trained_with: Encoder | None) -> TowerFile:
    """The tower that "auto" takes."""
    towers = {name: tower for name, path in files.items() if (tower := _tower(path)) and tower.config.width == width}
    if width == _VIT_L and trained_with is None:  # llava's is at 336
        towers = {name: tower for name, tower in towers.items() if tower.config.image_size == _VIT_L_PIXELS}
    if not towers:
        raise HyperLoRAError(
            f"no CLIP vision model of width {width} was found"
            f"{' (it takes CLIP ViT-L/14 at 224, as clip-vit-large-patch14)' if width == _VIT_L else ''}. "
            f"Put its .safetensors file into one of: {searched('clip_vision')}. "
            f"Found there: {', '.join(_described(*item) for item in files.items()) or 'nothing'}"
        )

    def rank(name: str) -> tuple[bool, bool]:
        # first the one that the checkpoint names, then the public pack's, which was put there for this
        return not _is(towers[name], trained_with), not name.startswith("hyper_lora/")

    return towers[min(towers, key=rank)]


def _is(tower: TowerFile, encoder: Encoder | None) -> bool:
    return encoder is not None and tower.encoder.sha256 == encoder.sha256


def _tower(path: Path) -> TowerFile | None:
    try:
        return find_tower(path)
    except HyperLoRAError:
        return None


def _described(name: str, path: Path) -> str:
    tower = _tower(path)
    kind = f"{tower.config.name} at {tower.config.image_size}" if tower else "no CLIP vision model"
    return f"{name} ({kind})"


def face_analyzer(choice: str = AUTO, engine: str = AUTO, on_cpu: bool = False) -> FaceAnalyzer:
    """Load face models by the names that widgets give.

    Args:
        choice: which face models.
        engine: what runs them.
        on_cpu: compute there, out of the way of what ComfyUI has on its device.

    Raises:
        HyperLoRAError: they are missing or broken.
    """
    return _analyzer(_choose_faces(choice), engine, on_cpu)


def _analyzer(folder: Path, engine: str, on_cpu: bool = False) -> FaceAnalyzer:
    device = comfy.model_management.get_torch_device()
    if on_cpu or comfy.model_management.is_device_cpu(device):
        return FaceAnalyzer.load(folder, _engine(engine))
    return FaceAnalyzer.load(folder, _engine(engine), device, Operations, _hand_over_faces)


def _hand_over_faces(analyzer: FaceAnalyzer) -> None:
    for session in analyzer.models.runs:
        hand_over(session, [session.module])


def _engine(choice: str) -> str:
    return settings.FACE_ENGINE.value() if choice == AUTO else choice


def face_model_input(tooltip: str) -> io.Input:
    """Which face models."""
    return io.Combo.Input("face_model", options=[AUTO, *sorted(face_folders())], default=AUTO, tooltip=tooltip)


def _choose_faces(choice: str) -> Path:
    name = FACE_MODEL if choice == AUTO else choice
    folder = face_folder(name)
    if folder is None:
        raise HyperLoRAError(
            f"the face models {name!r} were not found. Unpack its .onnx files into models/{name}/ below one of: "
            f"{searched('insightface')}. Found there: {', '.join(face_folders()) or 'nothing'}"
        )
    return folder


def load_hyper_lora(
    model: str,
    clip_vision: str = AUTO,
    face_model: str = AUTO,
    face_engine: str = AUTO,
    dtype: str = AUTO,
    other_encoders: str = OTHER_ENCODERS[0],
) -> LoadedHyperLoRA:
    """Load a HyperLoRA by the names that widgets give.

    Raises:
        HyperLoRAError: a file is missing, broken, or another than was needed.
    """
    models = hyper_lora_models()
    if model not in models:
        raise HyperLoRAError(
            f"the HyperLoRA {model!r} is not in {searched('hyper_lora')}. Found there: {', '.join(models) or 'nothing'}"
        )
    network = HyperLoRA.load(models[model], dtype=_compute_dtype(dtype), operations=Operations)
    tower = _choose_clip(clip_vision, network.config.clip_width, network.encoders.clip_vision, other_encoders)
    return LoadedHyperLoRA(network, tower, _choose_faces(face_model), face_engine, other_encoders)


class HyperLoRALoadModel(io.ComfyNode):
    """Load a HyperLoRA with the CLIP and the face models it needs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRALoadModel",
            display_name="Load HyperLoRA",
            category=CATEGORY,
            description="Loads a HyperLoRA with the CLIP vision model and the face models it reads photos with. "
            "Everything else is read off the files. The released weights are for non-commercial use.",
            search_aliases=["hyperlora loader", "hyper lora", "portrait", "face", "identity", "load hyperlora"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=sorted(hyper_lora_models()),
                    tooltip="Under models/hyper_lora: a folder that holds hyper_lora_modules.json and its .safetensors "
                    "files, or a file that `hyperlora convert` made. 'fidelity' keeps the likeness, 'edit' follows the "
                    "prompt more.",
                ),
                io.Combo.Input(
                    "clip_vision",
                    options=[AUTO, *sorted(clip_files())],
                    default=AUTO,
                    tooltip="The CLIP vision model it was trained with: ViT-L/14 for the released ones. auto takes the "
                    "one that fits.",
                ),
                face_model_input(
                    "The face models under models/insightface/models. auto takes antelopev2, which the released "
                    "weights were trained with."
                ),
                io.Combo.Input(
                    "face_engine",
                    options=list(ENGINES),
                    default=AUTO,
                    tooltip="What runs the face models. auto takes what the settings say, or else torch, where "
                    "ComfyUI's other models are; and onnxruntime for models that torch cannot run.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=[AUTO, *DTYPES],
                    default=AUTO,
                    tooltip="The type computed in. auto takes fp16 on a GPU that is fast in it, else fp32. A CPU "
                    "always computes in fp32.",
                ),
                other_encoders_input(),
            ],
            outputs=[
                HyperLoraModel.Output(display_name="hyper_lora"),
                io.String.Output(
                    display_name="trigger_words", tooltip="Begin the prompt with these words: the LoRA listens to them."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(
        cls, model: str | None = None, face_model: str | None = None, face_engine: str = AUTO, **_: object
    ) -> object:
        return stamp_of_models(model, FACE_MODEL if face_model == AUTO else face_model), _engine(face_engine)

    @classmethod
    def execute(
        cls, model: str, clip_vision: str, face_model: str, face_engine: str, dtype: str, other_encoders: str
    ) -> io.NodeOutput:
        loaded = load_hyper_lora(model, clip_vision, face_model, face_engine, dtype, other_encoders)
        return io.NodeOutput(loaded, TRIGGER_WORDS)
