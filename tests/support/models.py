"""Demo models: every file the workflows need, in its real format, small and full of random numbers.

They prove the wiring. What they draw is nothing.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from demo import face_pack as faces
from demo import sdxl
from demo.cache import SetupError, build_once, recipe_hash
from demo.comfyui import comfyui
from demo.server import PACK
from demo.workflows import Workflow
from hyperlora_core.clip.weights import find_tower
from hyperlora_core.files.encoders import UNKNOWN, Encoders, face_encoder
from hyperlora_core.identity.file import save_identity
from hyperlora_core.identity.value import Identity
from hyperlora_core.network.checkpoint import read_checkpoint
from hyperlora_core.network.layout import ENCODERS_KEY, MODULES_JSON

HYPER_LORA = "hyperlora_demo"
CLIP_VISION = "hyperlora_demo_clip.safetensors"
STYLE_LORA = "hyperlora_demo_style.safetensors"
IDENTITY = "hyperlora_demo_person.safetensors"

STAND_INS = {
    "ckpt_name": ("checkpoints", sdxl.CHECKPOINT),
    "control_net_name": ("controlnet", sdxl.CONTROLNET),
    "lora_name": ("loras", STYLE_LORA),
    "model": ("hyper_lora", HYPER_LORA),
    "identity_name": ("hyper_lora/identities", IDENTITY),
}
"""For each input of a workflow that names a model: the folder below ``models``, and the demo model there."""

_WIDTH, _TEXT = 320, 2048
_RANK, _BASE_RANK = 8, 4
_MULT, _CLIP_WIDTH = 4, 64
_EMBED, _TOKENS = 512, 16
_PLACES = [(f"down_blocks.{level}.attentions.{i}", level) for level in (1, 2) for i in range(2)]
_PLACES += [(f"up_blocks.{2 - level}.attentions.{i}", level) for level in (2, 1) for i in range(3)]
ATTENTIONS = [
    f"{place}.transformer_blocks.{block}.{kind}"
    for place, depth in _PLACES
    for block in range(depth)
    for kind in ("attn1", "attn2")
]
"""The attentions of the demo UNet, by their diffusers paths."""


def with_demo_models(workflow: Workflow) -> Workflow:
    """A workflow in the API format with the demo models in place of those that it names."""
    return {
        number: node
        | {
            "inputs": {
                name: STAND_INS[name][1] if name in STAND_INS and isinstance(value, str) else value
                for name, value in node["inputs"].items()
            }
        }
        for number, node in workflow.items()
    }


def demo_models() -> Path:
    """A ``models`` folder for ComfyUI, made once (about 2 GB, most of it SDXL's text encoders)."""
    recipe = recipe_hash(__file__, sdxl.__file__, faces.__file__)
    return build_once(f"demo-models-{recipe}", _build)


def _build(folder: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    make_clip_vision(folder / "clip_vision" / CLIP_VISION)
    make_hyper_lora(folder / "hyper_lora" / HYPER_LORA, generator, encoders=demo_encoders(folder))
    _make_identity(folder / "hyper_lora", generator)
    _make_style_lora(folder / "loras" / STYLE_LORA, generator)
    shutil.copytree(faces.face_pack(), folder / "insightface" / "models" / "antelopev2")
    command = [sys.executable, "-m", "demo.sdxl", str(comfyui()), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PACK)
    if result.returncode:
        raise SetupError(f"the demo checkpoint could not be made:\n{result.stderr}")


def _linear(generator: torch.Generator, out: int, width: int, gain: float = 1.0) -> Tensor:
    return torch.randn(out, width, generator=generator) * gain / width**0.5


def demo_encoders(folder: Path) -> Encoders:
    """The encoders of a demo ``models`` folder, as a checkpoint notes those it was trained with."""
    clip = find_tower(folder / "clip_vision" / CLIP_VISION).encoder
    return Encoders(clip, face_encoder(faces.face_pack() / "glintr100.onnx"))


@dataclass(frozen=True)
class Shape:
    """The sizes of a random HyperLoRA for the demo UNet.

    Attributes:
        bases: K, coefficients a row.
        dim: width of the resampler.
        heads: of 64.
        depth: layers.
        reads: what the ID-LoRA is conditioned on: "face", "clip" or both.
        base: with Base parts.
        attentions: how many of the UNet's it is for.
    """

    bases: int = 16
    dim: int = 192
    heads: int = 2
    depth: int = 2
    reads: tuple[str, ...] = ("face", "clip")
    base: bool = True
    attentions: int = len(ATTENTIONS)


def make_hyper_lora(
    folder: Path, generator: torch.Generator, shape: Shape = Shape(), encoders: Encoders = UNKNOWN
) -> None:
    """A checkpoint in the released layout, for the demo UNet, that notes its encoders."""
    folder.mkdir(parents=True)
    modules = {
        f"lora_unet_{name.replace('.', '_')}": {
            "hidden_size": _WIDTH,
            "cross_attention_dim": _TEXT if name.endswith("attn2") else None,
        }
        for name in ATTENTIONS[: shape.attentions]
    }
    (folder / MODULES_JSON).write_text(json.dumps(modules, indent=1))
    bases = {}
    kinds = [("id", _RANK), ("base", _BASE_RANK)][: 1 + shape.base]
    for i, module in enumerate(modules.values()):
        for projection in ("to_q", "to_k", "to_v", "to_out"):
            reads_text = projection in ("to_k", "to_v") and module["cross_attention_dim"]
            width = module["cross_attention_dim"] if reads_text else _WIDTH
            for kind, rank in kinds:
                name = f"{i}.{projection}.{kind}"
                down = torch.randn(shape.bases, width, rank, generator=generator) / width**0.5
                bases[f"{name}_down_basis"] = down
                bases[f"{name}_up_basis"] = torch.randn(shape.bases, rank, _WIDTH, generator=generator) * 0.3
    files = {"hyper_lora_modules": bases}
    if "face" in shape.reads:
        files["id_projector"] = {
            "0.weight": _linear(generator, _TOKENS * _CLIP_WIDTH, _EMBED) * _EMBED**0.5,  # its input has unit length
            "0.bias": torch.zeros(_TOKENS * _CLIP_WIDTH),
            "2.weight": torch.ones(_CLIP_WIDTH),
            "2.bias": torch.zeros(_CLIP_WIDTH),
        }
    rows = 8 * len(modules)
    files["resampler"] = _resampler(generator, rows, shape, len(shape.reads))
    if shape.base:
        files["base_resampler"] = _resampler(generator, rows, shape, 1)
    for name, tensors in files.items():
        known = name == "hyper_lora_modules" and encoders != UNKNOWN
        metadata = {ENCODERS_KEY: json.dumps(encoders.to_json())} if known else None
        save_file({key: value.half() for key, value in tensors.items()}, folder / f"{name}.safetensors", metadata)


def _resampler(generator: torch.Generator, rows: int, shape: Shape, conditions: int) -> dict[str, Tensor]:
    """Queries that look about evenly at what they read, and take much of it: the LoRA varies smoothly with the face."""
    dim, inner = shape.dim, 64 * shape.heads
    tensors = {
        "latents": torch.randn(1, rows, dim, generator=generator) * 0.5,
        "proj_out.weight": _linear(generator, shape.bases, dim),
        "proj_out.bias": torch.zeros(shape.bases),
    }
    for name in ("proj_in", "proj_in_2")[:conditions]:
        tensors[f"{name}.weight"] = _linear(generator, dim, _CLIP_WIDTH)
        tensors[f"{name}.bias"] = torch.zeros(dim)
    attentions = ["attn1", "attn2", "attn3"][: 1 + conditions]
    norms = ["norm_attn1", "norm_attn2_l", "norm_attn2_x", "norm_attn3_l", "norm_attn3_y"][: 1 + 2 * conditions]
    for i in range(shape.depth):
        for name in attentions:
            for projection in ("to_q", "to_k", "to_v"):
                tensors[f"layers.{i}.{name}.{projection}.weight"] = _linear(generator, inner, dim)
            gain = 4.0 if name == "attn2" else 1.0
            tensors[f"layers.{i}.{name}.to_out.0.weight"] = _linear(generator, dim, inner, gain)
        for name in [*norms, "norm_ff"]:
            tensors[f"layers.{i}.{name}.weight"] = torch.ones(dim)
            tensors[f"layers.{i}.{name}.bias"] = torch.zeros(dim)
        tensors[f"layers.{i}.ff.net.0.proj.weight"] = _linear(generator, dim * _MULT, dim)
        tensors[f"layers.{i}.ff.net.0.proj.bias"] = torch.zeros(dim * _MULT)
        tensors[f"layers.{i}.ff.net.2.weight"] = _linear(generator, dim, dim * _MULT)
        tensors[f"layers.{i}.ff.net.2.bias"] = torch.zeros(dim)
    return tensors


def make_clip_vision(path: Path) -> None:
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


def _make_identity(folder: Path, generator: torch.Generator) -> None:
    """A person who is nobody."""
    checkpoint = read_checkpoint(folder / HYPER_LORA)
    identity = Identity(
        id_rows=torch.randn(1, 8 * len(ATTENTIONS), checkpoint.config.basis_size, generator=generator),
        base_rows=None,
        checkpoint=checkpoint.source,
        attentions=tuple(ATTENTIONS),
        embeds=torch.nn.functional.normalize(torch.randn(1, _EMBED, generator=generator)),
        embedder=face_encoder(faces.face_pack() / "glintr100.onnx"),
    )
    save_identity(identity, folder / "identities" / IDENTITY)


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
