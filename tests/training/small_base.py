"""A small base model in diffusers' layout, and a small training set of real photos with real faces on them."""

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from hyperlora_core import FaceAnalyzer, open_photo
from hyperlora_core.data.shards import DatasetInfo, Sample, write_shard
from tests.support.unets import sdxl_style

_PEOPLE = {"obama": "obama", "obama2": "obama", "obama3": "obama", "biden": "biden"}


def _text_encoder(width: int, kind: type = CLIPTextModel, pooled: int = 16) -> torch.nn.Module:
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=pooled,
        bos_token_id=49406,
        eos_token_id=49407,
    )
    return kind(config)


def _parts(comfyui: Path) -> dict[str, object]:
    tokens = comfyui / "comfy" / "sd1_tokenizer"
    return {
        "tokenizer": CLIPTokenizer.from_pretrained(tokens, model_max_length=77),
        "vae": AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * 2,
            up_block_types=["UpDecoderBlock2D"] * 2,
            block_out_channels=[8, 16],
            norm_num_groups=4,
            latent_channels=4,
            scaling_factor=0.13025,
        ),
        "scheduler": EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
    }


def make_sdxl(
    folder: Path, comfyui: Path, unet: UNet2DConditionModel | None = None, texts: tuple[int, int] = (32, 16)
) -> Path:
    """A pipeline of SDXL's kind: two text encoders, so wide; a latent is two pixels."""
    torch.manual_seed(0)
    parts = _parts(comfyui)
    pipeline = StableDiffusionXLPipeline(
        **parts,
        tokenizer_2=parts["tokenizer"],
        text_encoder=_text_encoder(texts[0]),
        text_encoder_2=_text_encoder(texts[1], CLIPTextModelWithProjection, texts[1]),
        unet=unet or sdxl_style(widths=(32, 64), depths=(1, 1), heads=(2, 4)),
    )
    pipeline.save_pretrained(folder)
    return folder


def make_sd15(folder: Path, comfyui: Path) -> Path:
    """A pipeline of Stable Diffusion 1.5's kind: one text encoder, and a UNet that is told no sizes."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=4,
        cross_attention_dim=32,
        norm_num_groups=8,
    )
    pipeline = StableDiffusionPipeline(
        **_parts(comfyui),
        text_encoder=_text_encoder(32),
        unet=unet,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


def make_set(folder: Path, photos: dict[str, Path], analyzer: FaceAnalyzer) -> Path:
    """A training set of the photos that show one person, in two shards; one person is known on three of them."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for name in ("astronaut", "biden", "obama", "obama2", "obama3"):
        photo = open_photo(photos[name])
        face = max(analyzer.detect(photo), key=lambda each: each.area)
        samples.append(
            Sample(
                key=name,
                picture=photos[name].read_bytes(),
                suffix=photos[name].suffix,
                width=photo.width,
                height=photo.height,
                caption=f"a portrait of {name.rstrip('23')}",
                box=face.box,
                score=face.score,
                keypoints=face.keypoints,
                landmarks=face.landmarks,
                pose=(0.0, 0.0, 0.0),
                embed=analyzer.id_embedding(photo, face),
                person=_PEOPLE.get(name),
            )
        )
    write_shard(folder, "shard-000000", samples[:3])
    write_shard(folder, "shard-000001", samples[3:])
    DatasetInfo(analyzer.embedder, "by hand").write(folder)
    return folder
