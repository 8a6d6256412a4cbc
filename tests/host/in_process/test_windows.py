"""Each picture keeps its person in context windows, ComfyUI's and other packs'."""

import inspect

import pytest
import torch

from hyperlora_core import HyperLoRAError
from tests.host.in_process.sampling import (
    STRENGTH,
    check,
    error,
    half,
    noise,
    patched,
    prompt,
    sample,
)


def sized_prompt(seed: int) -> list:
    """A prompt that holds the picture's size, so that drawing a part of it gives the same conditioning."""
    return [[tokens, {**about, "width": 128, "height": 128}] for tokens, about in prompt(seed)]


def windows_node():
    from comfy_extras.nodes_context_windows import ContextWindowsManualNode

    return ContextWindowsManualNode


def widgets_of_windows() -> set[str]:
    return set(inspect.signature(windows_node().execute).parameters)


def windows(model, length: int, schedule: str = "standard_static", **widgets):
    """The MODEL of ComfyUI's context windows node, without the widgets that an older ComfyUI does not have."""
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


@pytest.mark.parametrize(
    ("schedule", "widgets"),
    [
        ("standard_static", {}),
        ("standard_static", {"causal_window_fix": False, "context_overlap": 0}),
        ("looped_uniform", {"closed_loop": True, "context_stride": 2, "fuse_method": "flat"}),
        ("batched", {"freenoise": True}),
    ],
)
def test_each_picture_of_a_window_is_its_persons(base, strong_people, door, schedule, widgets):
    start = noise(5, batch=5)
    model = door.add_layers(base, door.per_item(strong_people[:2], STRENGTH))
    if widgets.pop("freenoise", False):  # it shuffles the noise by which pictures are recognised
        from comfy.context_windows import apply_freenoise

        actual = sample(windows(model, 2, schedule, freenoise=True, **widgets), start=start.clone())
        start = apply_freenoise(start.clone(), 0, 2, 1, 0)
    else:
        actual = sample(windows(model, 2, schedule, **widgets), start=start)
    check(schedule, actual, sample(model, start=start), 2e-5)
    assert (
        error(sample(door.add_layers(base, door.per_item(strong_people[1::-1], STRENGTH)), start=start), actual) > 1e-3
    )


def test_a_mask_a_picture_goes_with_its_picture_into_windows(base, strong_people, door):
    start = noise(6, batch=3)
    masks = torch.cat([half("left"), half("right"), torch.ones(1, 8, 12)])
    model = door.add_layers(base, door.in_regions(strong_people[:2], [masks, masks.flip(0)], STRENGTH))
    check("masks", sample(windows(model, 2), start=start), sample(model, start=start), 2e-5)


def test_a_prompts_person_with_a_mask_stays_in_windows(base, strong_people, door):
    layers = [
        door.Layer(strong_people[0], STRENGTH, prompt="one"),
        door.Layer(strong_people[1], STRENGTH, prompt="other", mask=half("left")),
    ]
    model, start = door.add_layers(base, layers), noise(4, batch=4)
    prompts = (door.for_prompt(prompt(1), "one"), door.for_prompt(prompt(2), "other"))
    expected = sample(model, *prompts, start=start)
    check("marks", sample(windows(model, 2), *prompts, start=start), expected, 2e-5)
    assert error(sample(model, *prompts[::-1], start=start), expected) > 1e-3


def test_a_picture_that_each_window_keeps_is_its_own_person(base, strong_people, door):
    if "latent_retain_index_list" not in widgets_of_windows():
        pytest.skip("this ComfyUI's windows keep no picture")
    model = door.add_layers(base, door.per_item(strong_people, STRENGTH))
    predictions: list[torch.Tensor] = []

    def look(apply, args):
        predictions.append(apply(args["input"], args["timestep"], **args["c"]))
        return predictions[-1]

    windowed = windows(model, 2, "batched", context_overlap=0, causal_window_fix=False, latent_retain_index_list="0")
    windowed.set_model_unet_function_wrapper(look)
    sample(windowed, start=noise(5, batch=4), steps=1, cfg=1.0)
    first, second = predictions
    check("the first picture", second[0], first[0])  # at its place the third person's picture would be otherwise
    assert error(second[1], first[1]) > 1e-3


@pytest.mark.parametrize("dim", [2, 3])
def test_windows_over_lines_or_columns_see_their_part_of_a_mask(base, strong_people, door, dim):
    """Two windows: the mask covers the first, and the second has nobody."""
    mask = torch.zeros(1, 16, 16)
    (mask[:, :8] if dim == 2 else mask[..., :8]).fill_(1)
    model = door.add_layers(base, [door.Layer(strong_people[0], STRENGTH, mask=mask)])
    cut = {"context_overlap": 0, "causal_window_fix": False, "dim": dim}
    start, prompts = noise(7), (sized_prompt(1), sized_prompt(2))
    actual = sample(windows(model, 8, "batched", **cut), *prompts, start=start)
    for part, expected in zip(actual.chunk(2, dim), (patched(base, strong_people[0]), base), strict=True):
        begin = start.chunk(2, dim)[expected is base]
        check("part", part, sample(expected, *prompts, start=begin), 2e-5)


def grouped(model, key: str | None, order=lambda batch: range(batch)):
    """A MODEL of which each step runs two pictures at a time; under ``key``, if any, it says which."""
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


def test_windows_of_another_pack_are_read_or_refused(base, strong_people, door):
    start = noise(8, batch=4)
    model = door.add_layers(base, door.per_item(strong_people, STRENGTH))
    check("AnimateDiff-Evolved's", sample(grouped(model, "ad_params"), start=start), sample(model, start=start), 2e-5)
    for layers in (door.per_item(strong_people, STRENGTH), [door.Layer(strong_people[0], prompt="somebody")]):
        with pytest.raises(HyperLoRAError, match="was given 4 rows for 2 prompts and a batch of 4 pictures: another"):
            sample(grouped(door.add_layers(base, layers), None), start=start)
    alone = door.add_layers(base, door.per_item(strong_people[:1], STRENGTH))  # whoever is drawn, it is this person
    check("one for all", sample(grouped(alone, None), start=start), sample(alone, start=start), 2e-5)
