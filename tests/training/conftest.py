"""A small real UNet and a small fresh HyperLoRA for it."""

import pytest
import torch

from hyperlora_core import FaceAnalyzer
from hyperlora_core.doors.diffusers.unet import attention_modules
from hyperlora_core.training.forward import Conditions
from hyperlora_core.training.fresh import fresh
from tests.support.models import make_clip_vision
from tests.support.unets import sdxl_style
from tests.training.small_base import make_sdxl, make_set
from tests.training.small_run import SHAPE


@pytest.fixture(scope="session")
def unet():
    return sdxl_style(widths=(32, 64), depths=(1, 1), heads=(2, 4))


@pytest.fixture
def network(unet):
    return fresh(SHAPE.config(attention_modules(unet)), seed=0)


@pytest.fixture
def trained(network):
    """As after some training: the ``up`` bases are no longer zero."""
    numbers = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(".up.weight"):
                parameter.normal_(0, 0.3, generator=numbers)
    return network


def conditions(batch: int = 2, refs: int = 1, seed: int = 0) -> Conditions:
    numbers = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=numbers)

    return Conditions(
        id_on=torch.ones(batch),
        base_on=torch.ones(batch),
        present=torch.ones(batch, refs),
        id_embeds=torch.nn.functional.normalize(drawn(batch, refs, SHAPE.id_embed_dim), dim=-1),
        clip_tokens=drawn(batch, refs, 5, SHAPE.clip_width),
        base_tokens=drawn(batch, 5, SHAPE.clip_width),
    )


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory, comfyui_path):
    """A small base model of SDXL's kind, in diffusers' layout."""
    return make_sdxl(tmp_path_factory.mktemp("sdxl"), comfyui_path)


@pytest.fixture(scope="session")
def training_set(tmp_path_factory, photos, face_pack):
    """A small training set."""
    return make_set(tmp_path_factory.mktemp("set"), photos, FaceAnalyzer.load(face_pack))


@pytest.fixture(scope="session")
def clip_file(tmp_path_factory):
    """A small CLIP tower, 64 wide."""
    path = tmp_path_factory.mktemp("clip") / "clip_vision" / "small.safetensors"
    make_clip_vision(path)
    return path
