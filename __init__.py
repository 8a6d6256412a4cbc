"""ComfyUI-HyperLoRA: a portrait LoRA out of photos, in one pass. ComfyUI enters here."""

import logging
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes import HyperLoRAExtension

COMFYUI = "0.14.0"  # the oldest that has what the pack uses: see docs/COMPATIBILITY.md; pyproject.toml says it too


def _release(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def _older_comfyui() -> str | None:
    """The release of this ComfyUI, if the pack needs a newer one."""
    try:
        from comfyui_version import __version__
    except ImportError:
        return "older than 0.3.10" if "folder_paths" in sys.modules else None  # none to blame without a ComfyUI
    release = _release(__version__)
    return __version__ if release and release < _release(COMFYUI) else None


_found = _older_comfyui()
if _found is None:
    WEB_DIRECTORY = "./web"
else:
    NODE_CLASS_MAPPINGS: dict[str, type] = {}  # with these ComfyUI asks for nothing else
    logging.getLogger(__name__).error(
        "ComfyUI-HyperLoRA needs ComfyUI %s or newer, and this one is %s: update ComfyUI; none of the pack's nodes are "
        "there until then.",
        COMFYUI,
        _found,
    )


async def comfy_entrypoint() -> "HyperLoRAExtension":
    from .nodes import HyperLoRAExtension

    return HyperLoRAExtension()
