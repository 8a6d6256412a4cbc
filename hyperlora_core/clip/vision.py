"""The CLIP image encoder: pictures in, the tokens that HyperLoRA's resamplers read out.

Shapes: S image size in pixels, T tokens (1 + patches), W width.
"""

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from .. import ops
from ..errors import HyperLoRAError
from ..files import PathOrFile, stamp
from ..files.encoders import Encoder
from .tower import ClipTower
from .weights import TowerConfig, TowerFile, find_tower

# Per channel, of RGB in 0..1: OpenAI's, which every CLIP was trained with.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

_MAX_ASPECT = 1000  # a picture's longer side over its shorter one; the resized picture is that many S high

log = logging.getLogger(__name__)


class ClipVision:
    """A CLIP image encoder up to its last but one layer.

    Attributes:
        model: the tower, a module that takes pixel values and gives tokens.
        config: its hyperparameters.
        encoder: which tower it is.
        compute_device: where pixels are moved to.
        compute_dtype: the type computed in.
        before_use: called with the tower that is about to compute, by which a host moves its weights.
    """

    def __init__(self, model: nn.Module, config: TowerConfig, encoder: Encoder) -> None:
        self.model = model
        self.config = config
        self.encoder = encoder
        self.compute_device = torch.device("cpu")
        self.compute_dtype = torch.float32
        self._content: Hashable = object()
        self.before_use: Callable[[nn.Module], None] = lambda module: None

    @classmethod
    def load(
        cls,
        path: PathOrFile | TowerFile,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        width: int | None = None,
        operations: Any = ops,
    ) -> "ClipVision":
        """Load a tower from transformers' folder or from a ``.safetensors`` file.

        Args:
            path: a folder (``model.safetensors``, ``config.json``) or a file in transformers', ComfyUI's or open_clip's
                layout, or a tower that ``find_tower`` found.
            device: where weights are put and computed with; on ``cpu`` they stay mapped from the file.
            dtype: the type computed in. Storage stays as it is in the file.
            width: how wide its tokens have to be; any by default.
            operations: classes for the leaves with weights.

        Raises:
            HyperLoRAError: there is no such file, it is broken, or it holds no CLIP image encoder, or another one.
        """
        weights = find_tower(path, width)
        with torch.device("meta"):
            model = ClipTower(weights.config, operations)
        model.load_state_dict(weights.state_dict(model), assign=True)
        model.requires_grad_(False).eval().to(device)
        clip = cls(model, weights.config, weights.encoder)
        clip.compute_device, clip.compute_dtype = torch.device(device), dtype
        clip._content = (weights.encoder.sha256, stamp([weights.file.path]))
        activation = "quick GELU" if clip.config.quick_gelu else "GELU"
        log.info("Loaded CLIP %s, %s, from %s", clip.describe(), activation, weights.file)
        return clip

    @property
    def width(self) -> int:
        """W, the length of a token."""
        return self.config.width

    @property
    def image_size(self) -> int:
        """S, the side of the square pictures it takes."""
        return self.config.image_size

    @property
    def cache_key(self) -> Hashable:
        """What its tokens depend on, beside the pictures; its weights are taken to be as they were loaded."""
        return (self._content, str(self.compute_device), self.compute_dtype)

    def describe(self) -> str:
        """What it is, as "ViT-L/14 at 224, 24 layers"."""
        return f"{self.config.name} at {self.config.image_size}, {self.config.layers} layers"

    def preprocess(self, images: Sequence[Image.Image]) -> Tensor:
        """``pixel_values`` in the size that it takes."""
        return pixel_values(images, self.image_size)

    @torch.no_grad()
    def tokens(self, pixel_values: Tensor) -> Tensor:
        """Encode pictures: transformers' ``hidden_states[-2]``, before the last layer and the last norm.

        Args:
            pixel_values: (batch, 3, S, S), from ``preprocess``.

        Returns:
            Tokens (batch, T, W), float32; the class token comes first.

        Raises:
            HyperLoRAError: the pixel values have another shape.
        """
        side = self.image_size
        if pixel_values.ndim != 4 or tuple(pixel_values.shape[1:]) != (3, side, side) or len(pixel_values) == 0:
            raise HyperLoRAError(
                f"CLIP was given pixel values of shape {tuple(pixel_values.shape)}: (batch, 3, {side}, {side}) is "
                f"needed, with at least one picture; this one is {self.describe()}"
            )
        self.before_use(self.model)
        return self.model(pixel_values.to(self.compute_device, self.compute_dtype)).float()


def pixel_values(images: Sequence[Image.Image], size: int) -> Tensor:
    """CLIP's own preprocessing, on PIL as OpenAI's: shortest side to S, bicubic, centre crop, mean and std.

    Args:
        images: pictures of any size and mode; alpha is dropped.
        size: S.

    Returns:
        ``(batch, 3, S, S)``, float32, on the CPU.

    Raises:
        HyperLoRAError: there is no picture, or one is empty or a thin strip.
    """
    if not images:
        raise HyperLoRAError("CLIP was given no picture: at least one is needed")
    return normalised(torch.stack([square(image, size) for image in images]))


def normalised(squares: Tensor) -> Tensor:
    """Pictures of ``square``, ``(batch, 3, S, S)``, as the float32 that CLIP takes."""
    return (squares / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def square(image: Image.Image, size: int) -> Tensor:
    """A picture as ``pixel_values`` resizes and cuts it, ``(3, S, S)`` uint8.

    Raises:
        HyperLoRAError: it is empty or a thin strip.
    """
    width, height = image.size
    if min(width, height) == 0 or max(width, height) > _MAX_ASPECT * min(width, height):
        raise HyperLoRAError(
            f"CLIP cannot look at a picture of {width} x {height} pixels: neither side may be 0, "
            f"nor more than {_MAX_ASPECT} times the other"
        )
    resized = (int(size * width / min(image.size)), int(size * height / min(image.size)))
    left, top = (resized[0] - size) // 2, (resized[1] - size) // 2
    image = image.convert("RGB").resize(resized, Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image.crop((left, top, left + size, top + size)))).permute(2, 0, 1)
