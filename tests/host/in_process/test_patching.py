"""LoRAs patched into the weights of ComfyUI's UNets."""

import gc
import weakref

import pytest
import torch

from hyperlora_core import (
    LoRA,
)
from tests.host.in_process.sampling import apply
from tests.host.in_process.unets import VEGA, patcher


def patched_weights(model) -> dict[str, torch.Tensor]:
    """Every weight of the UNet while the model is loaded, patches included."""
    model.patch_model(torch.device("cpu"))
    weights = {name: weight.clone() for name, weight in model.model.state_dict().items()}
    model.unpatch_model(torch.device("cpu"))
    return weights


@pytest.fixture(scope="module")
def plain(vega):
    return patched_weights(vega)


@pytest.mark.parametrize("strength", [1.0, 0.4, -3.0])
def test_weights_become_base_plus_scaled_product(comfy, vega, plain, lora, strength):
    targets = comfy.utils.unet_to_diffusers(VEGA)
    actual = patched_weights(apply(vega, lora, strength))
    changed = set()
    for name, factors in lora.factors():
        key = "diffusion_model." + targets[f"{name}.weight"]
        expected = plain[key] + strength * 0.5 * factors.up @ factors.down
        torch.testing.assert_close(actual[key], expected, rtol=1e-5, atol=1e-5)
        changed.add(key)
    assert len(changed) == 120
    assert all(torch.equal(actual[key], plain[key]) for key in plain.keys() - changed)


def test_strength_zero_and_an_empty_lora_are_an_exact_passthrough(vega, lora):
    assert apply(vega, lora, 0.0) is vega
    assert apply(vega, LoRA(), 1.0) is vega


def test_the_map_of_names_is_made_once_for_each_kind_of_unet(comfy, vega, lora):
    from hyperlora_core.doors.comfyui import patching

    patching._targets.cache_clear()
    for _ in range(3):
        patching.apply_lora(vega, lora, 0.5)
        patching.apply_lora(patcher(comfy, "Segmind_Vega", VEGA), lora, 0.5)
    assert patching._targets.cache_info().misses == 1


def test_the_given_model_is_left_as_it_was(vega, plain, lora):
    before = vega.patches_uuid
    patched_weights(apply(vega, lora, 1.0))
    assert vega.patches == {} and vega.patches_uuid == before
    assert all(torch.equal(weight, plain[name]) for name, weight in patched_weights(vega).items())


def test_patches_are_as_comfyuis_own_function_writes_them(vega, lora):
    model = apply(vega, lora, 0.3)
    actual = apply(model, lora, 0.5)
    expected = model.clone()
    expected.add_patches({key: patches[-1][1] for key, patches in actual.patches.items()}, 0.5)
    assert actual.patches == expected.patches
    assert {len(patches) for patches in actual.patches.values()} == {2}
    assert {len(patches) for patches in model.patches.values()} == {1}
    assert len({clone.patches_uuid for clone in (vega, model, actual, expected)}) == 4


def test_comfyui_patches_nothing_anew_for_the_same_model_lora_and_strength(comfy, vega, lora, monkeypatch):
    model = vega.clone()
    first = apply(model, lora, 0.5)
    patched, patch = [], comfy.model_patcher.ModelPatcher.patch_weight_to_device
    monkeypatch.setattr(
        comfy.model_patcher.ModelPatcher,
        "patch_weight_to_device",
        lambda self, key, *args, **kwargs: patched.append(key in self.patches) or patch(self, key, *args, **kwargs),
    )
    counts = []
    for next_model in (first, apply(model, lora, 0.5), apply(model, LoRA(lora), 0.5)):
        patched.clear()
        comfy.model_management.load_models_gpu([next_model])
        counts.append(sum(patched))
    assert counts == [120, 0, 120]
    comfy.model_management.unload_all_models()
    for same in (apply(model, lora, 0.5), apply(model.clone(), lora, 0.5)):
        assert first.clone_has_same_weights(same) and same.patches_uuid == first.patches_uuid
    changed = model.clone()
    changed.add_patches({"diffusion_model.input_blocks.0.0.weight": (torch.zeros(1),)}, 0.0)
    variants = [(model, lora, 0.6), (changed, lora, 0.5), (model, LoRA(lora), 0.5), (first, lora, 0.5)]
    for start, its_lora, strength in variants:
        assert not first.clone_has_same_weights(apply(start, its_lora, strength))
    twice = apply(first, lora, 0.5)
    assert twice.clone_has_same_weights(apply(apply(model, lora, 0.5), lora, 0.5))


def test_nothing_keeps_a_clone_or_its_model(vega, lora):
    gc.collect()
    gc.disable()
    try:
        model = vega.clone()
        clone, model_ref = weakref.ref(apply(model, lora, 0.5)), weakref.ref(model)
        assert clone() is None
        del model
        assert model_ref() is None
    finally:
        gc.enable()


def test_loras_add_up(vega, plain, lora):
    twice = patched_weights(apply(apply(vega, lora, 0.8), lora, -0.3))
    once = patched_weights(apply(vega, lora, 0.5))
    for name in plain:
        torch.testing.assert_close(twice[name], once[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_comfyuis_own_loader_gives_the_same_weights_from_the_saved_file(comfy, vega, lora, dtype, tmp_path):
    rounded = lora.to(dtype)
    path = rounded.save(tmp_path / "person.safetensors")
    theirs, _ = comfy.sd.load_lora_for_models(vega, None, comfy.utils.load_torch_file(str(path)), 0.8, 0)
    ours = patched_weights(apply(vega, rounded, 0.8))
    for name, weight in patched_weights(theirs).items():
        assert torch.equal(ours[name], weight), name


@pytest.mark.parametrize("order", ["before", "after"])
def test_it_composes_with_nodes_that_replace_attention(vega, plain, lora, order):
    """An attn2 replacement, as IP-Adapter packs set it, uses the patched projections: the result is that of a model
    whose weights contain the LoRA from the start."""

    def replace(model):
        def attention(q, k, v, options):
            n_heads = options["n_heads"]
            q, k, v = (part.unflatten(-1, (n_heads, -1)).transpose(1, 2) for part in (q, k, v))
            out = torch.nn.functional.scaled_dot_product_attention(q, k + 0.1, v * 0.5)
            return out.transpose(1, 2).flatten(2)

        changed = model.clone()
        for place, number in (("input", 4), ("input", 7), ("output", 0), ("output", 4)):
            for index in range(2):
                changed.set_model_attn2_replace(attention, place, number, index)
        return changed

    generator = torch.Generator().manual_seed(0)
    x, context = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 5, 2048, generator=generator)
    y = torch.randn(1, 2816, generator=generator)

    def run(model):
        model.patch_model(torch.device("cpu"))
        with torch.inference_mode():
            out = model.model.diffusion_model(
                x,
                torch.tensor([500.0]),
                context=context,
                y=y,
                transformer_options=model.model_options["transformer_options"],
            )
        model.unpatch_model(torch.device("cpu"))
        return out

    combined = replace(apply(vega, lora, 0.8)) if order == "before" else apply(replace(vega), lora, 0.8)
    actual = run(combined)
    with torch.no_grad():
        for name, weight in patched_weights(apply(vega, lora, 0.8)).items():
            vega.model.state_dict()[name].copy_(weight)
        try:
            expected = run(replace(vega))
            assert not torch.allclose(expected, run(vega), rtol=1e-2), "the replacement has an effect"
        finally:
            for name, weight in plain.items():
                vega.model.state_dict()[name].copy_(weight)
    assert not torch.allclose(expected, run(replace(vega)), rtol=1e-2), "the LoRA has an effect"
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_a_state_dict_of_comfyuis_own_nodes_is_taken(vega, lora):
    ours, theirs = patched_weights(apply(vega, lora, 1.0)), patched_weights(apply(vega, dict(lora), 1.0))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
