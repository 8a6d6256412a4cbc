"""CLIP's vision transformer up to its last but one layer, made of leaves that a host can move one by one.

open_clip's and transformers' own keep weights outside of leaves, which ComfyUI cannot load in part.

Shapes: B pictures, S their size in pixels, T tokens (1 + patches), W width. Architecture: Radford et al. 2021
(arXiv 2103.00020), Dosovitskiy et al. 2020 (arXiv 2010.11929). Names of tensors are open_clip's, with q, k and v apart.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .weights import TowerConfig

Activation = Callable[[Tensor], Tensor]


def quick_gelu(x: Tensor) -> Tensor:
    """The approximation that OpenAI trained with."""
    return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    """Multi-head self-attention with biases: ``(B, T, W) -> (B, T, W)``."""

    def __init__(self, width: int, heads: int, operations: Any) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (operations.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, T, W / heads)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """``(B, T, W) -> (B, T, W)``."""

    def __init__(self, width: int, hidden: int, activation: Activation, operations: Any) -> None:
        super().__init__()
        self.c_fc, self.c_proj = operations.Linear(width, hidden), operations.Linear(hidden, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.activation(self.c_fc(x)))


class Block(nn.Module):
    """Self-attention, then feed-forward; pre-norm, residual each time."""

    def __init__(self, config: TowerConfig, operations: Any) -> None:
        super().__init__()
        self.ln_1 = operations.LayerNorm(config.width, eps=config.eps)
        self.attn = Attention(config.width, config.heads, operations)
        self.ln_2 = operations.LayerNorm(config.width, eps=config.eps)
        activation = quick_gelu if config.quick_gelu else F.gelu
        self.mlp = MLP(config.width, config.mlp_width, activation, operations)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class ClipTower(nn.Module):
    """Pixels ``(B, 3, S, S)`` -> tokens ``(B, T, W)``: transformers' ``hidden_states[-2]``."""

    def __init__(self, config: TowerConfig, operations: Any) -> None:
        super().__init__()
        width, patch = config.width, config.patch_size
        self.conv1 = operations.Conv2d(3, width, kernel_size=patch, stride=patch, bias=False)
        self.class_embedding = operations.Learned(width)
        self.positional_embedding = operations.Learned(config.tokens, width)
        self.ln_pre = operations.LayerNorm(width, eps=config.eps)
        self.blocks = nn.ModuleList(Block(config, operations) for _ in range(config.layers - 1))

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding(patches).expand(len(patches), 1, -1)
        x = self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding(patches))
        for block in self.blocks:
            x = block(x)
        return x
