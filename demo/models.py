"""Demo models: every file the workflows need, in its real format, small and full of random numbers.

They prove the wiring. What they draw is nothing.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from . import face_pack as faces
from . import sdxl
from .cache import SetupError, build_once, recipe_hash
from .comfyui import comfyui

HYPER_LORA = "hyperlora_demo"
CLIP_VISION = "hyperlora_demo_clip.safetensors"
STYLE_LORA = "hyperlora_demo_style.safetensors"

_WIDTH, _TEXT = 320, 2048
_RANK, _BASE_RANK, _SIZE = 8, 4, 16
_DIM, _INNER, _DEPTH, _MULT = 192, 128, 2, 4
_EMBED, _TOKENS, _CLIP_WIDTH = 512, 16, 64
_PLACES = [(f"down_blocks.{level}.attentions.{i}", level) for level in (1, 2) for i in range(2)]
_PLACES += [(f"up_blocks.{2 - level}.attentions.{i}", level) for level in (2, 1) for i in range(3)]
ATTENTIONS = [
    f"{place}.transformer_blocks.{block}.{kind}"
    for place, depth in _PLACES
    for block in range(depth)
    for kind in ("attn1", "attn2")
]
"""The attentions of the demo UNet, by their diffusers paths."""


def demo_models() -> Path:
    """A ``models`` folder for ComfyUI, made once (about 2 GB, most of it SDXL's text encoders)."""
    recipe = recipe_hash(__file__, sdxl.__file__, faces.__file__)
    return build_once(f"demo-models-{recipe}", _build)


def _build(folder: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    _make_hyper_lora(folder / "hyper_lora" / HYPER_LORA, generator)
    _make_clip_vision(folder / "clip_vision" / CLIP_VISION)
    _make_style_lora(folder / "loras" / STYLE_LORA, generator)
    shutil.copytree(faces.face_pack(), folder / "insightface" / "models" / "antelopev2")
    command = [sys.executable, "-m", "demo.sdxl", str(comfyui()), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent)
    if result.returncode:
        raise SetupError(f"the demo checkpoint could not be made:\n{result.stderr}")


def _linear(generator: torch.Generator, out: int, width: int, gain: float = 1.0) -> Tensor:
    return torch.randn(out, width, generator=generator) * gain / width**0.5


def _make_hyper_lora(folder: Path, generator: torch.Generator) -> None:
    """A checkpoint in the released layout, with Base parts, for the demo UNet."""
    folder.mkdir(parents=True)
    modules = {
        f"lora_unet_{name.replace('.', '_')}": {
            "hidden_size": _WIDTH,
            "cross_attention_dim": _TEXT if name.endswith("attn2") else None,
        }
        for name in ATTENTIONS
    }
    (folder / "hyper_lora_modules.json").write_text(json.dumps(modules, indent=1))
    bases = {}
    for i, module in enumerate(modules.values()):
        for projection in ("to_q", "to_k", "to_v", "to_out"):
            reads_text = projection in ("to_k", "to_v") and module["cross_attention_dim"]
            width = module["cross_attention_dim"] if reads_text else _WIDTH
            for kind, rank in (("id", _RANK), ("base", _BASE_RANK)):
                name = f"{i}.{projection}.{kind}"
                down = torch.randn(_SIZE, width, rank, generator=generator) / width**0.5
                bases[f"{name}_down_basis"] = down
                bases[f"{name}_up_basis"] = torch.randn(_SIZE, rank, _WIDTH, generator=generator) * 0.3
    projector = {
        "0.weight": _linear(generator, _TOKENS * _CLIP_WIDTH, _EMBED) * _EMBED**0.5,  # its input has unit length
        "0.bias": torch.zeros(_TOKENS * _CLIP_WIDTH),
        "2.weight": torch.ones(_CLIP_WIDTH),
        "2.bias": torch.zeros(_CLIP_WIDTH),
    }
    rows = 8 * len(modules)
    files = {
        "hyper_lora_modules": bases,
        "id_projector": projector,
        "resampler": _resampler(generator, rows, conditions=2),
        "base_resampler": _resampler(generator, rows, conditions=1),
    }
    for name, tensors in files.items():
        save_file({key: value.half() for key, value in tensors.items()}, folder / f"{name}.safetensors")


def _resampler(generator: torch.Generator, rows: int, conditions: int) -> dict[str, Tensor]:
    """Queries that look about evenly at what they read, and take much of it: the LoRA varies smoothly with the face."""
    tensors = {
        "latents": torch.randn(1, rows, _DIM, generator=generator) * 0.5,
        "proj_out.weight": _linear(generator, _SIZE, _DIM),
        "proj_out.bias": torch.zeros(_SIZE),
    }
    for name in ("proj_in", "proj_in_2")[:conditions]:
        tensors[f"{name}.weight"] = _linear(generator, _DIM, _CLIP_WIDTH)
        tensors[f"{name}.bias"] = torch.zeros(_DIM)
    attentions = ["attn1", "attn2", "attn3"][: 1 + conditions]
    norms = ["norm_attn1", "norm_attn2_l", "norm_attn2_x", "norm_attn3_l", "norm_attn3_y"][: 1 + 2 * conditions]
    for i in range(_DEPTH):
        for name in attentions:
            for projection in ("to_q", "to_k", "to_v"):
                tensors[f"layers.{i}.{name}.{projection}.weight"] = _linear(generator, _INNER, _DIM)
            gain = 4.0 if name == "attn2" else 1.0
            tensors[f"layers.{i}.{name}.to_out.0.weight"] = _linear(generator, _DIM, _INNER, gain)
        for name in [*norms, "norm_ff"]:
            tensors[f"layers.{i}.{name}.weight"] = torch.ones(_DIM)
            tensors[f"layers.{i}.{name}.bias"] = torch.zeros(_DIM)
        tensors[f"layers.{i}.ff.net.0.proj.weight"] = _linear(generator, _DIM * _MULT, _DIM)
        tensors[f"layers.{i}.ff.net.0.proj.bias"] = torch.zeros(_DIM * _MULT)
        tensors[f"layers.{i}.ff.net.2.weight"] = _linear(generator, _DIM, _DIM * _MULT)
        tensors[f"layers.{i}.ff.net.2.bias"] = torch.zeros(_DIM)
    return tensors


def _make_clip_vision(path: Path) -> None:
    """A small CLIP image encoder in transformers' layout, the one of ComfyUI's ``models/clip_vision``."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=_CLIP_WIDTH,
        intermediate_size=4 * _CLIP_WIDTH,
        num_hidden_layers=4,
        num_attention_heads=1,
        image_size=224,
        patch_size=32,
        projection_dim=32,
        hidden_act="quick_gelu",
    )
    path.parent.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIPVisionModelWithProjection(config)
    tensors = {name: value.contiguous() for name, value in model.state_dict().items() if value.is_floating_point()}
    save_file(tensors, path)


def _make_style_lora(path: Path, generator: torch.Generator) -> None:
    """An ordinary LoRA of attention and feed-forward, by kohya's names, to chain with."""
    tensors = {}
    for attention in ATTENTIONS:
        block, kind = attention.rsplit(".", 1)
        layers = [(f"{attention}.to_q", _WIDTH, _WIDTH), (f"{attention}.to_out.0", _WIDTH, _WIDTH)]
        if kind == "attn1":
            layers.append((f"{block}.ff.net.2", 4 * _WIDTH, _WIDTH))
        for name, width, out in layers:
            key = f"lora_unet_{name.replace('.', '_')}"
            tensors[f"{key}.lora_down.weight"] = torch.randn(4, width, generator=generator) / width**0.5
            tensors[f"{key}.lora_up.weight"] = torch.randn(out, 4, generator=generator) * 0.3
            tensors[f"{key}.alpha"] = torch.tensor(4.0)
    path.parent.mkdir(parents=True)
    save_file(
        {key: value.half() for key, value in tensors.items()}, path, metadata={"ss_network_module": "networks.lora"}
    )
