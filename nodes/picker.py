"""The face picker of the editor: the faces on a photo, also while the queue runs."""

import base64
import io
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import folder_paths
from PIL import Image, ImageOps

from nodes import LoadImage

from ..hyperlora_core.cache import digest
from ..hyperlora_core.errors import HyperLoRAError
from ..hyperlora_core.faces import Face
from ..hyperlora_core.faces.image_tensors import to_photos
from ..hyperlora_core.faces.picks import Pick
from ..hyperlora_core.faces.references import detect_faces
from .host.cache import cache
from .host.routes import answer_post
from .models import AUTO, face_analyzer

SHOWN_SIZE = 640
"""Longer side of a photo in the picker, pixels."""

_MOST_BYTES, _MOST_PIXELS, _MOST_FRAMES = 64 << 20, 100_000_000, 16
_one_at_a_time = threading.Lock()


def answer_the_picker() -> None:
    """Answer ``POST /hyperlora/faces``."""
    answer_post("/hyperlora/faces", lambda request: {"photos": _photos_of(request)}, "image")


def described(photo: Image.Image, sha256: str, faces: Sequence[Face]) -> dict[str, Any]:
    """A photo and its faces as the picker reads them; the widget keeps a face's "pick"."""
    entries = []
    for face in faces:
        pick = Pick.of(face, photo, sha256)
        sizes = (photo.width, photo.height) * 2
        box = [round(float(value) / size, 4) for value, size in zip(face.box, sizes, strict=True)]
        entries.append({"box": box, "score": round(face.score, 3), "pick": {"photo": sha256, "x": pick.x, "y": pick.y}})
    return {"photo": sha256, "width": photo.width, "height": photo.height, "faces": entries}


def reduced(photo: Image.Image) -> Image.Image:
    """A photo at the size that the picker shows."""
    return ImageOps.contain(photo, (SHOWN_SIZE, SHOWN_SIZE)) if max(photo.size) > SHOWN_SIZE else photo


def _photos_of(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The photos that LoadImage makes of a file, with their faces."""
    name = request["image"]
    _check_file(name)
    face_model, engine = (str(request.get(key) or AUTO) for key in ("face_model", "face_engine"))
    with _one_at_a_time:
        analyzer = face_analyzer(face_model, engine, on_cpu=True)  # a prompt may be running
        photos = []
        for photo in to_photos(LoadImage().load_image(name)[0]):
            sha256 = digest(photo)
            entry = described(photo, sha256, detect_faces(analyzer, photo, sha256, cache=cache()))
            photos.append(entry | {"image": _data_url(photo)})
    return photos


def _check_file(name: str) -> None:
    """See that a name means a picture of moderate size in ComfyUI's folders.

    Raises:
        HyperLoRAError: it does not.
    """
    absent = HyperLoRAError(f"{name!r} is no file of ComfyUI's input, output or temp folder")
    try:
        path = os.path.realpath(folder_paths.get_annotated_filepath(name))
    except (ValueError, OSError) as error:
        raise absent from error
    folders = (
        folder_paths.get_input_directory(),
        folder_paths.get_output_directory(),
        folder_paths.get_temp_directory(),
    )
    if not any(path.startswith(os.path.realpath(folder) + os.sep) for folder in folders) or not os.path.isfile(path):
        raise absent
    if os.path.getsize(path) > _MOST_BYTES:
        raise HyperLoRAError(f"{name!r} is larger than {_MOST_BYTES >> 20} MB: run the node, and pick then")
    try:
        with Image.open(path) as picture:
            width, height, frames = *picture.size, getattr(picture, "n_frames", 1)
    except Image.DecompressionBombError:
        width, height, frames = _MOST_PIXELS, 2, 1
    except (OSError, SyntaxError, ValueError) as error:
        raise HyperLoRAError(f"{name!r} is no picture that can be read here: run the node, and pick then") from error
    if width * height > _MOST_PIXELS or frames > _MOST_FRAMES:
        raise HyperLoRAError(
            f"{name!r} is too large to look at here, {width} x {height} with {frames} frames: run the node, and pick "
            "then"
        )


def _data_url(photo: Image.Image) -> str:
    buffer = io.BytesIO()
    reduced(photo).save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
