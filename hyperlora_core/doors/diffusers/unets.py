"""The UNets that a HyperLoRA can be trained for, by name, and SDXL's VAE: shapes alone, for plans without weights.

Numbers are those of the published ``unet/config.json`` files: SDXL (arXiv 2307.01952), Segmind's SSD-1B and Vega
(arXiv 2401.02677), Stable Diffusion 1.5 (arXiv 2112.10752).
"""

from pathlib import Path
from typing import Any

import torch

from ...errors import HyperLoRAError
from .base_model import NAMED

_SDXL: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}

UNETS: dict[str, dict[str, Any]] = {
    "sdxl": _SDXL,
    "ssd-1b": _SDXL
    | {
        "transformer_layers_per_block": (1, (2, 2), (4, 4)),
        "reverse_transformer_layers_per_block": ((4, 4, 10), (2, 1, 1), 1),
        "mid_block_type": "UNetMidBlock2D",
    },
    "vega": _SDXL
    | {
        "transformer_layers_per_block": (1, (1, 1), (2, 2)),
        "reverse_transformer_layers_per_block": ((2, 2, 2), (1, 1, 1), 1),
        "mid_block_type": "UNetMidBlock2D",
    },
    "sd15": {
        "sample_size": 64,
        "block_out_channels": (320, 640, 1280, 1280),
        "attention_head_dim": 8,
        "cross_attention_dim": 768,
    },
}
"""Name -> diffusers' configuration."""


def unet_of(base: str, dtype: torch.dtype) -> torch.nn.Module:
    """A UNet on the meta device, which has shapes and no numbers.

    Args:
        base: one of ``UNETS``, what it is called on the Hugging Face hub, or a diffusers folder; empty for SDXL's.
        dtype: of its weights.

    Raises:
        HyperLoRAError: it is none of these, or cannot be read.
    """
    from diffusers import UNet2DConditionModel

    folder = Path(base) / "unet"
    name = {hub: short for short, hub in NAMED.items()}.get(base, base or "sdxl")
    if (folder / "config.json").is_file():
        try:
            config = UNet2DConditionModel.load_config(folder)
        except (OSError, ValueError) as error:
            raise HyperLoRAError(f"{folder / 'config.json'} cannot be read: {error}") from error
    elif name in UNETS:
        config = UNETS[name]
    else:
        raise HyperLoRAError(
            f"a plan loads nothing, so it knows nothing of the UNet of {base}: give --base a diffusers folder, or one "
            f"of {', '.join(UNETS)}"
        )
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config).requires_grad_(False).eval()
    return torch.nn.Module.to(unet, dtype)  # diffusers' own warns of parts that a real model keeps in float32


def sdxl_vae() -> Any:
    """SDXL's VAE on the meta device, in float32; Stable Diffusion 1.5's is of the same shape."""
    from diffusers import AutoencoderKL

    shape: Any = {
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    with torch.device("meta"):
        return AutoencoderKL(**shape)
