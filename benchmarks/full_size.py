"""HyperLoRA checkpoints of full size in the released layout, full of random numbers, for measuring."""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from demo.cache import build_once, recipe_hash
from hyperlora_core.lora.names import flat_name
from hyperlora_core.network.config import AttentionModule, HyperLoRAConfig, ResamplerConfig
from hyperlora_core.network.hyperlora import HyperLoRA
from hyperlora_core.network.layout import MODULES_JSON, file_key

_BLOCK = 1 << 24  # random numbers, of which every basis is a part

# Of SDXL's UNet: place, attentions, transformer blocks each, width.
_PLACES = (
    ("down_blocks.1", 2, 2, 640),
    ("down_blocks.2", 2, 10, 1280),
    ("mid_block", 1, 10, 1280),
    ("up_blocks.0", 3, 10, 1280),
    ("up_blocks.1", 3, 2, 640),
)
_TEXT = 2048


def sdxl_config(bases: int = 128, rank: int = 8, attentions: int = 140) -> HyperLoRAConfig:
    """The released sizes, or some of them changed.

    Args:
        bases: K.
        rank: of the ID-LoRA.
        attentions: how many of the UNet's.
    """
    modules = tuple(
        AttentionModule(
            f"{place}.attentions.{i}.transformer_blocks.{block}.{kind}", width, _TEXT if kind == "attn2" else None
        )
        for place, count, blocks, width in _PLACES
        for i in range(count)
        for block in range(blocks)
        for kind in ("attn1", "attn2")
    )[:attentions]
    resampler = ResamplerConfig(8 * len(modules), 1024, 4, 12, 4, (1024, 1024), bases)
    return HyperLoRAConfig(modules, resampler, None, rank, None, 512, 16, 1024, 1024)


def checkpoint(config: HyperLoRAConfig) -> Path:
    """The folder of a random checkpoint of these sizes, made once: 3.1 GB for the released ones."""
    sizes = f"{config.basis_size}-{config.id_rank}-{len(config.modules)}"
    return (
        build_once(f"full-size-{sizes}-{recipe_hash(__file__)}", lambda folder: _write(folder / "sdxl", config))
        / "sdxl"
    )


def clip() -> Path:
    """The folder of a random CLIP ViT-L/14 in transformers' layout, made once: 0.6 GB."""
    return build_once(f"full-size-clip-{recipe_hash(__file__)}", _write_clip)


def _write_clip(folder: Path) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    torch.manual_seed(0)
    vit_l = CLIPVisionConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, patch_size=14
    )
    CLIPVisionModel(vit_l).half().save_pretrained(folder)


def _write(folder: Path, config: HyperLoRAConfig) -> None:
    folder.mkdir()
    names = {
        flat_name(module.name): {"hidden_size": module.hidden_size, "cross_attention_dim": module.cross_attention_dim}
        for module in config.modules
    }
    (folder / MODULES_JSON).write_text(json.dumps(names))
    parts: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in HyperLoRA(config, device="meta").shapes().items():
        part, name = file_key(key)
        parts.setdefault(part, {})[name] = shape
    generator = torch.Generator().manual_seed(0)
    block = torch.randn(_BLOCK, generator=generator)
    for part, shapes in parts.items():
        tensors = {name: _numbers(name, shape, block, generator).half() for name, shape in shapes.items()}
        save_file(tensors, folder / f"{part}.safetensors")


def _numbers(name: str, shape: tuple[int, ...], block: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers of a size that keeps activations near one."""
    if name.endswith("bias"):
        return torch.zeros(shape)
    if len(shape) == 1:
        return torch.ones(shape)
    if name.endswith("_basis"):
        count = math.prod(shape)
        start = int(torch.randint(len(block) - count, (), generator=generator))
        return block[start : start + count].view(shape) * 0.02
    return torch.randn(shape, generator=generator) * (0.5 if name == "latents" else shape[-1] ** -0.5)
