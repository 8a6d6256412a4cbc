"""HyperLoRA: photos of a face in, the weights of an SDXL LoRA out, in one pass. ComfyUI's nodes are built on this.

network = HyperLoRA.load(folder)
clip, analyzer = ClipVision.load(file), FaceAnalyzer.load(folder)
references = find_references(analyzer, [open_photo("me.jpg")])
identity, _ = encode_id(network, clip, references)
generate(network, identity, id_weight=0.8).save("me.safetensors")
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import crops, mixing
    from .blocks import BlockStrengths
    from .cache import Cache
    from .clip import ClipVision
    from .errors import HyperLoRAError
    from .faces import Face, FaceAnalyzer
    from .generation import TRIGGER_WORDS, generate, generate_slider
    from .identity import Identity
    from .identity_file import load_identity, save_identity
    from .lora import LoRA
    from .network.hyperlora import HyperLoRA
    from .photos import open_photo
    from .pipeline import encode_base, encode_id, find_references
    from .slider import Slider

__all__ = [
    "TRIGGER_WORDS",
    "BlockStrengths",
    "Cache",
    "ClipVision",
    "Face",
    "FaceAnalyzer",
    "HyperLoRA",
    "HyperLoRAError",
    "Identity",
    "LoRA",
    "Slider",
    "crops",
    "encode_base",
    "encode_id",
    "find_references",
    "generate",
    "generate_slider",
    "load_identity",
    "mixing",
    "open_photo",
    "save_identity",
]

_MODULES = ("crops", "mixing")
_MODULE_OF = {
    "BlockStrengths": "blocks",
    "Cache": "cache",
    "ClipVision": "clip",
    "Face": "faces",
    "FaceAnalyzer": "faces",
    "HyperLoRA": "network.hyperlora",
    "HyperLoRAError": "errors",
    "Identity": "identity",
    "LoRA": "lora",
    "Slider": "slider",
    "TRIGGER_WORDS": "trigger_words",
    "encode_base": "pipeline",
    "encode_id": "pipeline",
    "find_references": "pipeline",
    "generate": "generation",
    "generate_slider": "generation",
    "load_identity": "identity_file",
    "open_photo": "photos",
    "save_identity": "identity_file",
}
"""Name -> the module that has it: torch takes seconds to import, and who asks for a command's help needs none of it."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
