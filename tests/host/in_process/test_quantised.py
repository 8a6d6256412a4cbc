"""The run-time LoRA on quantised models, as ComfyUI's own loader makes them, adds the LoRA's exact product."""

import json
from collections.abc import Callable, Mapping

import pytest
import torch
from torch.nn import functional as F

from hyperlora_core import LoRA
from tests.host.in_process.sampling import STRENGTH, check, error, noise, patched, random_lora, sample, say
from tests.host.in_process.unets import VEGA, patcher

PROJECTION = "diffusion_model.input_blocks.7.1.transformer_blocks.0.attn1.to_q"
# ComfyUI reads the width of text embeddings off this weight's shape, which packing would halve.
LEFT_WHOLE = "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
GROUPS = {"convrot": True, "convrot_groupsize": 64, "per_channel": True}
COMFY_KITCHEN = {
    "float8_e4m3fn": ("float8_e4m3fn", {}),
    "float8_e5m2": ("float8_e5m2", {}),
    "int8": ("int8_tensorwise", {}),
    "int8 convrot": ("int8_tensorwise", GROUPS),
    "mxfp8": ("mxfp8", {}),
    "nvfp4": ("nvfp4", {}),
    "w4a4 convrot": ("convrot_w4a4", {"convrot_groupsize": 64}),
}
"""Format -> ComfyUI's name of it, and what the file says beside that name."""
GGUF = ("Q8_0", "Q4_0")


@pytest.fixture(scope="module")
def base(comfy):
    """A small model of the SDXL family with random weights."""
    return patcher(comfy, "Segmind_Vega", VEGA)


@pytest.fixture(scope="module")
def lora(base) -> LoRA:
    return random_lora(base, 1)


@pytest.fixture(scope="module")
def quantised(comfy, base) -> Callable:
    """Make a MODEL whose transformers' linear layers are quantised to a format."""
    weights = base.model.diffusion_model.state_dict()

    def make(kind: str):
        from comfy.quant_ops import QUANT_ALGOS

        if kind in COMFY_KITCHEN and COMFY_KITCHEN[kind][0] not in QUANT_ALGOS:
            pytest.skip("this ComfyUI does not read this format")
        state, options = {}, {}
        for name, weight in weights.items():
            if ".transformer_blocks." not in name or weight.ndim != 2 or name == LEFT_WHOLE:
                state[name] = weight
            elif kind in COMFY_KITCHEN:
                state |= of_comfy_kitchen(name, weight, *COMFY_KITCHEN[kind])
            else:
                from tests.host.in_process import ggml

                state[name], options = ggml.pack(weight, kind), {"custom_operations": ggml.Operations}
        with torch.inference_mode():  # as ComfyUI runs its loaders
            return comfy.sd.load_diffusion_model_state_dict(state, options)

    return make


def of_comfy_kitchen(
    name: str, weight: torch.Tensor, kind: str, parameters: Mapping[str, object]
) -> dict[str, torch.Tensor]:
    """The tensors that a quantised checkpoint of ComfyUI holds for a weight."""
    from comfy.quant_ops import QUANT_ALGOS, QuantizedTensor

    scale = {} if "convrot_groupsize" in parameters else {"scale": "recalculate"}
    packed = QuantizedTensor.from_float(weight, QUANT_ALGOS[kind]["comfy_tensor_layout"], **scale, **parameters)
    format = torch.frombuffer(bytearray(json.dumps({"format": kind, **parameters}).encode()), dtype=torch.uint8)
    return packed.state_dict(name) | {f"{name.removesuffix('weight')}comfy_quant": format}


def exactly(model, lora: LoRA, run: Callable[[], torch.Tensor]) -> torch.Tensor:
    """What a model gives with up @ down, computed in full, added to each projection's output."""
    from hyperlora_core.doors.comfyui.patching import fitting

    handles = []
    for key, factors in fitting(model, lora).items():
        product = STRENGTH * factors.scale * factors.up @ factors.down
        linear = model.model.get_submodule(key.removesuffix(".weight"))
        handles.append(linear.register_forward_hook(lambda _, args, y, w=product: y + args[0] @ w.mT))
    try:
        return run()
    finally:
        for handle in handles:
            handle.remove()


def running(model, lora: LoRA, mask: torch.Tensor | None = None):
    from hyperlora_core.doors.comfyui import runtime

    return runtime.add_layers(model, [runtime.Layer(lora, STRENGTH, mask=mask)])


@pytest.mark.parametrize("kind", [*COMFY_KITCHEN, *GGUF])
def test_a_projection_gives_what_the_plain_one_gives_and_the_exact_product(base, quantised, lora, kind):
    from hyperlora_core.doors.comfyui.patching import fitting
    from hyperlora_core.doors.comfyui.runtime.gates import RankGates, StackedFactors
    from hyperlora_core.doors.comfyui.runtime.linears import LoRALinear

    model = quantised(kind)
    linear, dense = (each_model.model.get_submodule(PROJECTION) for each_model in (model, base))
    factors = fitting(model, lora)[f"{PROJECTION}.weight"]
    product = factors.scale * factors.up @ factors.down
    x = torch.randn(2, 24, dense.in_features, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        plain = linear(x)
        assert error(plain, dense(x)) > 1e-3  # it is quantised
        projection = LoRALinear()
        projection.factors = StackedFactors(factors.down, factors.scale * factors.up, ((0, 8),))
        projection.gates = RankGates(torch.zeros(8, dtype=torch.long), None, None)
        projection.install(linear)
        actual = linear(x)
        projection.remove(linear)
        check(kind, actual - plain, F.linear(x, product), 1e-5)
        check(kind, actual, plain + F.linear(x, product), 1e-6)
        assert torch.equal(linear(x), plain)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("float8_e4m3fn", marks=pytest.mark.slow),
        pytest.param("float8_e5m2", marks=pytest.mark.slow),
        pytest.param("int8", marks=pytest.mark.slow),
        pytest.param("mxfp8", marks=pytest.mark.slow),
        pytest.param("nvfp4", marks=pytest.mark.slow),
        pytest.param("Q8_0", marks=pytest.mark.slow),
        "Q4_0",
    ],
)
def test_a_picture_of_a_quantised_model_is_that_of_the_exact_product(base, quantised, lora, kind):
    model, start = quantised(kind), noise(0, size=8)
    exact = exactly(model, lora, lambda: sample(model, start=start))
    # int8 rounds its input to 8 bits, so another order of a sum may round a number the other way
    most = 1e-3 if kind == "int8" else 1e-5
    check("run-time", sample(running(model, lora), start=start), exact, most)
    check("in a mask", sample(running(model, lora, torch.ones(1, 8, 8)), start=start), exact, most)
    plain = sample(model, start=start)
    assert error(plain, exact) > 1e-2 and error(plain, sample(base, start=start)) > 1e-4
    if kind in COMFY_KITCHEN:
        off = error(sample(patched(model, lora), start=start), exact)
        say(f"patched: {off:.1e} of an effect of {error(plain, exact):.1e}")
        assert off > 0.02 * error(plain, exact)
