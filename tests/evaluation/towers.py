"""Small random CLIP towers: folders that open_clip loads, and transformers' model of the same numbers."""

import json
from pathlib import Path

import torch
from open_clip import CLIP, CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

from hyperlora_core.evaluation.clip_scores import CONFIG, WEIGHTS

VISION = {"image_size": 56, "layers": 3, "width": 128, "head_width": 64, "patch_size": 14}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
EMBED = 48
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def clip_folder(folder: Path, seed: int = 0) -> Path:
    """A random tower, as the hub has them for open_clip."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model = CLIP(EMBED, CLIPVisionCfg(**VISION), CLIPTextCfg(**TEXT), quick_gelu=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / WEIGHTS)
    described = {"embed_dim": EMBED, "quick_gelu": True, "vision_cfg": VISION, "text_cfg": TEXT}
    normal = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / CONFIG).write_text(json.dumps({"model_cfg": described, "preprocess_cfg": normal}))
    return folder


class Tensors(torch.nn.Module):
    """A model of transformers as torchmetrics takes it: its features are tensors."""

    def __init__(self, model: CLIPModel) -> None:
        super().__init__()
        self.model, self.config = model, model.config

    def get_image_features(self, *given: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.model.get_image_features(*given).pooler_output

    def get_text_features(self, *given: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.model.get_text_features(*given).pooler_output


def for_torchmetrics(folder: Path, words: Path) -> tuple[Tensors, CLIPProcessor]:
    """The same tower, and what prepares pictures and texts for it.

    Args:
        folder: of the tower.
        words: a folder of CLIP's vocabulary.
    """
    return Tensors(as_transformers(folder)), CLIPProcessor(preparing(), CLIPTokenizer.from_pretrained(words))


def preparing() -> CLIPImageProcessorPil:
    """What transformers prepares pictures with for the tower."""
    side = VISION["image_size"]
    return CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}, image_mean=MEAN, image_std=STD
    )


def as_transformers(folder: Path) -> CLIPModel:
    """The same tower in another library."""
    state = load_file(folder / WEIGHTS)
    shape = {"hidden_act": "quick_gelu", "projection_dim": EMBED}
    vision = shape | {
        "hidden_size": VISION["width"],
        "intermediate_size": 4 * VISION["width"],
        "num_hidden_layers": VISION["layers"],
        "num_attention_heads": VISION["width"] // VISION["head_width"],
        "image_size": VISION["image_size"],
        "patch_size": VISION["patch_size"],
    }
    text = shape | {
        "hidden_size": TEXT["width"],
        "intermediate_size": 4 * TEXT["width"],
        "num_hidden_layers": TEXT["layers"],
        "num_attention_heads": TEXT["heads"],
        "vocab_size": TEXT["vocab_size"],
        "max_position_embeddings": TEXT["context_length"],
        "eos_token_id": 49407,
    }
    model = CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=EMBED)).eval()
    named = {
        "logit_scale": state["logit_scale"],
        "visual_projection.weight": state["visual.proj"].T,
        "text_projection.weight": state["text_projection"].T,
        "vision_model.embeddings.class_embedding": state["visual.class_embedding"],
        "vision_model.embeddings.position_embedding.weight": state["visual.positional_embedding"],
        "vision_model.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
    }
    for kind in ("weight", "bias"):
        named[f"vision_model.pre_layrnorm.{kind}"] = state[f"visual.ln_pre.{kind}"]
        named[f"vision_model.post_layernorm.{kind}"] = state[f"visual.ln_post.{kind}"]
        named[f"text_model.final_layer_norm.{kind}"] = state[f"ln_final.{kind}"]
        for part, layers, before in (("vision", VISION["layers"], "visual."), ("text", TEXT["layers"], "")):
            for layer in range(layers):
                block, ours = f"{before}transformer.resblocks.{layer}.", f"{part}_model.encoder.layers.{layer}."
                heads = state[f"{block}attn.in_proj_{kind}"].chunk(3)
                named |= {f"{ours}self_attn.{p}_proj.{kind}": head for p, head in zip("qkv", heads, strict=True)}
                named[f"{ours}self_attn.out_proj.{kind}"] = state[f"{block}attn.out_proj.{kind}"]
                named[f"{ours}layer_norm1.{kind}"] = state[f"{block}ln_1.{kind}"]
                named[f"{ours}layer_norm2.{kind}"] = state[f"{block}ln_2.{kind}"]
                named[f"{ours}mlp.fc1.{kind}"] = state[f"{block}mlp.c_fc.{kind}"]
                named[f"{ours}mlp.fc2.{kind}"] = state[f"{block}mlp.c_proj.{kind}"]
    model.load_state_dict(named)
    return model
