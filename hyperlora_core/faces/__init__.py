"""Faces: the models that find and describe them, and what is known of a photo with a face.

``FaceAnalyzer`` is the way in; ``references`` finds a person's face on each of their photos. ``engines`` says what can
run the models: torch by itself, onnxruntime, or insightface. ``crops`` are the pictures that CLIP is shown, ``picks``
faces that somebody pointed at, ``keypoints`` a picture for ControlNets, ``photo_report`` what photos are worth,
``scale`` how like one person faces are. ``image_tensors`` goes between photos and ComfyUI's IMAGE.
"""

from . import crops
from .analyzer import ORDERS, FaceAnalyzer, choose_face, draw_faces, sort_faces
from .engines import ENGINES
from .face import Face
from .references import Reference
from .upright import View

__all__ = [
    "ENGINES",
    "ORDERS",
    "Face",
    "FaceAnalyzer",
    "Reference",
    "View",
    "choose_face",
    "crops",
    "draw_faces",
    "sort_faces",
]
