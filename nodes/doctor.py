"""The page that a report of a bug needs, with what only a running ComfyUI knows; the settings' page About shows it."""

import inspect
import sys
from pathlib import Path
from typing import Any

import comfy.ldm.modules.attention
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.samplers
import folder_paths

from ..hyperlora_core.doctor import summary
from ..hyperlora_core.doctor.environment import PACK
from . import neighbours
from .host import settings
from .host.folders import IDENTITIES, SLIDERS, clip_files, face_folders, hyper_lora_models, kept_files
from .host.routes import answer_get

_CODE = Path(folder_paths.__file__).parent  # not the base path, which may be another
_FOLDERS = ("hyper_lora", "clip_vision", "insightface", "loras", "custom_nodes")
_WATCHED = (
    comfy.ldm.modules.attention.CrossAttention,
    comfy.ldm.modules.attention.BasicTransformerBlock,
    comfy.model_base.BaseModel,
    comfy.model_patcher.ModelPatcher,
    comfy.samplers.CFGGuider,
    comfy.samplers,
)
"""What has functions that other packs are known to replace."""


def answer_doctor() -> None:
    """Answer ``GET /hyperlora/doctor``."""
    answer_get("/hyperlora/doctor", report)


def report() -> dict[str, Any]:
    """The page as text and in its parts, without paths and names of people."""
    saved = list(Path(folder_paths.get_output_directory(), "loras").rglob("*.safetensors"))
    counts = {
        "identities": len(kept_files(IDENTITIES)),
        "sliders": len(kept_files(SLIDERS)),
        "LoRAs": len(folder_paths.get_filename_list("loras")),
        "LoRAs that were saved here": len(saved),
    }
    models = summary.Models(hyper_lora_models(), clip_files(), face_folders(), counts)
    page = summary.page(models, _CODE)
    page["ComfyUI"] = summary.in_lines(_comfyui())
    page["Settings"] = summary.in_lines(
        {
            "what finds faces": settings.FACE_ENGINE.value(),
            "a photo without a face": settings.NO_FACE.value(),
            "kept for the next prompts": f"{settings.CACHE_MEGABYTES.value()} MB",
        }
    )
    page["Other packs"] = _packs()
    page = summary.without_paths(page, _roots() | summary.roots_of(models))
    return {"text": summary.text(page), "page": page}


def _comfyui() -> dict[str, str]:
    management = comfy.model_management
    device = management.get_torch_device()
    total, free = management.get_total_memory(device), management.get_free_memory(device)
    attention = comfy.ldm.modules.attention.optimized_attention
    return {
        "device": management.get_torch_device_name(device),
        "memory": f"{total >> 20} MB, {free >> 20} MB of it free; {management.vram_state.name}",
        "models are moved by": comfy.model_patcher.CoreModelPatcher.__name__,
        "attention": f"{attention.__name__} of {attention.__module__}",
        "started with": " ".join(word for word in sys.argv[1:] if word.startswith("--")) or "no option",
    }


def _packs() -> summary.Section:
    section: summary.Section = {}
    for folder in folder_paths.get_folder_paths("custom_nodes"):
        section |= summary.packs(Path(folder))
    if notices := neighbours.notices():
        section["the public pack"] = notices
    if replaced := _replaced():
        section["replaced in ComfyUI"] = replaced
    return section


def _replaced() -> list[str]:
    """Functions of ComfyUI that another package replaced by its own."""
    functions = []
    for owner in _WATCHED:
        for name, value in vars(owner).items():
            if inspect.isfunction(value) and value.__module__.partition(".")[0] not in ("comfy", "torch"):
                functions.append(f"{owner.__name__}.{name} is that of {value.__code__.co_filename}")
    return functions


def _roots() -> dict[Path, str]:
    """ComfyUI's folders by their names."""
    folders = {Path(path): key for key in _FOLDERS for path in folder_paths.get_folder_paths(key)}
    return folders | {
        PACK: PACK.name,
        Path(folder_paths.models_dir): "models",
        Path(folder_paths.base_path): "ComfyUI",
        _CODE: "ComfyUI",
        Path(folder_paths.get_user_directory()): "user",
    }
