"""insightface's own numbers for photos, as the released weights were trained with them: by an OpenCV before version 5.

OpenCV 5 cuts faces out with another arithmetic, so insightface's own embeddings differ with it. Run as a script, in an
environment that has insightface: FOLDER OF MODELS, FILE TO WRITE, PHOTOS.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

SIZES = (640, 512, 384, 256)


def reference(pack: Path, photos: dict[str, Path], out: Path, python: str = sys.executable) -> dict[str, np.ndarray]:
    """Photos' faces: ``boxes``, ``keypoints``, ``landmarks``, ``embeddings``, ``id_embeds``, each as "group.boxes".

    Args:
        pack: face models.
        photos: name -> file.
        out: .npz that is written.
        python: of the environment.
    """
    command = [python, __file__, str(pack), str(out), *(f"{name}={photo}" for name, photo in photos.items())]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    with np.load(out) as stored:
        return dict(stored)


def least_cosine(landmarks: np.ndarray) -> float:
    """How like insightface's own a face's ``id_embed`` has to be.

    The crop that it is of ends at whole pixels. Where an edge lies in the middle between two (the astronaut's, by a
    thousandth), the last digit of the landmarks decides which it is, with insightface too, by NumPy and by processor:
    the two crops' embeddings have a cosine of .996.

    Args:
        landmarks: the face's, by insightface.
    """
    from hyperlora_core.faces.crops import face_box

    edges = np.array(face_box(landmarks, scale=2))
    return 0.99 if np.abs(edges % 1 - 0.5).min() < 0.005 else 0.9999


def _main(pack: str, out: str, *photos: str) -> None:
    import cv2
    from insightface.app import FaceAnalysis
    from PIL import Image

    assert int(cv2.__version__.partition(".")[0]) < 5
    analysis = FaceAnalysis(name=pack, providers=["CPUExecutionProvider"])

    def faces(picture: Image.Image) -> list:
        pixels = np.ascontiguousarray(np.asarray(picture)[..., ::-1])
        for size in SIZES:
            analysis.det_model.input_size = None
            analysis.prepare(ctx_id=0, det_size=(size, size))
            detected = analysis.get(pixels)
            if detected:
                return detected
        raise SystemExit("no face")

    def overlap(a: np.ndarray, b: np.ndarray) -> float:
        wide, high = np.minimum(a[2:4], b[2:4]) - np.maximum(a[:2], b[:2])
        return wide * high if wide > 0 and high > 0 else 0.0

    numbers = {}
    for entry in photos:
        name, _, file = entry.partition("=")
        photo = Image.open(file).convert("RGB")
        found, ids = faces(photo), []
        for face in found:
            low, high = face.landmark_2d_106.min(0).astype(float), face.landmark_2d_106.max(0).astype(float)
            half = 0.75 * (high - low).max()
            x, y = (low + high) / 2 - (0, half / 8)
            corner = (round(x - 2 * half), round(y - 2 * half))
            box = face.bbox - np.array([*corner, *corner])
            crop = photo.crop((x - 2 * half, y - 2 * half, x + 2 * half, y + 2 * half))
            ids.append(max(faces(crop), key=lambda candidate: overlap(candidate.bbox, box)).normed_embedding)
        numbers |= {
            f"{name}.boxes": np.stack([face.bbox for face in found]),
            f"{name}.keypoints": np.stack([face.kps for face in found]),
            f"{name}.landmarks": np.stack([face.landmark_2d_106 for face in found]),
            f"{name}.embeddings": np.stack([face.normed_embedding for face in found]),
            f"{name}.id_embeds": np.stack(ids),
        }
    np.savez(out, **numbers)


if __name__ == "__main__":
    _main(*sys.argv[1:])
