"""ComfyUI in this process, and a small model of its UNet with LoRAs for it."""

import sys
from types import ModuleType

import pytest
import torch

from hyperlora_core import HyperLoRA, LoRA
from tests.host.in_process.sampling import STRENGTH, random_lora, sample
from tests.host.in_process.unets import SMALL, VEGA, patcher


@pytest.fixture(scope="session")
def comfy(comfyui_path) -> ModuleType:
    """ComfyUI's ``comfy`` package, in this process, on the CPU."""
    sys.path.insert(0, str(comfyui_path))
    from comfy.cli_args import args

    args.cpu = True
    import comfy.model_management
    import comfy.sd
    import comfy.supported_models

    return comfy


@pytest.fixture(scope="module")
def base(comfy):
    """A small model of the SDXL family with random weights."""
    return patcher(comfy, "Segmind_Vega", SMALL)


@pytest.fixture(scope="module")
def door(comfy):
    from hyperlora_core.doors.comfyui import runtime

    return runtime


@pytest.fixture(scope="module")
def people(base) -> list[LoRA]:
    return [random_lora(base, seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def strong_people(base) -> list[LoRA]:
    """LoRAs with a large effect, so that pictures of two people clearly differ."""
    return [random_lora(base, seed, 0.6) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def running(door):
    """A model with LoRAs that act while it runs."""

    def make(model, *loras: LoRA, strength: float = STRENGTH):
        for lora in loras:
            model = door.add_layers(model, [door.Layer(lora, strength)])
        return model

    return make


@pytest.fixture(scope="module")
def plain(base) -> torch.Tensor:
    return sample(base)


@pytest.fixture(scope="module")
def vega(comfy):
    """A small model of the SDXL family: Segmind Vega's shape, 320 wide throughout."""
    return patcher(comfy, "Segmind_Vega", VEGA)


@pytest.fixture(scope="module")
def lora(golden_checkpoint, golden):
    """The golden checkpoint's LoRA, with random numbers where its bases are not stored."""
    lora = HyperLoRA.load(golden_checkpoint).id_lora(golden["expect.id_coefficients"][0])
    generator = torch.Generator().manual_seed(0)
    for key, value in lora.items():
        if key.endswith("weight"):
            lora[key] = torch.randn(value.shape, generator=generator) * 0.1
    return lora
