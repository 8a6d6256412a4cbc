"""The reference for photos: faces and CLIP in the simplest way, from their description.

insightface's FaceAnalysis on the photo and again on the crop, transformers' whole CLIP, in single precision. It shares
no code with ``hyperlora_core``.
"""

from pathlib import Path

import numpy as np
import torch
from insightface.app import FaceAnalysis
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor
from transformers import CLIPVisionModel

SIZES = (640, 512, 384, 256)
OUTLINE = [1, *range(9, 17), *range(2, 9), 0, *range(24, 17, -1), *range(32, 24, -1), 17]
OUTLINE += [101, 105, 104, 103, 102, 50, 51, 49, 48, 43]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class PhotoReference:
    """A photo to the face embedding and the CLIP tokens of its largest face."""

    def __init__(self, faces: Path, clip: Path, device: torch.device, dtype: torch.dtype) -> None:
        self.analysis = FaceAnalysis(name=str(faces), providers=["CPUExecutionProvider"])
        self.clip = CLIPVisionModel.from_pretrained(clip, dtype=dtype).to(device)
        self.device, self.dtype = device, dtype

    def __call__(self, photo: Image.Image) -> tuple[Tensor, Tensor]:
        """RGB -> ``(1, 512)``, ``(1, tokens, width)``."""
        faces = self.faces(photo)
        face = max(faces, key=lambda face: (face.bbox[2] - face.bbox[0]) * (face.bbox[3] - face.bbox[1]))
        x, y, half = square(face.landmark_2d_106)
        embed = self.faces(photo.crop((x - 2 * half, y - 2 * half, x + 2 * half, y + 2 * half)))[0].normed_embedding
        pixels = self.pixels(on_grey(photo, face.landmark_2d_106).crop((x - half, y - half, x + half, y + half)))
        with torch.no_grad():
            states = self.clip(pixels.to(self.device, self.dtype), output_hidden_states=True).hidden_states
        return torch.from_numpy(embed)[None].to(self.device, self.dtype), states[-2]

    def faces(self, photo: Image.Image) -> list:
        """insightface's faces, at the first size that finds one."""
        for size in SIZES:
            self.analysis.prepare(ctx_id=0, det_size=(size, size))
            found = self.analysis.get(np.ascontiguousarray(np.asarray(photo)[..., ::-1]))
            if found:
                return found
        raise ValueError("no face")

    def pixels(self, picture: Image.Image) -> Tensor:
        """CLIP's preprocessing."""
        size = self.clip.config.image_size
        short = min(picture.size)
        picture = picture.resize([int(size * side / short) for side in picture.size], Image.Resampling.BICUBIC)
        left, top = ((side - size) // 2 for side in picture.size)
        pixels = np.asarray(picture.crop((left, top, left + size, top + size)), dtype=np.float32) / 255
        return torch.from_numpy(((pixels - MEAN) / STD).astype(np.float32)).permute(2, 0, 1)[None]


def square(landmarks: np.ndarray) -> tuple[float, float, float]:
    """Centre and half side of the face box."""
    low, high = landmarks.min(0).astype(float), landmarks.max(0).astype(float)
    half = 0.75 * (high - low).max()
    x, y = (low + high) / 2
    return x, y - half / 8, half


def on_grey(photo: Image.Image, landmarks: np.ndarray) -> Image.Image:
    """The face within its outline, on grey."""
    outline = landmarks[OUTLINE].astype(float)
    x, y = outline.mean(0)
    half = 0.8 * np.ptp(outline, axis=0).max()
    mask = Image.new("L", photo.size)
    ImageDraw.Draw(mask).polygon([tuple(point) for point in outline], fill=255)
    box = (x - half, y - half, x + half, y + half)
    cut, soft = photo.crop(box), mask.crop(box)
    soft = soft.resize((512, 512)).filter(ImageFilter.GaussianBlur(15)).resize(cut.size)
    grey = Image.new("RGB", photo.size, "#7f7f7f")
    grey.paste(cut, (int(x - half), int(y - half)), soft)
    return grey
