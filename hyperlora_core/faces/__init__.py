"""Faces: the models that find and describe them, and what is known of a photo with a face.

``FaceAnalyzer`` is the way in. ``engines`` says what can run the models: torch by itself, onnxruntime, or insightface.
"""

from .analyzer import ORDERS, FaceAnalyzer, Reference, choose_face, draw_faces, sort_faces
from .engines import ENGINES
from .face import Face
from .upright import View

__all__ = ["ENGINES", "ORDERS", "Face", "FaceAnalyzer", "Reference", "View", "choose_face", "draw_faces", "sort_faces"]
