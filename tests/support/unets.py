"""Small real UNets of SDXL's kind, and one call of them."""

from collections.abc import Sequence

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor


def sdxl_style(
    widths: Sequence[int], depths: Sequence[int], heads: Sequence[int], layers: int = 1
) -> UNet2DConditionModel:
    """A frozen UNet of random weights whose first level alone has no attention; SDXL's own has two layers a block."""
    torch.manual_seed(0)
    attended = len(widths) - 1
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=tuple(widths),
        layers_per_block=layers,
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * attended),
        up_block_types=(*["CrossAttnUpBlock2D"] * attended, "UpBlock2D"),
        transformer_layers_per_block=tuple(depths),
        attention_head_dim=tuple(heads),
        cross_attention_dim=48,
        norm_num_groups=8,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 16,
    ).requires_grad_(False)


def call(unet: UNet2DConditionModel, batch: int = 2) -> Tensor:
    """What it predicts of some latents and texts, always the same."""
    generator = torch.Generator().manual_seed(1)
    return unet(
        torch.randn(batch, 4, 8, 8, generator=generator),
        torch.tensor(500),
        torch.randn(batch, 7, 48, generator=generator),
        added_cond_kwargs={
            "text_embeds": torch.randn(batch, 16, generator=generator),
            "time_ids": torch.zeros(batch, 6),
        },
    ).sample
