"""Rows of sampling with full-size SDXL, of random numbers: what LoRAs cost that act while the UNet runs."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from hyperlora_core.lora import LoRA

from .host_rows import SDXL, import_comfy, random_lora
from .measure import Spread, Times, Work, alternate
from .rows import Row

SIZE = 32  # of the latent: a picture of 256 x 256
STRENGTH = 0.8
_BLOCK = 1 << 24


def steps(pairs: int, device: torch.device) -> Iterator[Row]:
    """One step with guidance, everything that comes before it counted in, in alternation."""
    comfy = import_comfy(device)
    from hyperlora_core.doors.comfyui import apply_lora
    from hyperlora_core.doors.runtime import Layer, add_layers, for_prompt, in_regions, per_item

    model = _model(comfy, device)
    people = [random_lora().to(torch.float16) for _ in range(2)]
    left = torch.zeros(1, 64, 64)
    left[..., :32] = 1
    halves = [left, 1 - left]
    prompts = [_prompt(seed) for seed in range(3)]

    def sampling(model: Any, positive: list = prompts[0], batch: int = 1) -> Work:
        noise = torch.randn(batch, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
        nothing = torch.zeros_like(noise)
        return lambda: comfy.sample.sample(
            model, noise, 1, 5.0, "euler", "normal", positive, prompts[2], nothing, disable_pbar=True, seed=0
        )

    def placed(number: int) -> list:
        return comfy.hooks.set_mask_for_conditioning(prompts[number], halves[number], "default", 1.0)

    running = add_layers(model, [Layer(people[0], STRENGTH)])
    yield _row(
        "run-time LoRA, a step / the plain step", 1.10, alternate(sampling(running), sampling(model), pairs, device)
    )
    several = add_layers(model, per_item(people, STRENGTH))
    times = alternate(sampling(several, batch=2), sampling(model, batch=2), pairs, device)
    yield _row("  two people, one a picture / a plain batch of two", None, times)
    regions = add_layers(model, in_regions(people, halves, STRENGTH))
    yield _row(
        "  two people in masked regions / the plain step",
        None,
        alternate(sampling(regions), sampling(model), pairs, device),
    )

    for_each = add_layers(model, [Layer(lora, STRENGTH, prompt=str(i)) for i, lora in enumerate(people)])
    marked = [entry for i in range(2) for entry in for_prompt(placed(i), str(i))]
    hooked = [
        entry
        for i in range(2)
        for entry in comfy.hooks.set_hooks_for_conditioning(
            placed(i), comfy.hooks.create_hook_lora(dict(people[i]), STRENGTH, 0.0)
        )
    ]
    ours, hooks = sampling(for_each, marked), sampling(model, hooked)
    off = _error(ours(), hooks())
    row = _row("two people by their prompts / ComfyUI's hooks", 0.5, alternate(ours, hooks, pairs, device))
    yield Row(**{**row.__dict__, "sides": f"{row.sides}; the pictures differ by {off:.0e}"})

    def in_turn(apply: Callable[[LoRA], Any]) -> Work:
        return lambda: [sampling(apply(lora))() for lora in people]

    times = alternate(
        in_turn(lambda lora: add_layers(model, [Layer(lora, STRENGTH)])),
        in_turn(lambda lora: apply_lora(model, LoRA(lora), STRENGTH)),
        max(3, pairs // 3),
        device,
    )
    yield _row("two people in turn, a step each: run-time / patched", None, times)
    comfy.model_management.unload_all_models()


def _row(name: str, required: float | None, times: tuple[Times, Times]) -> Row:
    """A ratio of CPU seconds where there is no GPU: what else the machine does counts less."""
    row = Row.of_times(name, required, *times)
    ours, other = times
    sides = f"{Spread.of(ours.cpu).median:.2f} / {Spread.of(other.cpu).median:.2f} s of CPU"
    return Row(name, required, row.cpu, "", None, sides) if row.cpu and any(other.cpu) else row


def _model(comfy: Any, device: torch.device) -> Any:
    """A MODEL of SDXL's full size."""
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    config = comfy.supported_models.SDXL(SDXL | {"dtype": dtype})
    config.set_inference_dtype(dtype, None)
    unet = config.get_model({}, device=torch.device("cpu"))
    block = torch.randn(_BLOCK, generator=torch.Generator().manual_seed(0)) * 0.02
    with torch.no_grad():
        for parameter in unet.parameters():
            flat = parameter.view(-1)
            for start in range(0, flat.numel(), _BLOCK):
                flat[start : start + _BLOCK] = block[: flat[start : start + _BLOCK].numel()]
    management = comfy.model_management
    return comfy.model_patcher.CoreModelPatcher(
        unet, load_device=management.get_torch_device(), offload_device=management.unet_offload_device()
    )


def _prompt(seed: int) -> list:
    generator = torch.Generator().manual_seed(seed)
    pooled = torch.randn(1, 1280, generator=generator)
    return [[torch.randn(1, 77, 2048, generator=generator), {"pooled_output": pooled}]]


def _error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())
