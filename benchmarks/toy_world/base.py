"""The base: a small diffusers UNet that knows the world and its words, in SDXL's place.

It sees pictures as patches, 8 x 8 of 4 x 4 pixels, 48 numbers each: the latents. The noise schedule is the cosine one
moved towards noise (after Simple Diffusion, arXiv 2301.11093), for small pictures show who is in them through much
noise. The UNet computes the clean picture, for a patch of noise is harder to compute (after Li and He, arXiv
2511.13720), and tells it as a velocity (arXiv 2202.00512), as the objective asks for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import Tensor, nn

from hyperlora_core.training import counter
from hyperlora_core.training.objective import Objective

from .words import VOCABULARY

PATCH = 4
WORD_WIDTH = 64
TIMESTEPS = 1000
_SHIFT = 0.5
_LEAST_SPREAD = 0.05


@dataclass(frozen=True)
class ToyObjective(Objective):
    """What LoRAs are trained by: the error of the clean picture, and more often where there is much noise."""

    def timesteps(self, seed: int, samples: Sequence[int]) -> Tensor:
        """``(B,)`` int64, each as likely as it is late."""
        drawn = torch.tensor([counter.uniform(seed, each, "timestep") for each in samples])
        return (drawn.sqrt() * len(self.alphas_cumprod)).long()

    def weights(self, timesteps: Tensor) -> Tensor:
        """``(B,)`` float32: a velocity's error is the picture's over the spread of the noise."""
        return 1 - self.alphas_cumprod[timesteps.cpu()]


class PictureUNet(UNet2DConditionModel):
    """A UNet whose output is a clean picture, told as a velocity."""

    def forward(self, sample: Tensor, timestep: Tensor, *args: Any, **kwargs: Any) -> UNet2DConditionOutput:
        """As ``UNet2DConditionModel``'s; timesteps ``(N,)``."""
        clean = super().forward(sample, timestep, *args, **kwargs).sample
        alphas = objective().alphas_cumprod[timestep][:, None, None, None]
        spread = (1 - alphas).sqrt().clamp(min=_LEAST_SPREAD)
        return UNet2DConditionOutput(sample=(alphas.sqrt() * sample - clean) / spread)


class Base(nn.Module):
    """UNet and the table of its words.

    Attributes:
        unet: reads latents ``(N, 48, 8, 8)`` and words ``(N, 15, 64)``.
        words: the table.
    """

    def __init__(self, widths: tuple[int, ...] = (128, 192), patch: int = PATCH) -> None:
        super().__init__()
        self.patch = patch
        side = 32 // patch
        self.unet = PictureUNet(
            sample_size=side,
            in_channels=3 * patch**2,
            out_channels=3 * patch**2,
            block_out_channels=widths,
            layers_per_block=1,
            down_block_types=["CrossAttnDownBlock2D"] * len(widths),
            up_block_types=["CrossAttnUpBlock2D"] * len(widths),
            mid_block_type="UNetMidBlock2DCrossAttn",
            attention_head_dim=[width // 32 for width in widths],
            cross_attention_dim=WORD_WIDTH,
            norm_num_groups=16,
            use_linear_projection=True,
        )
        self.words = nn.Embedding(VOCABULARY, WORD_WIDTH)

    def forward(self, latents: Tensor, timesteps: Tensor, words: Tensor) -> Tensor:
        """What the UNet predicts, in the latents' shape."""
        return self.unet(latents, timesteps, self.words(words)).sample


@cache
def objective() -> ToyObjective:
    """The noise schedule and what is predicted."""
    angle = 0.5 * math.pi * (torch.arange(TIMESTEPS) + 0.5) / TIMESTEPS
    log_snr = -2 * angle.tan().log() + 2 * math.log(_SHIFT)
    return ToyObjective(log_snr.sigmoid(), prediction="v_prediction")


def latents_of(pictures: Tensor, patch: int = PATCH) -> Tensor:
    """Pictures ``(N, 3, 32, 32)`` in [0, 1] -> latents ``(N, 48, 8, 8)`` in [-1, 1]."""
    return F.pixel_unshuffle(pictures * 2 - 1, patch)


def pictures_of(latents: Tensor, patch: int = PATCH) -> Tensor:
    """The way back, cut to [0, 1]."""
    return (F.pixel_shuffle(latents, patch) / 2 + 0.5).clamp(0, 1)
