"""HyperLoRA: photos of a face in, the weights of an SDXL LoRA out, in one pass. ComfyUI's nodes are built on this.

network = HyperLoRA.load(folder)
clip, analyzer = ClipVision.load(file), FaceAnalyzer.load(folder)
references = find_references(analyzer, [open_photo("me.jpg")])
identity, _ = encode_id(network, clip, references)
generate(network, identity, id_weight=0.8).save("me.safetensors")
"""

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .cache import Cache
    from .clip.vision import ClipVision
    from .errors import HyperLoRAError
    from .faces import Face, FaceAnalyzer, crops
    from .faces.references import find_references
    from .files.photos import open_photo
    from .identity import mixing
    from .identity.encoding import encode_base, encode_id
    from .identity.file import load_identity, save_identity
    from .identity.generation import generate, generate_slider
    from .identity.slider import Slider
    from .identity.value import Identity
    from .lora.blocks import BlockStrengths
    from .lora.value import LoRA
    from .network.hyperlora import HyperLoRA
    from .trigger_words import TRIGGER_WORDS

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

_MODULE_OF = {
    "BlockStrengths": "lora.blocks",
    "Cache": "cache",
    "ClipVision": "clip",
    "Face": "faces",
    "FaceAnalyzer": "faces",
    "HyperLoRA": "network.hyperlora",
    "HyperLoRAError": "errors",
    "Identity": "identity",
    "LoRA": "lora",
    "Slider": "identity",
    "TRIGGER_WORDS": "trigger_words",
    "crops": "faces",
    "encode_base": "identity",
    "encode_id": "identity",
    "find_references": "faces.references",
    "generate": "identity",
    "generate_slider": "identity",
    "load_identity": "identity",
    "mixing": "identity",
    "open_photo": "files.photos",
    "save_identity": "identity",
}
"""Name -> the module that has it: torch takes seconds to import, and who asks for a command's help needs none of it."""


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
