"""The network against the public implementation's numbers, and its contracts."""

import threading

import pytest
import torch
from torch import nn

from hyperlora_core import HyperLoRA, HyperLoRAError, ops
from hyperlora_core.lora.names import canonical_name, flat_name
from hyperlora_core.network.config import AttentionModule, HyperLoRAConfig, ResamplerConfig

COEFFICIENT_TOLERANCE = {torch.float32: 1e-5, torch.float16: 3e-3, torch.bfloat16: 3e-2}


def id_inputs(golden, photos=slice(None)):
    return golden["input.id_embed"][photos, 0], golden["input.clip_hidden"][photos]


@pytest.fixture(scope="module")
def network(golden_checkpoint):
    return HyperLoRA.load(golden_checkpoint)


@pytest.mark.parametrize("dtype", COEFFICIENT_TOLERANCE, ids=str)
def test_coefficients_equal_the_public_implementations(golden_checkpoint, golden, dtype):
    network = HyperLoRA.load(golden_checkpoint, dtype=dtype)
    found = {
        "id_coefficients": network.id_coefficients(*id_inputs(golden)),
        "id_coefficients_first_image_only": network.id_coefficients(*id_inputs(golden, slice(1))),
        "base_coefficients": network.base_coefficients(golden["input.base_clip_hidden"]),
    }
    for name, coefficients in found.items():
        torch.testing.assert_close(
            coefficients, golden[f"expect.{name}"][0], rtol=0, atol=COEFFICIENT_TOLERANCE[dtype], msg=name
        )


@pytest.mark.parametrize("kind", ["id", "base"])
def test_lora_equals_the_public_implementations(network, golden, kind):
    coefficients = golden[f"expect.{kind}_coefficients"][0]
    lora = network.id_lora(coefficients) if kind == "id" else network.base_lora(coefficients)
    expected = {
        name.removeprefix(f"expect.{kind}_lora."): tensor
        for name, tensor in golden.items()
        if name.startswith(f"expect.{kind}_lora.")
    }
    assert len(expected) == 3 * 4 * 3  # modules, projections, tensors
    by_flat_names = {
        flat_name(canonical_name(stem)) + suffix: tensor
        for stem, suffix, tensor in ((key.partition(".")[0], key[key.index(".") :], each) for key, each in lora.items())
    }
    for name, tensor in expected.items():
        ours = by_flat_names[name]
        assert ours.shape == tensor.shape
        assert (ours - tensor).abs().max() <= 1e-5 * tensor.abs().max(), name
    assert len(lora) == 30 * 4 * 3


def test_hyperparameters_are_read_off_the_shapes(network):
    config = network.config
    assert config.id_resampler == ResamplerConfig(240, 192, 2, 2, 4, (64, 64), 4)
    assert config.base_resampler == ResamplerConfig(240, 192, 2, 2, 4, (64,), 4)
    assert (config.id_rank, config.base_rank, config.id_tokens, config.token_width) == (8, 4, 4, 64)
    assert (config.id_embed_dim, config.clip_width, config.basis_size) == (512, 64, 4)
    assert config.modules[0] == AttentionModule("down_blocks.2.attentions.0.transformer_blocks.0.attn1", 320, None)


def test_storage_stays_as_in_the_file_and_mapped(network):
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float16}
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_sdxl_has_the_sizes_of_the_released_model():
    widths = [(640, 10), (1280, 60)]
    modules = tuple(
        AttentionModule(f"{width}.{i}.{kind}", width, text)
        for width, count in widths
        for i in range(count)
        for kind, text in (("attn1", None), ("attn2", 2048))
    )
    resampler = ResamplerConfig(1120, 1024, 4, 12, 4, (1024, 1024), 128)
    base = ResamplerConfig(1120, 1024, 4, 12, 4, (1024,), 128)
    config = HyperLoRAConfig(modules, resampler, base, 8, 4, 512, 16, 1024, 1024)
    network = HyperLoRA(config, device="meta")

    def parameters(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    assert parameters(network.id_bases) == 1_486_356_480
    assert parameters(network.base_bases) == 743_178_240
    assert parameters(network.resampler) == 74_750_080
    assert parameters(network.base_resampler) == 61_101_184
    assert parameters(network.id_projector) == 8_407_040


def test_a_batch_of_photos_gives_each_photos_rows(network, golden):
    together = network.id_rows(*id_inputs(golden))
    alone = [network.id_rows(*id_inputs(golden, slice(i, i + 1))) for i in range(2)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)


def test_mix_is_the_mean_and_then_unit_rows():
    rows = torch.randn(3, 16, 4)
    mean = rows.mean(0)
    torch.testing.assert_close(HyperLoRA.mix(rows), mean / mean.norm(dim=-1, keepdim=True), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(HyperLoRA.mix(rows, torch.ones(3)), HyperLoRA.mix(rows))
    torch.testing.assert_close(HyperLoRA.mix(rows, torch.tensor([0.0, 2.0, 0.0])), HyperLoRA.mix(rows[1:2]))
    people = torch.stack([rows, rows.flip(-1)])
    torch.testing.assert_close(HyperLoRA.mix(people), torch.stack([HyperLoRA.mix(rows), HyperLoRA.mix(rows.flip(-1))]))


@pytest.mark.parametrize(
    ("rows", "weights", "message"),
    [
        (torch.ones(0, 16, 4), None, "at least one photo"),
        (torch.ones(2, 16, 4), torch.ones(3), "one weight a photo"),
        (torch.ones(2, 16, 4), torch.tensor([1.0, -1.0]), "sum to zero"),
    ],
)
def test_mix_refuses_what_has_no_mean(rows, weights, message):
    with pytest.raises(HyperLoRAError, match=message):
        HyperLoRA.mix(rows, weights)


@pytest.mark.parametrize(
    ("embeds", "tokens", "message"),
    [
        (torch.ones(1, 256), torch.ones(1, 17, 64), r"face embeddings of shape \(refs, 512\).*\(1, 256\)"),
        (torch.ones(1, 512), torch.ones(1, 257, 1280), "CLIP vision model is not the one"),
        (torch.ones(2, 512), torch.ones(1, 17, 64), "2 face embeddings and CLIP tokens of 1 photos"),
        (torch.ones(1, 512), None, "needs CLIP tokens"),
        (torch.ones(0, 512), torch.ones(0, 17, 64), "face embeddings of shape"),
    ],
)
def test_inputs_that_do_not_fit_are_named(network, embeds, tokens, message):
    with pytest.raises(HyperLoRAError, match=message):
        network.id_rows(embeds, tokens)


def test_a_checkpoint_without_base_parts_says_so(checkpoint_copy, golden):
    (checkpoint_copy / "base_resampler.safetensors").unlink()
    bases = checkpoint_copy / "hyper_lora_modules.safetensors"
    from safetensors.torch import load_file, save_file

    save_file({k: v.clone() for k, v in load_file(bases).items() if ".id_" in k}, bases)
    network = HyperLoRA.load(checkpoint_copy)
    assert not network.config.has_base
    torch.testing.assert_close(
        network.id_coefficients(*id_inputs(golden)), golden["expect.id_coefficients"][0], rtol=0, atol=1e-5
    )
    for call in (lambda: network.base_rows(torch.ones(1, 17, 64)), lambda: network.base_lora(torch.ones(240, 4))):
        with pytest.raises(HyperLoRAError, match="has no Base parts"):
            call()


def test_leaves_with_weights_are_made_by_the_classes_given(golden_checkpoint, golden):
    class Recording:
        def __init__(self):
            self.made = set()

        def __getattr__(self, name):
            self.made.add(name)
            return getattr(ops, name)

    operations = Recording()
    network = HyperLoRA.load(golden_checkpoint, operations=operations)
    assert operations.made == {"Linear", "LayerNorm", "Learned", "Basis"}
    leaves = (ops.Linear, ops.LayerNorm, ops.Learned, ops.Basis)
    for name, module in network.named_modules():
        if list(module.parameters(recurse=False)):
            assert isinstance(module, leaves), name
            assert not list(module.children()), f"{name} has weights and children"


def test_what_does_not_depend_on_the_photo_is_computed_once(golden_checkpoint, golden):
    network = HyperLoRA.load(golden_checkpoint)
    ran = []
    network.resampler.layers[0].attn1.register_forward_hook(lambda *_: ran.append(1))
    with torch.no_grad():
        first = network.id_coefficients(*id_inputs(golden))
        again = network.id_coefficients(*id_inputs(golden))
        assert len(ran) == 1 and torch.equal(first, again)
        network.compute_dtype = torch.bfloat16
        network.id_coefficients(*id_inputs(golden))
        network.compute_dtype = torch.float32
        assert torch.equal(network.id_coefficients(*id_inputs(golden)), first) and len(ran) == 3
        network.resampler.latents.weight.mul_(1.5)
        changed = network.id_coefficients(*id_inputs(golden))
        assert len(ran) == 4
    fresh = HyperLoRA.load(golden_checkpoint)
    fresh.resampler.latents.weight.data.mul_(1.5)
    torch.testing.assert_close(changed, fresh.id_coefficients(*id_inputs(golden)), rtol=0, atol=1e-6)
    network.id_coefficients(*id_inputs(golden))
    network.id_coefficients(*id_inputs(golden))
    assert len(ran) == 6, "with gradients nothing is kept"


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_golden_numbers_in_every_mode(golden_checkpoint, golden, mode):
    network = HyperLoRA.load(golden_checkpoint)
    for _ in range(2):
        with mode():
            found = network.id_coefficients(*id_inputs(golden))
        torch.testing.assert_close(found, golden["expect.id_coefficients"][0], rtol=0, atol=1e-5)


def test_casts_of_several_threads_do_not_meet():
    weights = [torch.full((64, 512), float(i), dtype=torch.float16) for i in range(4)]
    like, wrong = torch.zeros(1), []

    def work(i):
        with torch.inference_mode():
            for _ in range(200):
                cast = ops.cast(weights[i], like)
                if cast.dtype != torch.float32 or not (cast == i).all():
                    wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_where_gradients_are_wanted_a_cast_is_kept():
    weights = [torch.full((3, 4), float(i), dtype=torch.float16) for i in (1, 2)]
    kept = [ops.cast(weight, torch.zeros(1)) for weight in weights]
    assert [float(tensor.mean()) for tensor in kept] == [1, 2]
    with torch.no_grad():
        assert ops.cast(kept[0], torch.zeros(1)) is kept[0], "nothing to cast"


def test_a_network_trains_through_half_precision_weights(golden_checkpoint, golden):
    """The scratch memory of inference must not get into a gradient."""
    network = HyperLoRA.load(golden_checkpoint)
    embeds = golden["input.id_embed"][:, 0].clone().requires_grad_()
    network.id_coefficients(embeds, golden["input.clip_hidden"]).square().sum().backward()
    wide = HyperLoRA.load(golden_checkpoint).float()
    other = golden["input.id_embed"][:, 0].clone().requires_grad_()
    wide.id_coefficients(other, golden["input.clip_hidden"]).square().sum().backward()
    torch.testing.assert_close(embeds.grad, other.grad, rtol=1e-4, atol=1e-7)


def test_several_people_at_once_are_each_alone(network):
    generator = torch.Generator().manual_seed(0)
    coefficients = network.mix(torch.randn(3, 1, 240, 4, generator=generator))
    with torch.no_grad():
        together = network.id_loras(coefficients)
        alone = [network.id_lora(one) for one in coefficients]
    assert len(together) == 3
    for one, other in zip(together, alone, strict=True):
        assert one.keys() == other.keys() and one.rank == other.rank
        for name, tensor in one.items():
            assert tensor.is_contiguous()
            torch.testing.assert_close(tensor, other[name], rtol=0, atol=1e-5)


def test_coefficients_that_do_not_fit(network):
    with pytest.raises(HyperLoRAError, match=r"of shape \(240, 4\) a person were expected, got \(1, 240, 5\)"):
        network.id_lora(torch.zeros(240, 5))
    with pytest.raises(HyperLoRAError, match=r"of shape \(240, 4\) a person were expected, got \(240, 4\)"):
        network.id_loras(torch.zeros(240, 4))
