"""What is installed and what it runs on: versions, device, face runtime. Nothing of it needs ComfyUI."""

import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

import psutil
import torch

from ..errors import MissingPackageError
from ..faces.engines import installed_builds, need_onnxruntime, onnxruntime_line
from ..version import __version__

PACK = Path(__file__).parents[2]
VERSION_FILE = "comfyui_version.py"
"""In ComfyUI's folder."""

_PACKAGES = (
    "torch",
    "numpy",
    "pillow",
    "safetensors",
    "comfyui-frontend-package",
    "comfy-kitchen",
    "comfy-aimdo",
    "xformers",
    "sageattention",
    "flash-attn",
    "triton",
)


def versions(comfyui: Path | None) -> dict[str, str]:
    """Package -> version; ComfyUI's as its folder says it."""
    installed = _distributions()
    own = {
        "HyperLoRA": f"{__version__}{_commit()}",
        "ComfyUI": _comfyui_version(comfyui),
        "Python": f"{platform.python_version()} on {platform.system()} {platform.release()}, {platform.machine()}",
    }
    return own | {name: installed[name] for name in _PACKAGES if name in installed}


def device() -> dict[str, str]:
    """What torch can compute with, and the memory there is."""
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}"
    built = f"for {build}" if torch.version.cuda or torch.version.hip else "without CUDA or ROCm"
    facts = {"torch": f"built {built}; it computes on {', '.join(_kinds_of_device())}"}
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        facts[f"cuda:{index}"] = f"{card.name}, {card.total_memory >> 20} MB"
    memory = psutil.virtual_memory()
    return facts | {"memory": f"{memory.total >> 20} MB, {memory.available >> 20} MB of it free"}


def face_runtime() -> dict[str, str]:
    """What can run the face models: torch, and of the optional engines what pip lists, whole or by halves."""
    installed = _distributions()
    optional = {name: installed[name] for name in sorted(installed) if name.startswith(("insightface", "onnxruntime"))}
    facts = {"auto": f"torch {torch.__version__}, in which the models' files are read", **optional}
    if not installed_builds():
        return facts | {"onnxruntime": "not installed, and not needed"}
    try:
        facts["providers"] = ", ".join(need_onnxruntime().get_available_providers())
    except MissingPackageError as error:
        facts["providers"] = f"none: {error.args[0]}"
    if len(installed_builds()) > 1:
        facts["remark"] = f"{' and '.join(installed_builds())} overwrite one another. Keep one: {onnxruntime_line()}"
    return facts


def _kinds_of_device() -> list[str]:
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "xpu": hasattr(torch, "xpu") and torch.xpu.is_available(),
        "cpu": True,
    }
    return [name for name, is_there in available.items() if is_there]


def _distributions() -> dict[str, str]:
    """Name, in small letters -> version, of all that pip lists."""
    distributions = ((distribution.metadata["Name"], distribution.version) for distribution in metadata.distributions())
    return {str(name).lower().replace("_", "-"): version for name, version in distributions if name}


def _comfyui_version(comfyui: Path | None) -> str:
    """What a ComfyUI's folder says of itself; nothing of it is run."""
    if comfyui is None:
        return "not found: give its folder with --comfyui"
    file = comfyui / VERSION_FILE
    version = re.search(r"""__version__\s*=\s*["']([^"']+)""", file.read_text("utf-8")) if file.is_file() else None
    return version[1] if version else f"unknown: its folder has no {VERSION_FILE} that says it"


def _commit() -> str:
    """Of the pack, where it was cloned."""
    if not (PACK / ".git").exists():
        return ""
    command = ["git", "-C", str(PACK), "rev-parse", "--short", "HEAD"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
    return f" ({commit})"
