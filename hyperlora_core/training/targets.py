"""What the UNet is to draw in a sample: a cut of a picture, its prompt, and what SDXL is told of its size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..doors.diffusers.base_model import BaseModel
from ..errors import HyperLoRAError
from . import counter
from .config import RunConfig
from .framing import Frame, draw_frame


@dataclass(frozen=True)
class Target:
    """What is to be drawn.

    Attributes:
        pixels: ``(3, resolution, resolution)``, -1..1.
        size: six numbers, see ``Frame.size_condition``.
        prompt: of it.
        face: its box, left, top, right and bottom as shares of the side.
    """

    pixels: Tensor
    size: tuple[int, ...]
    prompt: str
    face: tuple[float, float, float, float]


def draw_target(
    photo: Image.Image, box: Sequence[float], caption: str, trigger: bool, config: RunConfig, number: int
) -> Target:
    """The target of a sample.

    Args:
        photo: RGB.
        box: the face's left, top, right and bottom.
        caption: of the photo.
        trigger: whether the prompt begins with the trigger words.
        config: of the run.
        number: of the sample in the run.
    """
    frame = frame_of(photo.size, box, config, number)
    text = prompt_of(caption, trigger, config, number)
    return Target(
        as_pixels(cut(photo, frame, config.resolution)),
        frame.size_condition(*photo.size, config.resolution),
        text,
        frame.within(_edges(box)),
    )


def frame_of(size: tuple[int, int], box: Sequence[float], config: RunConfig, number: int) -> Frame:
    """The cut that a sample's target is, of a photo so wide and high with the face in a box."""
    return draw_frame(*size, _edges(box), counter.generator(config.seed, number, "frame"), config.smallest_crop)


def _edges(box: Sequence[float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(edge) for edge in box)
    return left, top, right, bottom


def cut(photo: Image.Image, frame: Frame, resolution: int) -> Tensor:
    """What a frame shows of a photo, ``(3, resolution, resolution)`` uint8."""
    size = (resolution, resolution)
    resized = photo.crop(frame.box).resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)


def as_pixels(picture: Tensor) -> Tensor:
    """uint8 -> float32, -1..1."""
    return picture.float() / 127.5 - 1


def prompt_of(caption: str, trigger: bool, config: RunConfig, number: int) -> str:
    """The prompt of a sample; the captions of some are left out."""
    dropped = counter.uniform(config.seed, number, "caption") < config.caption_dropout
    return prompt(config.trigger_words if trigger else "", "" if dropped else caption)


def picture_of(pixels: Tensor) -> Image.Image:
    """Pixels ``(3, H, W)``, -1..1, as a picture; what is beyond is cut off."""
    scaled = ((pixels.detach().permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255)
    return Image.fromarray(scaled.to("cpu", torch.uint8).numpy())


def prompt(trigger_words: str, caption: str) -> str:
    """A prompt: the trigger words first, where there are any."""
    return ", ".join(filter(None, (trigger_words, caption)))


def encoded(base: BaseModel, seed: int, samples: range, targets: Sequence[Target]) -> tuple[Tensor, Mapping[str, Any]]:
    """Targets as the UNet is shown them.

    Args:
        base: the base model.
        seed: of the run.
        samples: their numbers in it.
        targets: one a sample.

    Returns:
        Latents without noise, ``(B, C, h, w)``, and what the UNet is given beside them.
    """
    pixels = torch.stack([target.pixels for target in targets])
    drawn = counter.normal(seed, samples, "latents", base.latent_shape(*pixels.shape[2:]))
    inputs = base.unet_inputs([target.prompt for target in targets], torch.tensor([target.size for target in targets]))
    return base.latents(pixels, drawn), inputs


def face_weights(targets: Sequence[Target], size: Sequence[int], face: float) -> Tensor | None:
    """How much each place of the latents weighs in the loss: so much where the face is, 1 elsewhere.

    Args:
        targets: one a sample.
        size: height and width of the latents.
        face: the weight; 1 for none.

    Returns:
        ``(B, 1, h, w)``, between the two where the box cuts a latent; None where all weigh the same.
    """
    if face == 1:
        return None
    boxes = torch.tensor([target.face for target in targets])

    def covered(first: Tensor, last: Tensor, count: int) -> Tensor:
        edges = torch.arange(count + 1) / count
        low = torch.maximum(edges[:-1], first[:, None])
        return (torch.minimum(edges[1:], last[:, None]) - low).clamp(min=0) * count

    across, down = covered(boxes[:, 0], boxes[:, 2], size[1]), covered(boxes[:, 1], boxes[:, 3], size[0])
    return 1 + (face - 1) * (down[:, :, None] * across[:, None, :])[:, None]


def check_resolution(base: BaseModel, config: RunConfig) -> None:
    """Refuse a resolution that the UNet cannot halve as often as it does.

    Raises:
        HyperLoRAError: it is no multiple of what is needed.
    """
    if config.resolution % (step := 8 * base.latent_step):
        raise HyperLoRAError(f"resolution is {config.resolution}: a multiple of {step} was expected")
