"""The CLIP image encoder: pictures in, the tokens that HyperLoRA's resamplers read out.

The tower is open_clip's, without what comes after ``hidden_states[-2]``.

Shapes: S image size in pixels, T tokens (1 + patches), W width.
"""

import logging
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from .clip_weights import TowerConfig, find_tower
from .encoders import Encoder
from .errors import HyperLoRAError, MissingPackageError
from .files import stamp

# Per channel, of RGB in 0..1: OpenAI's, which every CLIP was trained with.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

_MAX_ASPECT = 1000  # a picture's longer side over its shorter one; the resized picture is that many S high

log = logging.getLogger(__name__)


class ClipVision:
    """A CLIP image encoder up to its last but one layer.

    Attributes:
        model: the tower, a module that takes pixel values and gives tokens; may be moved and cast as any module.
        config: its hyperparameters.
        encoder: which tower it is.
        cache_key: what its tokens depend on.
        before_use: called with the tower that is about to compute, by which a host moves its weights.
    """

    def __init__(self, model: nn.Module, config: TowerConfig, encoder: Encoder) -> None:
        self.model = model
        self.config = config
        self.encoder = encoder
        self.cache_key: Hashable = object()
        self.before_use: Callable[[nn.Module], None] = lambda module: None

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        width: int | None = None,
    ) -> "ClipVision":
        """Load a tower from transformers' folder or from a ``.safetensors`` file.

        Args:
            path: a folder (``model.safetensors``, ``config.json``) or a file in transformers', ComfyUI's or open_clip's
                layout.
            device: where the weights go.
            dtype: the type computed in.
            width: how wide its tokens have to be; any by default.

        Raises:
            HyperLoRAError: there is no such file, it is broken, or it holds no CLIP image encoder, or another one.
            MissingPackageError: open_clip is not installed.
        """
        weights = find_tower(path, width)
        model = _build(weights.config)
        model.load_state_dict(weights.state_dict(model, torch.device(device), dtype), assign=True)
        encoder = weights.encoder()
        clip = cls(model.eval(), weights.config, encoder)
        clip.cache_key = (encoder.sha256, stamp([weights.path]), str(device), dtype)
        activation = "quick GELU" if clip.config.quick_gelu else "GELU"
        log.info("Loaded CLIP %s, %s, from %s", clip.describe(), activation, weights.path)
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
    def tokens_per_image(self) -> int:
        """T, the class token and one token a patch."""
        return 1 + (self.config.image_size // self.config.patch_size) ** 2

    def describe(self) -> str:
        """What it is, as "ViT-L/14 at 224, 24 layers"."""
        return f"{self.config.name} at {self.config.image_size}, {self.config.layers} layers"

    def preprocess(self, images: Sequence[Image.Image]) -> Tensor:
        """CLIP's own preprocessing, on PIL as OpenAI's: shortest side to S, bicubic, centre crop, mean and std.

        Args:
            images: pictures of any size and mode; alpha is dropped.

        Returns:
            Pixel values (batch, 3, S, S), float32, on the CPU.

        Raises:
            HyperLoRAError: there is no picture, or one is empty or a thin strip.
        """
        if not images:
            raise HyperLoRAError("CLIP was given no picture: at least one is needed")
        pixels = torch.stack([self._square(image) for image in images]).permute(0, 3, 1, 2)
        return (pixels / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

    def _square(self, image: Image.Image) -> Tensor:
        size, (width, height) = self.image_size, image.size
        if min(width, height) == 0 or max(width, height) > _MAX_ASPECT * min(width, height):
            raise HyperLoRAError(
                f"CLIP cannot look at a picture of {width} x {height} pixels: neither side may be 0, "
                f"nor more than {_MAX_ASPECT} times the other"
            )
        resized = (int(size * width / min(image.size)), int(size * height / min(image.size)))
        left, top = (resized[0] - size) // 2, (resized[1] - size) // 2
        image = image.convert("RGB").resize(resized, Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(image.crop((left, top, left + size, top + size))))

    @torch.no_grad()
    def tokens(self, pixel_values: Tensor) -> Tensor:
        """Encode pictures: transformers' ``hidden_states[-2]``, before the last layer and the last norm.

        Computed where the weights are, in their type.

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
        weight = next(self.model.parameters())
        return self.model(pixel_values.to(weight.device, weight.dtype)).float()


def _build(config: TowerConfig) -> nn.Module:
    """A tower without its last layer, last norm and projection, on the meta device: it has shapes and no weights."""
    try:
        from open_clip.transformer import LayerNorm, QuickGELU, VisionTransformer
    except (ImportError, RuntimeError, OSError) as error:  # the last two: a torchvision built for another torch
        raise MissingPackageError(
            f"open_clip, which runs CLIP, cannot be imported ({error}). Run: "
            'pip install "open_clip_torch>=3.3,<4", and a torchvision that fits your torch'
        ) from error
    with torch.device("meta"):
        tower = VisionTransformer(
            image_size=config.image_size,
            patch_size=config.patch_size,
            width=config.width,
            layers=config.layers - 1,
            heads=config.heads,
            mlp_ratio=(config.mlp_width + 0.5) / config.width,  # open_clip multiplies and truncates
            act_layer=QuickGELU if config.quick_gelu else nn.GELU,
            norm_layer=partial(LayerNorm, eps=config.eps),
            pool_type="none",
        )
    tower.ln_post, tower.proj = nn.Identity(), None
    return tower
