"""HyperLoRA: photos of a face in, the weights of an SDXL LoRA out, in one pass."""

__version__ = "0.1.0"

from .errors import HyperLoRAError
from .identity import Identity
from .lora import LoRA
from .network.hyperlora import HyperLoRA

__all__ = ["HyperLoRA", "HyperLoRAError", "Identity", "LoRA"]
