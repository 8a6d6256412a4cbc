"""Where people are, as a picture: each mask in a colour of its own."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

# Okabe and Ito's colours, which people with any colour vision tell apart.
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#999999")


def draw_regions(masks: Sequence[Tensor], size: int = 256) -> Image.Image:
    """Masks laid over each other, each in its colour and with its number where most of it is.

    Args:
        masks: ``(height, width)`` or ``(1, height, width)`` each, 0..1, of any size.
        size: the longer side of the picture, in the first mask's proportions.

    Returns:
        RGB, black where no mask is; where several are, their colours are mixed.
    """
    height, width = masks[0].shape[-2:]
    scale = size / max(height, width)
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    planes = [_plane(mask, shape) for mask in masks]
    colours = [np.array(_rgb(number), dtype=np.float32) for number in range(len(masks))]
    total = np.maximum(sum(planes), 1.0)[..., None]
    mixed = sum(plane[..., None] * colour for plane, colour in zip(planes, colours, strict=True)) / total
    picture = Image.fromarray(mixed.round().astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for number, plane in enumerate(planes, start=1):
        if plane.any():
            y, x = (float(np.average(axis, weights=plane)) for axis in np.indices(plane.shape))
            draw.text(
                (x, y), str(number), "white", anchor="mm", font_size=size / 8, stroke_fill="black", stroke_width=2
            )
    return picture


def _plane(mask: Tensor, shape: tuple[int, int]) -> np.ndarray:
    flat = mask.detach().float().cpu().reshape(mask.shape[-2:]).clamp(0, 1).numpy()
    return np.asarray(Image.fromarray((flat * 255).round().astype(np.uint8)).resize(shape), dtype=np.float32) / 255


def _rgb(number: int) -> tuple[int, int, int]:
    colour = COLOURS[number % len(COLOURS)]
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
