"""The nodes load a HyperLoRA that the project's training wrote, and it changes the picture."""

import numpy as np
import torch
from diffusers import UNet2DConditionModel

from hyperlora_core import FaceAnalyzer
from hyperlora_core.cli import main
from hyperlora_core.doors.diffusers.unets import UNETS
from tests.support import models as demo
from tests.training.small_base import make_sdxl, make_set

NAME = "trained_here"


def test_what_training_writes_draws_in_the_nodes(
    server, small, picture, photos, face_pack, models, models_with_faults, comfyui_path, tmp_path
):
    torch.manual_seed(0)
    shape = UNETS["vega"] | {"block_out_channels": (320, 320, 320), "attention_head_dim": (5, 5, 5)}
    base = make_sdxl(tmp_path / "base", comfyui_path, UNet2DConditionModel(**shape), texts=(768, 1280))
    options = {
        "base": base,
        "data": make_set(tmp_path / "set", photos, FaceAnalyzer.load(face_pack)),
        "clip": models / "clip_vision" / demo.CLIP_VISION,
        "out": tmp_path / "run",
        "steps": 2,
        "samples-per-step": 1,
        "batch": 1,
        "resolution": 64,
        "mixed-precision": "no",
        "workers": 0,
        "sample-every": 0,
        "optimization.warmup": 0,
        "optimization.bases-learning-rate": 0.05,
        "shape.bases": 4,
        "shape.dim": 64,
        "shape.heads": 1,
        "shape.depth": 1,
        "shape.clip-width": 64,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    assert main(["train", "id_clip", "--cpu", *words]) == 0
    (tmp_path / "run" / "hyperlora").rename(models_with_faults / "hyper_lora" / NAME)
    drawn = [
        picture(
            small("portrait_simple", HyperLoRALoadModel={"model": NAME}, HyperLoRAPortrait={"id_weight": weight})
        ).astype(int)
        for weight in (0.0, 0.8)
    ]
    assert np.abs(drawn[0] - drawn[1]).mean() > 1
