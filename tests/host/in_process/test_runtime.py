"""LoRAs added while ComfyUI's UNet runs: what they draw is what patched weights draw, and nothing remains of them."""

import gc

import pytest
import torch
from torch import nn

from hyperlora_core import BlockStrengths, HyperLoRAError, LoRA
from hyperlora_core.lora.schedule import Schedule
from tests.host.in_process.sampling import (
    STRENGTH,
    check,
    error,
    half,
    noise,
    patched,
    prompt,
    sample,
    say,
)
from tests.host.in_process.unets import SMALL, patcher


def replaced(model) -> list[nn.Module]:
    """Modules whose ``forward`` is replaced by the run-time LoRA's."""
    ours = "hyperlora_core.doors.comfyui.runtime"
    return [
        module
        for module in model.model.modules()
        if type(getattr(module.forward, "__self__", 0)).__module__.startswith(ours)
    ]


@pytest.mark.parametrize("strength", [1.0, 0.4, -2.0])
def test_it_draws_what_patched_weights_draw(base, people, running, plain, strength):
    expected = sample(patched(base, people[0], strength=strength))
    check("run-time", sample(running(base, people[0], strength=strength)), expected)
    assert error(plain, expected) > 1e-3


def test_no_weight_is_touched_and_nothing_remains(base, people, running, plain):
    before = {name: weight.clone() for name, weight in base.model.state_dict().items()}
    model = running(base, people[0])
    sample(model)
    assert all(torch.equal(weight, before[name]) for name, weight in base.model.state_dict().items())
    assert model.patches == {} and model.patches_uuid == base.patches_uuid and not replaced(base)
    assert torch.equal(sample(base), plain)


def test_without_effect_the_model_is_the_given_one(base, people, running):
    assert running(base, people[0], strength=0.0) is base
    assert running(base, LoRA()) is base


def test_several_add_up_beside_patched_ones_in_any_order(base, people, running):
    first, second, third = people
    expected = sample(patched(base, *people))
    check("three of them", sample(running(base, *people)), expected)
    check("patched first", sample(running(patched(base, first), second, third)), expected)
    check("patched last", sample(patched(running(base, first, second), third)), expected)


def test_each_model_has_its_own(base, people, running):
    first = running(base, people[0])
    alone = sample(first)
    second = running(first, people[1])
    with_both = sample(second)
    assert torch.equal(sample(first), alone) and error(with_both, alone) > 1e-3
    assert [len(model.wrappers["apply_model"]["hyper_lora"]) for model in (first, second)] == [1, 1]


def test_beside_comfyuis_own_ways(comfy, base, people, running):
    import comfy.hooks

    first, second = people[:2]
    expected = sample(patched(base, first, second))
    chained, _ = comfy.sd.load_lora_for_models(running(base, first), None, dict(second), STRENGTH, 0.0)
    check("another LoRA after it", sample(chained), expected)
    before, _ = comfy.sd.load_bypass_lora_for_models(base, None, dict(second), STRENGTH, 0.0)
    after, _ = comfy.sd.load_bypass_lora_for_models(running(base, first), None, dict(second), STRENGTH, 0.0)
    for name, model in (("a bypass before it", running(before, first)), ("a bypass after it", after)):
        for again in ("", ", again"):
            check(name + again, sample(model), expected)
        assert error(sample(base), expected) > 1e-3  # both are gone from the modules that the models share
    hooks = comfy.hooks.create_hook_lora(dict(second), STRENGTH, 0.0)
    hooked = [comfy.hooks.set_hooks_for_conditioning(prompt(seed), hooks) for seed in (1, 2)]
    check("hooks", sample(running(base, first), *hooked), expected, 2e-5)


def test_attention_that_another_node_replaces(comfy, base, people, running, door):
    from comfy.ldm.modules.attention import optimized_attention

    def adapter(query, key, value, options):
        return optimized_attention(query, key, value, options["n_heads"]) + query / 4

    def with_adapter(model):
        model = model.clone()
        for block in range(9):
            model.set_model_attn2_replace(adapter, "output", block)
        return model

    expected = sample(patched(with_adapter(base), people[0]))
    assert error(sample(patched(base, people[0])), expected) > 1e-4
    check("before", sample(with_adapter(running(base, people[0]))), expected)
    check("after", sample(running(with_adapter(base), people[0])), expected)
    ones = door.in_regions(people[:1], [torch.ones(1, 8, 8)], STRENGTH)
    check("a region", sample(door.add_layers(with_adapter(base), ones)), expected)


def test_with_a_controlnet(comfy, base, people, running):
    import comfy.controlnet

    class Lines(comfy.controlnet.ControlBase):
        """The output of a ControlNet, added to the UNet."""

        def get_control(self, x, t, cond, batched_number, transformer_options):
            return {"middle": [torch.ones(len(x), 64, x.shape[-2] // 4, x.shape[-1] // 4)], "output": [], "input": []}

        def copy(self):
            return self

    def controlled(seed):
        return [[tokens, {**about, "control": Lines()}] for tokens, about in prompt(seed)]

    expected = sample(patched(base, people[0]), controlled(1), controlled(2))
    assert error(sample(patched(base, people[0])), expected) > 1e-5
    check("ControlNet", sample(running(base, people[0]), controlled(1), controlled(2)), expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2"])
def test_it_is_exact_on_a_model_of_eight_bits(comfy, people, running, kind):
    model = patcher(comfy, "Segmind_Vega", SMALL, dtype=getattr(torch, kind))
    lora = people[0]
    handles = []
    from hyperlora_core.doors.comfyui.patching import fitting

    for key, factors in fitting(model, lora).items():
        product = STRENGTH * factors.scale * factors.up @ factors.down
        linear = model.model.get_submodule(key.removesuffix(".weight"))
        handles.append(linear.register_forward_hook(lambda module, args, y, w=product: y + args[0] @ w.mT))
    exact = sample(model)
    for handle in handles:
        handle.remove()
    check("run-time", sample(running(model, lora)), exact)
    effect, off = error(sample(model), exact), error(sample(patched(model, lora)), exact)
    say(f"patched: {off:.1e} of an effect of {effect:.1e}")
    assert off > 0.02 * effect


@pytest.mark.parametrize(("kind", "most"), [pytest.param("bfloat16", 0.01, marks=pytest.mark.slow), ("float16", 0.002)])
def test_a_model_that_computes_in_half_precision(comfy, people, door, running, kind, most):
    """As on a GPU, though slow on a CPU; only dtypes are tested here."""
    dtype, start = getattr(torch, kind), noise(0, batch=2, size=8)
    model = patcher(comfy, "Segmind_Vega", SMALL, dtype=dtype, compute=dtype)
    actual = sample(running(model, people[0]), start=start, steps=1)
    check(kind, actual, sample(patched(model, people[0]), start=start, steps=1), most)
    masks = [half("left"), half("right")]
    for layers in (door.per_item(people[:2]), door.in_regions(people[:2], masks, schedule=Schedule.preset("fall"))):
        result = sample(door.add_layers(model, layers), start=start, steps=1)
        assert result.dtype == torch.float32 and torch.isfinite(result).all()


def test_a_queue_that_alternates_between_people_patches_nothing(comfy, base, people, running, monkeypatch):
    patches, patch = [], comfy.model_patcher.ModelPatcher.patch_weight_to_device
    monkeypatch.setattr(
        comfy.model_patcher.ModelPatcher,
        "patch_weight_to_device",
        lambda self, key, *args, **kwargs: patches.append(key in self.patches) or patch(self, key, *args, **kwargs),
    )
    expected = [sample(patched(base, person)) for person in people]
    assert sum(patches) == 3 * 120
    sample(base)
    patches.clear()
    for _ in range(2):
        for person, picture in zip(people, expected, strict=True):
            check("alternating", sample(running(base, person)), picture)
    assert sum(patches) == 0


@pytest.mark.slow
def test_memory_is_flat_over_a_hundred_alternations(base, people, running):
    import psutil

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    process, sizes = psutil.Process(), []
    for number in range(100):
        sample(running(base, people[number % 3]), start=noise(number, size=8), steps=1)
        if number in (19, 99):
            sizes.append((process.memory_info().rss, tensors()))
    say(f"after 20: {sizes[0]}, after 100: {sizes[1]}")
    assert sizes[1][0] - sizes[0][0] < 16 << 20
    assert sizes[1][1] <= sizes[0][1]


def test_what_was_put_on_the_device_goes_when_sampling_ends(base, people, running):
    model = running(base, people[0])
    (wrapper,) = model.wrappers["apply_model"]["hyper_lora"]
    sample(model)
    assert wrapper.__self__._factors == {} and wrapper.__self__._conditionings == {}


class InterruptedError_(BaseException):
    """Like ComfyUI's interrupt, which is no subclass of ``Exception``."""


@pytest.mark.parametrize("kind", [RuntimeError, InterruptedError_])
def test_nothing_remains_after_an_exception_or_an_interrupt(base, people, door, running, plain, kind):
    def stop(query, key, value, options):
        raise kind("in the middle")

    masks = [torch.ones(1, 8, 8), torch.ones(1, 8, 8)]
    for layers in ([door.Layer(people[0])], door.in_regions(people[:2], masks), door.per_item(people[:1])):
        model = door.add_layers(base, layers)
        model.set_model_attn2_replace(stop, "input", 5)
        with pytest.raises(kind):
            sample(model)
        assert not replaced(base) and torch.equal(sample(base), plain)
        (wrapper,) = model.wrappers["apply_model"]["hyper_lora"]
        assert wrapper.__self__._factors == {}


@pytest.mark.slow
def test_a_compiled_model_follows_whoever_comes(base, people, door):
    """A forward hook would not do: torch.compile would keep the first person, or none."""
    from comfy_api.torch_helpers import set_torch_compile_wrapper
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    compiled = base.clone()
    set_torch_compile_wrapper(compiled, backend="eager")
    half = torch.zeros(1, 8, 8)
    half[..., :4] = 1
    first, second = people[:2]
    pairs = {
        "alone": ([], []),
        "one": ([door.Layer(first)], [door.Layer(second)]),
        "regions": (
            door.in_regions([first, second], [half, 1 - half]),
            door.in_regions([second, first], [half, 1 - half]),
        ),
    }
    with torch._dynamo.config.patch(recompile_limit=256, accumulated_recompile_limit=4096):
        for name, (layers, of_others) in pairs.items():
            check(name, sample(door.add_layers(compiled, layers)), sample(door.add_layers(base, layers)))
            graphs = counters["stats"]["unique_graphs"]
            check(name, sample(door.add_layers(compiled, of_others)), sample(door.add_layers(base, of_others)))
            assert counters["stats"]["unique_graphs"] == graphs > 0  # the next person needs nothing compiled
        late = door.add_layers(base, [door.Layer(first)])
        expected = sample(late)
        set_torch_compile_wrapper(late, backend="eager")
        check("compiled after it", sample(late), expected)


def test_a_lora_that_does_not_fit_is_refused(comfy, people, running):
    wider = patcher(comfy, "Segmind_Vega", SMALL | {"model_channels": 128})
    with pytest.raises(HyperLoRAError, match="this LoRA does not fit the base model: 0 of its 120 targets fit"):
        running(wider, people[0])


def test_block_strengths_act_at_run_time(base, people, running):
    weighed = people[0].scaled(BlockStrengths({"attn1": 0.5, "up": 0.0}))
    check("blocks", sample(running(base, weighed)), sample(patched(base, weighed)))
