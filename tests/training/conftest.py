"""A small real UNet and a small fresh HyperLoRA for it."""

import pytest
import torch

from hyperlora_core.doors.diffusers import attention_modules
from hyperlora_core.training.forward import Conditions
from hyperlora_core.training.fresh import fresh
from tests.training.small_run import SHAPE
from tests.unets import sdxl_style


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
