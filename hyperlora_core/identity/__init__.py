"""A person as HyperLoRA sees them, from photos to a LoRA.

``value`` is the identity: unscaled rows of coefficients for each photo. ``encoding`` makes it of references, ``file``
keeps it, ``mixing`` joins and blends, ``slider`` is what tells two groups of people apart, ``generation`` makes LoRAs.
"""

from . import mixing
from .encoding import encode_base, encode_id
from .file import load_identity, save_identity
from .generation import generate, generate_slider
from .slider import Slider
from .value import Identity

__all__ = [
    "Identity",
    "Slider",
    "encode_base",
    "encode_id",
    "generate",
    "generate_slider",
    "load_identity",
    "mixing",
    "save_identity",
]
