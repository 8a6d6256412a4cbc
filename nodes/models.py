"""The node that loads a HyperLoRA, the folders its files are found in, and the value that its socket carries."""

import logging
import os
from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import folder_paths
import torch
from comfy_api.latest import io

from ..hyperlora_core.checkpoint import MODULES_JSON
from ..hyperlora_core.clip import ClipVision
from ..hyperlora_core.clip_weights import TowerFile, find_tower
from ..hyperlora_core.doors.comfyui import Operations
from ..hyperlora_core.errors import HyperLoRAError
from ..hyperlora_core.faces import FaceAnalyzer
from ..hyperlora_core.network.hyperlora import HyperLoRA
from ..hyperlora_core.onnx_models import PROVIDERS
from ..hyperlora_core.pipeline import TRIGGER_WORDS
from .sockets import CATEGORY, HyperLoraModel

AUTO = "auto"
FACE_MODEL = "antelopev2"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

log = logging.getLogger(__name__)


def register_folders() -> None:
    """Tell ComfyUI of the model folders that it does not know by itself."""
    for key in ("hyper_lora", "insightface"):
        folder_paths.add_model_folder_path(key, os.path.join(folder_paths.models_dir, key))


def hyper_lora_folders() -> dict[str, Path]:
    """Name -> folder of each checkpoint under ``models/hyper_lora``, or, as the public pack has it, one folder deeper.

    The names are the same in both places, so that a workflow fits both.
    """
    folders = _folders_holding("hyper_lora", lambda name: name == MODULES_JSON)
    return {name.removeprefix("hyper_lora/"): path for name, path in folders.items()} | {
        name: path for name, path in folders.items() if not name.startswith("hyper_lora/")
    }


def clip_files() -> dict[str, Path]:
    """Name -> file of ``models/clip_vision``, or folder of the public pack's ``hyper_lora/clip_vit``."""
    found = {}
    for name in folder_paths.get_filename_list("clip_vision"):
        path = folder_paths.get_full_path("clip_vision", name)
        if path and name.endswith(".safetensors"):
            found[name] = Path(path)
    folders = _folders_holding("hyper_lora", lambda name: name == "model.safetensors")
    return found | {f"hyper_lora/{name}": path for name, path in folders.items()}


def face_folders() -> dict[str, Path]:
    """Name -> folder of each face pack under ``models/insightface``; files that lie loose there are other packs'."""
    folders = _folders_holding("insightface", lambda name: name.endswith(".onnx"))
    return {name.removeprefix("models/"): path for name, path in folders.items() if name != "."}


def _folders_holding(key, wanted) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for root in folder_paths.get_folder_paths(key):
        files, _ = folder_paths.recursive_search(root, excluded_dir_names=[".git"])
        for file in sorted(files):
            folder, name = os.path.split(file)
            if wanted(name):
                found.setdefault(folder.replace(os.sep, "/") or ".", Path(root, folder))
    return found


def _searched(*keys: str) -> str:
    return ", ".join(path for key in keys for path in folder_paths.get_folder_paths(key))


class LoadedHyperLoRA:
    """What a HYPER_LORA socket carries: the network, its CLIP and its face models, each moved by ComfyUI.

    CLIP and the face models are opened when first used.
    """

    def __init__(self, network: HyperLoRA, clip_path: Path, face_path: Path, provider: str) -> None:
        network.compute_device = comfy.model_management.get_torch_device()
        self.patcher = _patcher(network)
        self.config = network.config
        self._clip_path, self._dtype = clip_path, network.compute_dtype
        self._face_path, self._provider = face_path, provider
        self._clip: ClipVision | None = None
        self._clip_patcher: comfy.model_patcher.ModelPatcher | None = None

    def network(self) -> HyperLoRA:
        """The network, on the device that computes."""
        comfy.model_management.load_models_gpu([self.patcher])
        return self.patcher.model

    def clip(self) -> ClipVision:
        """The CLIP vision tower, on the device that computes."""
        if self._clip is None:
            self._clip = ClipVision.load(self._clip_path, dtype=self._dtype)
            self._clip_patcher = _patcher(self._clip.model)
        comfy.model_management.load_models_gpu([self._clip_patcher])
        return self._clip

    def analyzer(self) -> FaceAnalyzer:
        """The face models."""
        return FaceAnalyzer.load(self._face_path, self._provider)


def _patcher(model: torch.nn.Module) -> comfy.model_patcher.ModelPatcher:
    return comfy.model_patcher.CoreModelPatcher(
        model,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def _compute_dtype(choice: str) -> torch.dtype:
    device = comfy.model_management.get_torch_device()
    if choice == AUTO:
        half = not comfy.model_management.is_device_cpu(device) and comfy.model_management.should_use_fp16(device)
        return torch.float16 if half else torch.float32
    if choice != "fp32" and comfy.model_management.is_device_cpu(device):
        log.warning("HyperLoRA computes in %s on the CPU, which is very slow there: dtype 'auto' is faster", choice)
    return DTYPES[choice]


def _choose_clip(choice: str, width: int | None) -> Path:
    files = clip_files()
    if choice != AUTO:
        if choice in files:
            return files[choice]
        raise HyperLoRAError(f"the CLIP vision model {choice!r} is not in {_searched('clip_vision')}")
    towers = [
        tower for tower in map(_tower, files.values()) if tower is not None and width in (None, tower.config.width)
    ]
    if not towers:
        raise HyperLoRAError(
            f"no CLIP vision model of width {width} was found"
            f"{' (it takes CLIP ViT-L/14, as clip-vit-large-patch14)' if width == 1024 else ''}. "
            f"Put its .safetensors file into one of: {_searched('clip_vision')}. "
            f"Found there: {', '.join(files) or 'nothing'}"
        )
    best = min(towers, key=lambda tower: tower.config.image_size)  # ViT-L/14 comes at 224 and at 336
    log.info("HyperLoRA uses the CLIP vision model %s", best.path)
    return best.path


def _tower(path: Path) -> TowerFile | None:
    try:
        return find_tower(path)
    except HyperLoRAError:
        return None


def _choose_faces(choice: str) -> Path:
    folders = face_folders()
    name = FACE_MODEL if choice == AUTO else choice
    for candidate in (name, f"{name}/{name}"):
        if candidate in folders:
            return folders[candidate]
    raise HyperLoRAError(
        f"the face models {name!r} were not found. Unpack its .onnx files into models/{name}/ below one of: "
        f"{_searched('insightface')}. Found there: {', '.join(folders) or 'nothing'}"
    )


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
                    options=sorted(hyper_lora_folders()),
                    tooltip="A folder under models/hyper_lora that holds hyper_lora_modules.json and its .safetensors "
                    "files. 'fidelity' keeps the likeness, 'edit' follows the prompt more.",
                ),
                io.Combo.Input(
                    "clip_vision",
                    options=[AUTO, *sorted(clip_files())],
                    default=AUTO,
                    tooltip="The CLIP vision model it was trained with: ViT-L/14 for the released ones. auto takes the "
                    "one that fits.",
                ),
                io.Combo.Input(
                    "face_model",
                    options=[AUTO, *sorted(face_folders())],
                    default=AUTO,
                    tooltip="The face models under models/insightface/models. auto takes antelopev2, which the "
                    "released weights were trained with.",
                ),
                io.Combo.Input(
                    "provider",
                    options=list(PROVIDERS),
                    default=AUTO,
                    tooltip="What finds faces: auto takes the fastest that onnxruntime offers here.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=[AUTO, *DTYPES],
                    default=AUTO,
                    tooltip="The type computed in. auto takes fp16 on a GPU that is fast in it, else fp32.",
                ),
            ],
            outputs=[
                HyperLoraModel.Output(display_name="hyper_lora"),
                io.String.Output(
                    display_name="trigger_words", tooltip="Begin the prompt with these words: the LoRA listens to them."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, model: str, clip_vision: str = AUTO, face_model: str = AUTO, provider: str = AUTO, dtype: str = AUTO
    ) -> io.NodeOutput:
        folders = hyper_lora_folders()
        if model not in folders:
            raise HyperLoRAError(
                f"the HyperLoRA {model!r} is not in {_searched('hyper_lora')}. "
                f"Found there: {', '.join(folders) or 'nothing'}"
            )
        face_path = _choose_faces(face_model)
        network = HyperLoRA.load(folders[model], dtype=_compute_dtype(dtype), operations=Operations)
        clip_path = _choose_clip(clip_vision, network.config.clip_width)
        return io.NodeOutput(LoadedHyperLoRA(network, clip_path, face_path, provider), TRIGGER_WORDS)
