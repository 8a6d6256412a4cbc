"""LoRAs injected into a real diffusers UNet: hooks = merged weights, and gradients flow."""

import copy

import pytest
import torch

from hyperlora_core import HyperLoRAError
from hyperlora_core.doors.diffusers.unet import LoRAInjection
from tests.support.unets import call, sdxl_style


@pytest.fixture(scope="module")
def unet():
    return sdxl_style(widths=(32, 64, 64), depths=(1, 1, 2), heads=(2, 4, 4))


@pytest.fixture(scope="module")
def targets(unet):
    return [
        name
        for name, module in unet.named_modules()
        if isinstance(module, torch.nn.Linear) and ".attn" in name and "transformer_blocks" in name
    ]


def matrices(unet, targets, seed, batch=None, rank=4, requires_grad=False):
    generator = torch.Generator().manual_seed(seed)
    lead = () if batch is None else (batch,)
    return {
        name: (
            torch.randn(*lead, rank, unet.get_submodule(name).in_features, generator=generator)
            .mul_(0.2)
            .requires_grad_(requires_grad),
            torch.randn(*lead, unet.get_submodule(name).out_features, rank, generator=generator)
            .mul_(0.2)
            .requires_grad_(requires_grad),
        )
        for name in targets
    }


@pytest.fixture
def injection(unet, targets):
    injection = LoRAInjection(unet, targets)
    yield injection
    injection.remove()


def test_targets_are_those_of_an_sdxl_style_unet(targets):
    assert len(targets) == 8 * (1 + 2 + 2 + 2 * 2 + 2 * 1)
    assert "mid_block.attentions.0.transformer_blocks.1.attn2.to_out.0" in targets


def test_hooks_equal_merged_weights(unet, targets, injection):
    lora = matrices(unet, targets, seed=2)
    plain = call(unet)
    with injection.active(lora):
        hooked = call(unet)
    merged = copy.deepcopy(unet)
    for name, (down, up) in lora.items():
        merged.get_submodule(name).weight += up @ down
    torch.testing.assert_close(hooked, call(merged), rtol=1e-4, atol=1e-5)
    assert (hooked - plain).abs().max() > 0.01
    assert torch.equal(call(unet), plain), "nothing remains outside the context"


def test_a_batch_of_loras_equals_each_alone(unet, targets, injection):
    lora = matrices(unet, targets, seed=3, batch=2)
    with injection.active(lora):
        together = call(unet)
    for i in range(2):
        with injection.active({name: (down[i], up[i]) for name, (down, up) in lora.items()}):
            torch.testing.assert_close(together[i], call(unet)[i], rtol=1e-4, atol=1e-5)


def test_gradients_are_the_same_with_and_without_checkpointing(unet, targets, injection):
    def gradients(checkpointed):
        lora = matrices(unet, targets, seed=4, requires_grad=True)
        unet.train()
        if checkpointed:
            unet.enable_gradient_checkpointing(injection.checkpoint)
        with injection.active(lora):
            loss = call(unet).square().mean()
        loss.backward()
        unet.disable_gradient_checkpointing()
        unet.eval()
        return [tensor.grad for pair in lora.values() for tensor in pair]

    plain, again = gradients(False), gradients(True)
    assert min(gradient.abs().max() for gradient in plain) > 0
    for one, other in zip(plain, again, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_zero_up_matrices_are_the_base_model(unet, targets, injection):
    lora = {name: (down, torch.zeros_like(up)) for name, (down, up) in matrices(unet, targets, seed=5).items()}
    plain = call(unet)
    with injection.active(lora):
        assert torch.equal(call(unet), plain)


def test_an_exception_leaves_nothing_active(unet, targets, injection):
    plain = call(unet)
    with pytest.raises(RuntimeError, match="stop"), injection.active(matrices(unet, targets, seed=6)):
        raise RuntimeError("stop")
    assert torch.equal(call(unet), plain)


def test_what_is_no_target_is_refused(unet, targets, injection):
    with pytest.raises(HyperLoRAError, match=r"has no mid_block\.nothing"):
        LoRAInjection(unet, ["mid_block.nothing"])
    with pytest.raises(HyperLoRAError, match="conv_in is a Conv2d"):
        LoRAInjection(unet, ["conv_in"])
    other = {"time_embedding.linear_1": (torch.zeros(1, 1), torch.zeros(1, 1))}
    with pytest.raises(HyperLoRAError, match="none of the"), injection.active(other):
        pass
