"""The network, CLIP and the face models with ComfyUI's layers: the same numbers, however little is on the device."""

import numpy as np
import pytest
import torch

from hyperlora_core import (
    Cache,
    ClipVision,
    FaceAnalyzer,
    HyperLoRA,
    Identity,
    generate,
    open_photo,
)
from hyperlora_core.lora.names import canonical_name, flat_name
from tests.support.models import CLIP_VISION


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
    """Every weight is in a layer that ComfyUI casts when called: any other would be on the wrong device on a GPU."""
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
    """As for CLIP: ComfyUI moves the face models, and every weight of theirs is in a layer that it casts."""
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
    """The decision for a GPU, with its free memory made up, so that it can be tested without one."""
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
