"""CLIP's vision tower: pictures in, the tokens that the resamplers read out.

``vision`` is the way in, ``tower`` the transformer, ``weights`` reads the files that hold one.
"""

from .vision import ClipVision

__all__ = ["ClipVision"]
