"""HyperLoRA: photos of a face in, the weights of an SDXL LoRA out, in one pass. ComfyUI's nodes are built on this.

network = HyperLoRA.load(folder)
clip, analyzer = ClipVision.load(file), FaceAnalyzer.load(folder)
references = find_references(analyzer, [open_photo("me.jpg")])
identity, _ = encode_id(network, clip, references)
generate(network, identity, id_weight=0.8).save("me.safetensors")
"""

__version__ = "0.1.0"

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


def __dir__() -> list[str]:
    return __all__
