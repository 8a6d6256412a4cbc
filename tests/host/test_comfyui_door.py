"""ComfyUI's own classes, in this process: LoRAs patched into its UNets, and the network run by its leaves."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from hyperlora_core import (
    Cache,
    ClipVision,
    FaceAnalyzer,
    HyperLoRA,
    HyperLoRAError,
    Identity,
    LoRA,
    generate,
    open_photo,
)
from hyperlora_core.lora.names import canonical_name, flat_name
from tests.host.conftest import VEGA, patcher
from tests.support.models import CLIP_VISION

SD15 = VEGA | {
    "channel_mult": [1, 2, 4, 4],
    "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
    "context_dim": 768,
    "adm_in_channels": None,
    "num_classes": None,
    "use_linear_in_transformer": False,
}
SDXL = VEGA | {
    "channel_mult": [1, 2, 4],
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "transformer_depth_middle": 10,
}
SSD1B = SDXL | {
    "transformer_depth": [0, 0, 2, 2, 4, 4],
    "transformer_depth_output": [0, 0, 0, 1, 1, 2, 10, 4, 4],
    "transformer_depth_middle": -1,
}
REFINER = VEGA | {
    "model_channels": 384,
    "channel_mult": [1, 2, 4, 4],
    "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [0, 0, 4, 4, 4, 4, 0, 0],
    "transformer_depth_output": [0, 0, 0, 4, 4, 4, 4, 4, 4, 0, 0, 0],
    "transformer_depth_middle": 4,
    "context_dim": 1280,
    "adm_in_channels": 2560,
}

FLUX = {
    "image_model": "flux",
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": 64,
    "context_in_dim": 64,
    "hidden_size": 128,
    "mlp_ratio": 4.0,
    "num_heads": 1,
    "depth": 1,
    "depth_single_blocks": 1,
    "axes_dim": [16, 56, 56],
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "guidance_embed": False,
    "txt_ids_dims": [],
    "dtype": torch.float32,
}


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


def patched_weights(model) -> dict[str, torch.Tensor]:
    """Every weight of the UNet as it is while the model is loaded."""
    model.patch_model(torch.device("cpu"))
    weights = {name: weight.clone() for name, weight in model.model.state_dict().items()}
    model.unpatch_model(torch.device("cpu"))
    return weights


@pytest.fixture(scope="module")
def plain(vega):
    return patched_weights(vega)


def apply(*arguments):
    from hyperlora_core.doors.comfyui.patching import apply_lora

    return apply_lora(*arguments)


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
    """An attn2 replacement, as IP-Adapter packs set it, calls the patched projections: with the LoRA it gives what it
    gives on a model whose weights hold the LoRA from the start."""

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


def test_another_base_model_is_refused_by_name(comfy, lora):
    sd15 = patcher(comfy, "SD15", SD15, device="meta")
    with pytest.raises(HyperLoRAError, match=r"0 of its 120 targets fit SD 1\.5 \(.* is 1280 x 1280 instead of 320"):
        apply(sd15, lora, 0.8)
    with pytest.raises(HyperLoRAError, match=r"not one of this LoRA's \d+ tensors fits SD 1\.5"):
        apply(sd15, {"some.other.weight": torch.zeros(1)}, 0.8)


def test_a_base_model_with_the_same_names_but_other_widths_is_refused(comfy, vega, lora):
    wide = patcher(comfy, "Segmind_Vega", VEGA | {"channel_mult": [1, 1, 2]}, device="meta")
    with pytest.raises(HyperLoRAError, match=r"of its 120 targets fit Segmind Vega \(.* instead of 320 x 320"):
        apply(wide, lora, 0.8)


def test_a_base_model_without_attention_names_is_refused(comfy, lora):
    flux = patcher(comfy, "Flux", FLUX, device="meta")
    with pytest.raises(HyperLoRAError, match="0 of its 120 targets fit Flux"):
        apply(flux, lora, 0.8)


@pytest.fixture(scope="module")
def sdxl_unet():
    """diffusers' SDXL UNet in full size, without numbers."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return UNet2DConditionModel(
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )


@pytest.fixture(scope="module")
def sdxl_lora(sdxl_unet):
    """A LoRA of rank 1 on each attention projection of full-size SDXL."""
    layers = [
        (name, layer)
        for name, layer in sdxl_unet.named_modules()
        if isinstance(layer, torch.nn.Linear) and ".attn" in name
    ]
    ones = ((name, torch.ones(1, layer.in_features), torch.ones(layer.out_features, 1)) for name, layer in layers)
    return LoRA.from_matrices(ones, alpha=1.0, metadata={"ss_base_model_version": "sdxl_base_v1-0"})


def test_all_560_targets_of_sdxl_are_found_by_both_doors(comfy, sdxl_unet, sdxl_lora):
    from hyperlora_core.doors.diffusers.unet import LoRAInjection

    names = [name for name, _ in sdxl_lora.factors()]
    assert len(names) == 560
    LoRAInjection(sdxl_unet, names).remove()
    sdxl = patcher(comfy, "SDXL", SDXL, device="meta")
    patches = apply(sdxl, sdxl_lora, 1.0).patches
    assert len(patches) == 560
    by_comfyui = comfy.lora.model_lora_keys_unet(sdxl.model, {})
    stems = {key.removesuffix(".lora_down.weight") for key in sdxl_lora if key.endswith("down.weight")}
    assert {by_comfyui[stem] for stem in stems} == patches.keys()


def test_what_is_saved_is_what_other_tools_load(comfy, sdxl_unet, sdxl_lora, tmp_path):
    """In ComfyUI to the bit, in diffusers by its own names; the stems are A1111's names of the UNet's modules."""
    from diffusers import StableDiffusionXLPipeline
    from safetensors.torch import load_file

    numbers = {n: replace(f, down=torch.randn_like(f.down), up=torch.randn_like(f.up)) for n, f in sdxl_lora.factors()}
    numbered = LoRA.of_factors(numbers)
    path = numbered.save(tmp_path / "person.safetensors")
    sdxl = patcher(comfy, "SDXL", SDXL, device="meta")
    ours = apply(sdxl, numbered, 0.8).patches
    stock, _ = comfy.sd.load_lora_for_models(sdxl, None, comfy.utils.load_torch_file(str(path)), 0.8, 0.0)
    assert stock.patches.keys() == ours.keys() and len(ours) == 560
    for key, ((strength, adapter, *_),) in stock.patches.items():
        ((our_strength, our_adapter, *_),) = ours[key]
        up, down, alpha = adapter.weights[:3]
        our_up, our_down, our_alpha = our_adapter.weights[:3]
        assert (strength, float(alpha)) == (our_strength, float(our_alpha))
        assert torch.equal(up, our_up) and torch.equal(down, our_down)

    stems = {key.partition(".")[0] for key in load_file(path)}
    a1111 = {f"lora_unet_{name.replace('.', '_')}" for name, _ in sdxl.model.diffusion_model.named_modules()}
    assert len(stems) == 560 and stems <= a1111

    state, alphas = StableDiffusionXLPipeline.lora_state_dict(path, unet_config=sdxl_unet.config)
    assert len(state) == 1120 and len(alphas) == 560
    for name, factors in numbered.factors():
        attention, projection = name.removesuffix(".0").rsplit(".", 1)
        down, up = (f"unet.{attention}.processor.{projection}_lora.{way}.weight" for way in ("down", "up"))
        assert torch.equal(state[down], factors.down) and torch.equal(state[up], factors.up)
        assert alphas[f"{down}.alpha"] == factors.alpha


@pytest.mark.parametrize(
    ("kind", "shape", "name", "fit"), [("SSD1B", SSD1B, "SSD-1B", 272), ("SDXLRefiner", REFINER, "the SDXL refiner", 0)]
)
def test_a_relative_of_sdxl_is_refused_by_name(comfy, sdxl_lora, kind, shape, name, fit):
    relative = patcher(comfy, kind, shape, device="meta")
    with pytest.raises(HyperLoRAError, match=rf"{fit} of its 560 targets fit {name} \(") as caught:
        apply(relative, sdxl_lora, 0.8)
    assert str(caught.value).endswith("Use the kind of base model it was made for: sdxl_base_v1-0")


def loras_of(network, golden):
    with torch.inference_mode():
        coefficients = network.id_coefficients(golden["input.id_embed"][:, 0], golden["input.clip_hidden"])
        return network.id_lora(coefficients)


@pytest.fixture(params=["as on a GPU", "as on a CPU"])
def way(request, monkeypatch):
    from hyperlora_core.doors.comfyui import patching

    """On a CPU the plain leaves' casts are faster; on a GPU ComfyUI's own are needed, which run here too."""

    if request.param == "as on a GPU":
        monkeypatch.setattr(patching, "_on_cpu", lambda module, input: False)


@pytest.mark.usefixtures("way")
def test_comfyuis_leaves_compute_the_same_however_little_is_loaded(comfy, golden_checkpoint, golden):
    from hyperlora_core.doors.comfyui.patching import Operations, hand_over

    expected = loras_of(HyperLoRA.load(golden_checkpoint), golden)
    network = HyperLoRA.load(golden_checkpoint, operations=Operations)
    parts = hand_over(network, network.children())
    asked_for = comfy.model_management.load_models_gpu

    def assert_same(case: object) -> None:
        actual = loras_of(network, golden)
        assert all(torch.equal(actual[key], expected[key]) for key in expected), case

    assert_same("whole")
    sizes = sum(model.model_size() for model in parts.values())
    assert sizes == sum(tensor.nbytes for tensor in network.state_dict().values())
    loaded = comfy.model_management.loaded_models()
    assert parts[network.resampler] in loaded and parts[network.id_bases] in loaded
    assert parts[network.base_bases] not in loaded
    network.before_use = lambda part: None
    cpu = torch.device("cpu")
    for budget in (1, 1 << 16, 1 << 20, 1 << 30):
        for part, model in parts.items():
            assert model.model is part
            model.unpatch_model(cpu)
            model.load(cpu, lowvram_model_memory=budget)
            assert model.loaded_size() <= budget
        assert_same(budget)

    def free_then_load(part) -> None:
        comfy.model_management.free_memory(1e30, cpu)
        asked_for([parts[part]])

    network.before_use = free_then_load
    assert_same("freed in the middle")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("path", ["mapped", "batched", "cached", "in part", "streamed", "offloaded"])
def test_every_path_gives_the_golden_numbers(comfy, golden_checkpoint, golden, path, monkeypatch):
    from hyperlora_core.doors.comfyui import patching

    cpu = torch.device("cpu")
    network = HyperLoRA.load(golden_checkpoint, operations=patching.Operations)
    parts = patching.hand_over(network, network.children())
    load = network.before_use
    if path == "streamed":
        monkeypatch.setattr(patching, "_has_room", lambda patcher: False)
    if path == "in part":
        network.before_use = lambda part: parts[part].load(cpu, lowvram_model_memory=1 << 15)
    if path == "offloaded":
        network.before_use = lambda part: (comfy.model_management.free_memory(1e30, cpu), load(part))
    with torch.inference_mode():
        rows = network.id_rows(golden["input.id_embed"][:, 0], golden["input.clip_hidden"])
        coefficients = network.mix(rows)
        identity, cache = Identity(rows, None, network.source, network.attentions), Cache(1 << 28)
        lora = generate(network, identity, 1.0, cache=cache)
        if path == "batched":
            _, lora = network.id_loras(torch.stack([torch.zeros_like(coefficients), coefficients]))
        if path == "cached":
            assert generate(network, identity, 1.0, cache=cache) is lora
    torch.testing.assert_close(coefficients, golden["expect.id_coefficients"][0], rtol=0, atol=1e-5)
    expected = {name: value for name, value in golden.items() if name.startswith("expect.id_lora.")}
    assert len(expected) == 36
    by_flat_names = {
        flat_name(canonical_name(stem)) + suffix: tensor
        for stem, suffix, tensor in (
            (key.partition(".")[0], key[key.index(".") :], weight) for key, weight in lora.items()
        )
    }
    for name, value in expected.items():
        actual = by_flat_names[name.removeprefix("expect.id_lora.")]
        assert (actual - value).abs().max() <= 1e-5 * value.abs().max(), name


@pytest.mark.usefixtures("way")
def test_clips_leaves_compute_the_same_however_little_is_loaded(comfy, models):
    """No weight lies outside of a leaf that ComfyUI can leave where it is: one would stay behind, on a GPU."""
    from hyperlora_core.doors.comfyui.patching import Operations, hand_over

    file, cpu = models / "clip_vision" / CLIP_VISION, torch.device("cpu")
    pixels = torch.randn(2, 3, 224, 224)
    expected = ClipVision.load(file).tokens(pixels)
    clip = ClipVision.load(file, operations=Operations)
    (model,) = hand_over(clip, [clip.model]).values()
    for name, _ in clip.model.named_parameters():
        assert hasattr(clip.model.get_submodule(name.rpartition(".")[0]), "comfy_cast_weights"), name
    torch.testing.assert_close(clip.tokens(pixels), expected, rtol=1e-6, atol=1e-6)
    assert model in comfy.model_management.loaded_models()
    clip.before_use = lambda tower: None
    for budget in (1, 1 << 14, 1 << 17, 1 << 30):
        model.unpatch_model(cpu)
        model.load(cpu, lowvram_model_memory=budget)
        assert model.loaded_size() <= budget
        torch.testing.assert_close(clip.tokens(pixels), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("way")
def test_face_models_leaves_compute_the_same_however_little_is_loaded(comfy, face_pack, photos, monkeypatch):
    """As CLIP's: the face models are ComfyUI's to move, and no weight of theirs stays behind."""
    from hyperlora_core.doors.comfyui.patching import Operations, hand_over

    monkeypatch.setattr(FaceAnalyzer, "_loaded", {})
    cpu, photo, patchers = torch.device("cpu"), open_photo(photos["obama"]), {}
    (expected,) = FaceAnalyzer.load(face_pack).detect(photo, embed=True)

    def hand_over_all(analyzer: FaceAnalyzer) -> None:
        for run in analyzer.models.runs:
            patchers.update(hand_over(run, [run.module]))

    analyzer = FaceAnalyzer.load(face_pack, operations=Operations, on_new=hand_over_all)
    assert len(patchers) == 3 and FaceAnalyzer.load(face_pack, operations=Operations) is analyzer
    for module in patchers:
        for name, _ in module.named_parameters():
            assert hasattr(module.get_submodule(name.rpartition(".")[0]), "comfy_cast_weights"), name

    def assert_same() -> None:
        (face,) = analyzer.detect(photo, embed=True)
        for name in ("box", "keypoints", "landmarks", "embedding"):
            assert np.allclose(getattr(face, name), getattr(expected, name), rtol=1e-5, atol=1e-4), name

    assert_same()
    assert {*patchers.values()} <= {*comfy.model_management.loaded_models()}
    for run in analyzer.models.runs:
        run.before_use = lambda module: None
    for budget in (1, 1 << 16, 1 << 30):
        for model in patchers.values():
            model.unpatch_model(cpu)
            model.load(cpu, lowvram_model_memory=budget)
            assert model.loaded_size() <= budget
        assert_same()


@pytest.mark.usefixtures("way")
def test_bases_without_room_are_streamed_and_nothing_makes_room_for_them(
    comfy, golden_checkpoint, golden, monkeypatch, caplog
):
    from hyperlora_core.doors.comfyui import patching

    expected = loras_of(HyperLoRA.load(golden_checkpoint), golden)
    network = HyperLoRA.load(golden_checkpoint, operations=patching.Operations)
    patching.hand_over(network, network.children())
    requested = []
    monkeypatch.setattr(patching, "_has_room", lambda patcher: False)
    monkeypatch.setattr(comfy.model_management, "load_models_gpu", lambda models: requested.extend(models))
    caplog.set_level("INFO")
    actual = loras_of(network, golden)
    assert all(torch.equal(actual[key], expected[key]) for key in expected)
    assert [model.model for model in requested] == [network.id_projector, network.resampler]
    assert "piece by piece" in caplog.text


def test_room_is_what_is_free_beside_what_a_sampler_needs(comfy, golden_checkpoint, monkeypatch):
    """The decision for a GPU, which no machine without one can take: its free memory is given here."""
    from hyperlora_core.doors.comfyui.patching import _has_room

    network = HyperLoRA.load(golden_checkpoint)
    model = comfy.model_patcher.ModelPatcher(network.id_bases, torch.device("cuda:0"), torch.device("cpu"))
    enough = comfy.model_management.minimum_inference_memory() + model.model_size()
    for free, room in ((enough, True), (enough - 1, False), (0, False)):
        monkeypatch.setattr(comfy.model_management, "get_free_memory", lambda device, free=free: free)
        assert _has_room(model) is room
    on_cpu = comfy.model_patcher.ModelPatcher(network.id_bases, torch.device("cpu"), torch.device("cpu"))
    assert _has_room(on_cpu)
    monkeypatch.setattr(model, "is_dynamic", lambda: True)
    assert _has_room(model)
