"""The LoRA value, and where and when it applies.

``value`` is the LoRA that travels between nodes and is saved, ``names`` what its projections are called by diffusers
and in files, ``blocks`` strengths by part of the UNet, ``schedule`` strengths that change while sampling, ``regions``
masks shown as one picture.
"""

from .blocks import BlockStrengths
from .schedule import Schedule
from .value import Factors, LoRA, combine

__all__ = ["BlockStrengths", "Factors", "LoRA", "Schedule", "combine"]
