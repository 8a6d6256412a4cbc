"""Whose pictures, and which part of them: context windows, cut batches, Deep Shrink, tiles and several devices."""

import inspect
import sys
import threading
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from hyperlora_core import HyperLoRAError, LoRA
from tests.host.conftest import VEGA, patcher
from tests.host.sampling import STRENGTH, check, error, half, noise, patched, prompt, random_lora, sample

SMALL = VEGA | {"model_channels": 64}


@pytest.fixture(scope="module")
def base(comfy):
    """A narrow model of the SDXL family with random weights."""
    return patcher(comfy, "Segmind_Vega", SMALL)


@pytest.fixture(scope="module")
def door(comfy):
    from hyperlora_core.doors.comfyui import runtime

    return runtime


@pytest.fixture(scope="module")
def people(base) -> list[LoRA]:
    return [random_lora(base, seed, 0.6) for seed in (1, 2, 3)]


def sized_prompt(seed: int) -> list:
    """A prompt that says the picture's size itself, whichever part of it is drawn."""
    return [[tokens, {**about, "width": 128, "height": 128}] for tokens, about in prompt(seed)]


def windows_node():
    from comfy_extras.nodes_context_windows import ContextWindowsManualNode

    return ContextWindowsManualNode


def widgets_of_windows() -> set[str]:
    return set(inspect.signature(windows_node().execute).parameters)


def windows(model, length: int, schedule: str = "standard_static", **widgets):
    """The node's MODEL; a widget that an older ComfyUI has not is left out."""
    defaults = {
        "context_length": length,
        "context_overlap": 1,
        "context_schedule": schedule,
        "context_stride": 1,
        "closed_loop": False,
        "fuse_method": "pyramid",
        "dim": 0,
        "freenoise": False,
    }
    defaults = {name: value for name, value in (defaults | widgets).items() if name in widgets_of_windows()}
    return windows_node().execute(model, **defaults)[0]


# --- context windows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "widgets"),
    [
        ("standard_static", {}),
        ("standard_static", {"causal_window_fix": False, "context_overlap": 0}),
        ("looped_uniform", {"closed_loop": True, "context_stride": 2, "fuse_method": "flat"}),
        ("batched", {"freenoise": True}),
    ],
)
def test_each_picture_of_a_window_is_its_persons(base, people, door, schedule, widgets):
    start = noise(5, batch=5)
    model = door.add_layers(base, door.per_item(people[:2], STRENGTH))
    if widgets.pop("freenoise", False):  # it shuffles noise, which pictures are not known by then
        from comfy.context_windows import apply_freenoise

        actual = sample(windows(model, 2, schedule, freenoise=True, **widgets), start=start.clone())
        start = apply_freenoise(start.clone(), 0, 2, 1, 0)
    else:
        actual = sample(windows(model, 2, schedule, **widgets), start=start)
    check(schedule, actual, sample(model, start=start), 2e-5)
    assert error(sample(door.add_layers(base, door.per_item(people[1::-1], STRENGTH)), start=start), actual) > 1e-3


def test_a_mask_a_picture_goes_with_its_picture_into_windows(base, people, door):
    start = noise(6, batch=3)
    masks = torch.cat([half("left"), half("right"), torch.ones(1, 8, 12)])
    model = door.add_layers(base, door.in_regions(people[:2], [masks, masks.flip(0)], STRENGTH))
    check("masks", sample(windows(model, 2), start=start), sample(model, start=start), 2e-5)


def test_a_prompts_person_with_a_mask_stays_in_windows(base, people, door):
    layers = [
        door.Layer(people[0], STRENGTH, prompt="one"),
        door.Layer(people[1], STRENGTH, prompt="other", mask=half("left")),
    ]
    model, start = door.add_layers(base, layers), noise(4, batch=4)
    prompts = (door.for_prompt(prompt(1), "one"), door.for_prompt(prompt(2), "other"))
    expected = sample(model, *prompts, start=start)
    check("marks", sample(windows(model, 2), *prompts, start=start), expected, 2e-5)
    assert error(sample(model, *prompts[::-1], start=start), expected) > 1e-3


def test_a_picture_that_each_window_keeps_is_its_own_person(base, people, door):
    if "latent_retain_index_list" not in widgets_of_windows():
        pytest.skip("this ComfyUI's windows keep no picture")
    model = door.add_layers(base, door.per_item(people, STRENGTH))
    predictions: list[torch.Tensor] = []

    def look(apply, args):
        predictions.append(apply(args["input"], args["timestep"], **args["c"]))
        return predictions[-1]

    windowed = windows(model, 2, "batched", context_overlap=0, causal_window_fix=False, latent_retain_index_list="0")
    windowed.set_model_unet_function_wrapper(look)
    sample(windowed, start=noise(5, batch=4), steps=1, cfg=1.0)
    first, second = predictions
    check("the first picture", second[0], first[0])  # where it stands, the third person's picture would be
    assert error(second[1], first[1]) > 1e-3


@pytest.mark.parametrize("dim", [2, 3])
def test_windows_over_lines_or_columns_see_their_part_of_a_mask(base, people, door, dim):
    """Two windows side by side: one is the person's, the other nobody's."""
    mask = torch.zeros(1, 16, 16)
    (mask[:, :8] if dim == 2 else mask[..., :8]).fill_(1)
    model = door.add_layers(base, [door.Layer(people[0], STRENGTH, mask=mask)])
    cut = {"context_overlap": 0, "causal_window_fix": False, "dim": dim}
    start, prompts = noise(7), (sized_prompt(1), sized_prompt(2))
    actual = sample(windows(model, 8, "batched", **cut), *prompts, start=start)
    for part, expected in zip(actual.chunk(2, dim), (patched(base, people[0]), base), strict=True):
        begin = start.chunk(2, dim)[expected is base]
        check("part", part, sample(expected, *prompts, start=begin), 2e-5)


def grouped(model, key: str | None, order=lambda batch: range(batch)):
    """A node that gives the UNet two pictures at a time, and writes down which, if it has a place for that."""
    from comfy.patcher_extension import WrappersMP

    def in_groups(executor, inner, conds, x, t, options):
        parts = []
        for group in (list(order(len(x)))[i : i + 2] for i in range(0, len(x), 2)):
            if key is not None:
                options["transformer_options"][key] = {"sub_idxs": group, "full_length": len(x)}
            parts.append(executor(inner, conds, x[group], t[group], options))
        return [torch.cat(part) for part in zip(*parts, strict=True)]

    model = model.clone()
    model.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "another pack", in_groups)
    return model


def test_windows_of_another_pack_are_read_or_refused(base, people, door):
    start = noise(8, batch=4)
    model = door.add_layers(base, door.per_item(people, STRENGTH))
    check("AnimateDiff-Evolved's", sample(grouped(model, "ad_params"), start=start), sample(model, start=start), 2e-5)
    for layers in (door.per_item(people, STRENGTH), [door.Layer(people[0], prompt="somebody")]):
        with pytest.raises(HyperLoRAError, match="was given 4 rows for 2 prompts and a batch of 4 pictures: another"):
            sample(grouped(door.add_layers(base, layers), None), start=start)
    alone = door.add_layers(base, door.per_item(people[:1], STRENGTH))  # whoever is drawn, it is this person
    check("one for all", sample(grouped(alone, None), start=start), sample(alone, start=start), 2e-5)


def test_tiles_of_another_pack_are_refused(base, people, door):
    def tiles(apply, args):
        x, t, c = args["input"], args["timestep"], args["c"]
        return torch.cat([apply(part, t, **c) for part in x.chunk(2, 3)], 3)

    def tiled(layers):
        model = door.add_layers(base, layers)
        model.set_model_unet_function_wrapper(tiles)
        return model

    message = "was given a part of 16 x 8 of a latent of 16 x 16: another node draws it in tiles"
    with pytest.raises(HyperLoRAError, match=message):
        sample(tiled(door.in_regions(people[:1], [half("left")])))
    expected = patched(base, people[0])
    expected.set_model_unet_function_wrapper(tiles)
    check("without masks", sample(tiled([door.Layer(people[0], STRENGTH)])), sample(expected))


# --- cut batches -----------------------------------------------------------------------------------------------------


def drawn(model, samples: torch.Tensor, seed: int = 3, indices: list[int] | None = None, add_noise: bool = True):
    """Latents, by the way ComfyUI's KSampler goes with a LATENT whose ``batch_index`` says ``indices``."""
    import comfy.sample

    noise = comfy.sample.prepare_noise(samples, seed, indices) if add_noise else torch.zeros_like(samples)
    with torch.inference_mode():
        conditions = (prompt(1), prompt(2))
        return comfy.sample.sample(
            model, noise, 1, 4.0, "euler", "normal", *conditions, samples, disable_pbar=True, seed=seed
        )


def test_a_picture_that_is_cut_out_stays_its_persons(base, people, door):
    empty = torch.zeros(5, 4, 16, 16)
    model = door.add_layers(base, door.per_item(people, STRENGTH))
    full = drawn(model, empty)
    for indices in ([1, 2], [4], [2, 0], [3, 1, 2]):
        check(str(indices), drawn(model, empty[indices], indices=indices), full[indices], 2e-5)
    strict = door.add_layers(base, door.per_item(people, STRENGTH, repeat=False))
    check("of more people", drawn(strict, empty[:1], indices=[2]), full[2:3], 2e-5)
    with pytest.raises(HyperLoRAError, match="there are 3 identities for a batch of 5 pictures: add identities"):
        drawn(strict, empty[:1], indices=[4])


def test_a_mask_goes_with_the_picture_that_is_cut_out(base, people, door):
    masks = torch.cat([half("left"), half("right"), torch.ones(1, 8, 12)])
    model = door.add_layers(base, door.in_regions(people[:1], [masks], STRENGTH))
    empty = torch.zeros(3, 4, 16, 16)
    check("its own", drawn(model, empty[:2], indices=[1, 2]), drawn(model, empty)[1:], 2e-5)
    two = door.add_layers(base, door.in_regions(people[:1], [masks[1:]], STRENGTH))
    check("one each", drawn(two, empty[:2], indices=[1, 2]), drawn(model, empty)[1:], 2e-5)


def test_what_was_drawn_here_is_known_without_its_noise(base, people, door):
    """A second sampler, without noise or with a noise of its own, goes on with pictures that were cut out between."""
    model = door.add_layers(base, door.per_item(people, STRENGTH))
    first = drawn(model, torch.zeros(3, 4, 16, 16))
    full = drawn(model, first, add_noise=False)
    check("cut", drawn(model, first[1:], add_noise=False), full[1:], 2e-5)
    check("cut and repeated", drawn(model, first[[1, 1]], add_noise=False), full[[1, 1]], 2e-5)
    again = drawn(model, first[1:], seed=9)  # Latent Batch Seed Behavior: random forgets the numbers
    single = door.add_layers(base, [door.Layer(people[1], STRENGTH)])
    check("of another seed", again[:1], drawn(single, first[1:2], seed=9), 2e-5)


def numbers(latents: torch.Tensor, indices: list[int] | None = None, seed: int | None = 4) -> tuple[int, ...]:
    import comfy.sample

    from hyperlora_core.doors.comfyui.runtime import pictures

    return pictures.batch_numbers(comfy.sample.prepare_noise(latents, seed or 0, indices), latents, seed)


def test_numbers_of_pictures(comfy):
    empty, own = torch.zeros(4, 4, 8, 8), torch.randn(4, 4, 8, 8)
    for latents in (empty, own, own.half()):
        assert numbers(latents) == numbers(latents, [0, 1, 2, 3]) == numbers(latents, seed=None) == (0, 1, 2, 3)
        assert numbers(latents, [7, 5, 0, 1]) == (7, 5, 0, 1)
        assert numbers(latents, [0, 0, 0, 0]) == (0, 1, 2, 3)  # one seed for all
        assert numbers(latents, [0, 1, 0, 1]) == (0, 1, 2, 3)  # two batches put together
        with pytest.raises(HyperLoRAError, match="these 4 pictures were cut out of a batch and then repeated"):
            numbers(latents, [1, 1, 2, 2])
    with pytest.raises(HyperLoRAError, match="whose each is cannot be known any more"):
        numbers(own[[1, 1]], [1, 2])  # Repeat Latent Batch counts on; both are the second picture
    assert numbers(empty[:2], [600, 601]) == (0, 1)  # beyond what is looked for


# --- sizes of the picture inside the UNet ----------------------------------------------------------------------------


def shrunk(model, factor: float, block: int = 3):
    from comfy_extras.nodes_model_downscale import PatchModelAddDownscale

    return PatchModelAddDownscale.execute(model, block, factor, 0.0, 1.0, True, "bicubic", "bicubic")[0]


@pytest.mark.parametrize(("factor", "size"), [(1.5, (16, 16)), (2.0, (18, 26)), (2.7, (34, 20)), (0.8, (16, 24))])
def test_deep_shrink_by_any_factor(base, people, door, factor, size):
    start = torch.randn(2, 4, *size, generator=torch.Generator().manual_seed(1))
    ones = door.add_layers(base, door.in_regions(people[:1], [torch.ones(1, 9, 7)], STRENGTH))
    check(
        "after it",
        sample(shrunk(ones, factor), start=start),
        sample(shrunk(patched(base, people[0]), factor), start=start),
    )
    none = [door.Layer(people[0], STRENGTH, mask=torch.zeros(1, 8, 8))]
    check(
        "before it",
        sample(door.add_layers(shrunk(base, factor), none), start=start),
        sample(shrunk(base, factor), start=start),
    )


def test_deep_shrink_has_the_mask_where_the_picture_is(comfy, base, door):
    """By hand: a hook on each self-attention, with the mask at the size that its transformer was given."""
    from comfy.ldm.modules.attention import SpatialTransformer

    from hyperlora_core.doors.comfyui.patching import fitting

    lora, mask, now = random_lora(base, 4, 0.6, "attn1"), half("left"), {}
    model = shrunk(door.add_layers(base, [door.Layer(lora, STRENGTH, mask=mask)]), 1.5)
    actual = sample(model, start=noise(2, size=24))

    def painted() -> torch.Tensor:
        latent = F.interpolate(mask[None], size=(24, 24), mode="bilinear", antialias=True)
        return F.interpolate(latent, size=now["size"], mode="bilinear", antialias=True).flatten()[:, None]

    handles = [
        module.register_forward_pre_hook(lambda module, args: now.update(size=args[0].shape[-2:]))
        for module in base.model.modules()
        if isinstance(module, SpatialTransformer)
    ]
    for key, factors in fitting(base, lora).items():
        product = STRENGTH * factors.scale * factors.up @ factors.down
        linear = base.model.get_submodule(key.removesuffix(".weight"))
        handles.append(
            linear.register_forward_hook(lambda module, args, y, w=product: y + painted() * (args[0] @ w.mT))
        )
    try:
        expected = sample(shrunk(base, 1.5), start=noise(2, size=24))
    finally:
        for handle in handles:
            handle.remove()
    check("by hand", actual, expected)
    assert error(sample(shrunk(base, 1.5), start=noise(2, size=24)), expected) > 1e-4


def test_what_rearranges_tokens_is_named_with_what_was_found(base, people, door):
    from comfy_extras.nodes_hypertile import HyperTile

    tiled = shrunk(HyperTile.execute(base, 64, 1, 2, False)[0], 1.5, block=8)
    regions = door.add_layers(tiled, door.in_regions(people[:1], [torch.ones(1, 8, 8)]))
    with pytest.raises(HyperLoRAError) as caught:
        sample(regions, start=noise(1, size=32))
    text = str(caught.value)
    assert "rows of" in text and "the picture there is 2 rows 16 x 16 (a latent of 32 x 32)" in text
    assert "blocks: HyperTile, PatchModelAddDownscale. Take it out" in text and "ToMe" not in text


# --- several devices -------------------------------------------------------------------------------------------------


def test_prompts_are_drawn_in_threads_each_on_its_device(comfy, base, people, door):
    """ComfyUI's own way over several GPUs, with two names of the CPU for two devices."""
    pytest.importorskip("comfy.multigpu", reason="this ComfyUI draws on one GPU alone")
    second_device = patcher(comfy, "Segmind_Vega", SMALL)
    second_device.is_multigpu_base_clone, second_device.load_device = True, torch.device("cpu:0")
    masks = [half("left"), half("right")]
    start = noise(9, batch=2)
    for layers in (door.per_item(people[:2], STRENGTH), door.in_regions(people[:2], masks, STRENGTH)):
        model = door.add_layers(base, layers)
        expected = sample(model, start=start)
        several = model.clone()
        several.set_additional_models("multigpu", [second_device])
        threads = set()
        several.set_model_unet_function_wrapper(
            lambda apply, args, ids=threads: (
                ids.add(threading.get_ident()),
                apply(args["input"], args["timestep"], **args["c"]),
            )[1]
        )
        check("two devices", sample(several, start=start), expected)
        assert len(threads) == 2 and threading.get_ident() not in threads


def test_masks_are_whole_when_another_thread_sees_them(comfy, base, people, door):
    from hyperlora_core.doors.comfyui.runtime.calls import Conditioning, UNetCall
    from hyperlora_core.doors.comfyui.runtime.pictures import SampledBatch

    model = door.add_layers(base, door.in_regions(people[:2], [half("left"), half("right")]))
    runtime = model.get_wrappers("apply_model", "hyper_lora")[0].__self__
    call = UNetCall(torch.zeros(2, 4, 64, 64), [Conditioning()] * 2, {}, SampledBatch((0,), 64, 64))
    parts, interval, sizes = call.parts(()), sys.getswitchinterval(), []
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(5):
            runtime.clear()
            barrier = threading.Barrier(8)

            def look(wait=barrier) -> None:
                wait.wait()
                sizes.append(len(runtime.token_masks(call, parts).by_size))

            threads = [threading.Thread(target=look) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert sizes == [4] * 40
    elsewhere = UNetCall(call.x.to("meta"), call.conditionings, {}, call.batch)
    for one_call, device in ((call, "cpu"), (elsewhere, "meta")):
        assert {mask.device.type for mask in runtime.token_masks(one_call, parts).by_size.values()} == {device}


# --- tiles and faces -------------------------------------------------------------------------------------------------


@pytest.fixture
def warnings(comfy) -> Callable:
    from hyperlora_core.doors.comfyui.runtime import tiles

    heard: list[str] = []
    tiles.listeners.append(heard.append)
    yield heard
    tiles.listeners.remove(heard.append)


def test_tiles_and_faces_under_whole_masks_are_said(base, people, door, warnings):
    from comfy_execution.utils import CurrentNodeContext

    picture = noise(1, batch=2, size=16)
    square, wide = (door.add_layers(base, door.in_regions(people[:1], [half("left", 8, w)])) for w in (8, 16))
    ones = door.add_layers(base, door.in_regions(people[:1], [torch.ones(1, 8, 16)]))
    with CurrentNodeContext("a", "7"):
        drawn(wide, torch.zeros(1, 4, 16, 16))  # a picture that is begun
        drawn(ones, picture[:1])
        drawn(square, picture[:1])
        drawn(square, picture[:1], seed=8)  # once more, the whole
        assert warnings == []
        drawn(wide, picture[:1])
        assert warnings[0].startswith(
            "masks of 16 x 8 are stretched over a picture of 128 x 128 (node 7). If they are tiles"
        )
        drawn(square, picture[1:])
        assert (
            warnings[1].startswith("one node draws several pictures, one after another (node 7)") and len(warnings) == 2
        )
    with CurrentNodeContext("a", "8"):
        drawn(square, picture[:1])
        assert len(warnings) == 2
