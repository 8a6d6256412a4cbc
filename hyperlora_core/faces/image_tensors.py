"""Photos to and from ComfyUI's IMAGE tensors."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import HyperLoRAError
from ..files.photos import upright


def to_photos(images: Tensor) -> list[Image.Image]:
    """ComfyUI's pictures as photos.

    Args:
        images: IMAGE, ``(batch, height, width, channels)`` or ``(height, width, channels)``, 0..1; 1 channel is grey,
            4 are RGB and alpha, which is laid on white.

    Returns:
        RGB, one for each picture of the batch.

    Raises:
        HyperLoRAError: the tensor has another shape, no pixel, or numbers that are not finite.
    """
    if images.ndim == 3:
        images = images[None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3, 4):
        raise HyperLoRAError(
            f"pictures of shape (batch, height, width, 1, 3 or 4) were expected, got {tuple(images.shape)}"
        )
    if 0 in images.shape:
        raise HyperLoRAError(f"a picture without a pixel was given: the batch's shape is {tuple(images.shape)}")
    return [_from_tensor(image, number) for number, image in enumerate(images, start=1)]


def _from_tensor(image: Tensor, number: int) -> Image.Image:
    if not torch.isfinite(image).all():
        raise HyperLoRAError(f"picture {number} of the batch holds NaN or infinite numbers: whatever made it failed")
    pixels = (image.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return upright(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def to_images(photos: Sequence[Image.Image], size: int | None = None) -> Tensor:
    """Pictures as ComfyUI's IMAGE.

    Args:
        photos: RGB; of one size where ``size`` is None.
        size: the side of the square that each is resized to.

    Returns:
        ``(batch, height, width, 3)`` float32, 0..1.
    """
    if size is not None:
        photos = [photo.resize((size, size)) for photo in photos]
    return torch.from_numpy(np.stack([np.asarray(photo, dtype=np.float32) / 255 for photo in photos]))
