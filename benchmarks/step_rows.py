"""Rows of sampling with full-size SDXL, of random numbers: what LoRAs cost that act while the UNet runs."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hyperlora_core.lora.value import LoRA

from .host_rows import SDXL, import_comfy, random_lora
from .measure import Spread, Times, Work, alternate
from .rows import Row

SIZE, LARGE = 32, 64  # of the latents: pictures of 256 x 256 and 512 x 512
STEPS = 4
STRENGTH = 0.8
_BLOCK = 1 << 24


def steps(pairs: int, device: torch.device) -> Iterator[Row]:
    """One step with guidance, everything that comes before it counted in, in alternation."""
    comfy = import_comfy(device)
    from hyperlora_core.doors.comfyui.patching import apply_lora
    from hyperlora_core.doors.comfyui.runtime import Layer, add_layers, in_regions, per_item

    model = _model(comfy, device)
    people = [random_lora().to(torch.float16) for _ in range(2)]

    def sampling(model: Any, batch: int = 1) -> Work:
        return _sampling(comfy, model, _prompt(0), batch=batch)

    running = add_layers(model, [Layer(people[0], STRENGTH)])
    yield _row(
        "run-time LoRA, a step / the plain step", 1.10, alternate(sampling(running), sampling(model), pairs, device)
    )
    several = add_layers(model, per_item(people, STRENGTH))
    times = alternate(sampling(several, batch=2), sampling(model, batch=2), pairs, device)
    yield _row("  two people, one a picture / a plain batch of two", None, times)
    regions = add_layers(model, in_regions(people, _halves(), STRENGTH))
    yield _row(
        "  two people in masked regions / the plain step",
        None,
        alternate(sampling(regions), sampling(model), pairs, device),
    )

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


def prompts(pairs: int, device: torch.device) -> Iterator[Row]:
    """Two people, each with a prompt: in one pass, against ComfyUI's hooks, which change weights between passes."""
    comfy = import_comfy(device)
    from hyperlora_core.doors.comfyui.runtime import Layer, add_layers, for_prompt

    model = _model(comfy, device, sharing=True)
    people = [random_lora().to(torch.float16) for _ in range(2)]

    def placed(number: int) -> list:
        return comfy.hooks.set_mask_for_conditioning(_prompt(number), _halves()[number], "default", 1.0)

    def hooked(number: int, lora: LoRA | dict) -> list:
        hook = comfy.hooks.create_hook_lora(dict(lora), STRENGTH, 0.0)
        return comfy.hooks.set_hooks_for_conditioning(placed(number), hook)

    one_pass = add_layers(model, [Layer(lora, STRENGTH, prompt=str(i)) for i, lora in enumerate(people)])
    marked = [entry for i in range(2) for entry in for_prompt(placed(i), str(i))]
    hooks = [entry for i, lora in enumerate(people) for entry in hooked(i, lora)]
    no_weights = [entry for i in range(2) for entry in hooked(i, {})]

    def sampling(model: Any, positive: list, size: int, steps: int = STEPS) -> Work:
        return _sampling(comfy, model, positive, size=size, steps=steps)

    def compare(name: str, size: int, pairs: int) -> Row:
        ours, other = sampling(one_pass, marked, size), sampling(model, hooks, size)
        off = _error(ours(), other())
        row = _row(name, 0.5, alternate(ours, other, pairs, device))
        return replace(row, sides=f"{row.sides}; the pictures differ by {off:.0e}")

    yield compare(f"two people by their prompts / ComfyUI's hooks, {STEPS} steps, 256 pixels", SIZE, pairs)
    times = alternate(sampling(one_pass, marked, SIZE), sampling(model, no_weights, SIZE), max(3, pairs // 3), device)
    yield _row("  / as many passes with no weight changed", None, times)
    yield compare("  at 512 pixels", LARGE, max(3, pairs // 3))
    comfy.model_management.unload_all_models()


def _sampling(comfy: Any, model: Any, positive: list, batch: int = 1, size: int = SIZE, steps: int = 1) -> Work:
    noise = torch.randn(batch, 4, size, size, generator=torch.Generator().manual_seed(0))
    negative, nothing = _prompt(2), torch.zeros_like(noise)
    return lambda: comfy.sample.sample(
        model, noise, steps, 5.0, "euler", "normal", positive, negative, nothing, disable_pbar=True, seed=0
    )


def _halves() -> list[Tensor]:
    """The left half of a picture, and the right."""
    left = torch.zeros(1, 64, 64)
    left[..., :32] = 1
    return [left, 1 - left]


def _row(name: str, required: float | None, times: tuple[Times, Times]) -> Row:
    """A ratio of CPU seconds where there is no GPU: what else the machine does counts less."""
    row = Row.of_times(name, required, *times)
    ours, other = times
    sides = f"{Spread.of(ours.cpu).median:.2f} / {Spread.of(other.cpu).median:.2f} s of CPU"
    return Row(name, required, row.cpu, "", None, sides) if row.cpu and any(other.cpu) else row


def _model(comfy: Any, device: torch.device, sharing: bool = False) -> Any:
    """A MODEL of SDXL's full size.

    Args:
        comfy: ComfyUI's package.
        device: computed on.
        sharing: weights of one shape that no LoRA changes are one and the same, which takes half the memory and as
            long: ComfyUI keeps every attention four times for two hooked people, 20 GB in single precision.
    """
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    config = comfy.supported_models.SDXL(SDXL | {"dtype": dtype})
    config.set_inference_dtype(dtype, None)
    unet = config.get_model({}, device=torch.device("meta"))
    block = torch.randn(_BLOCK, generator=torch.Generator().manual_seed(0)) * 0.02
    shared: dict[torch.Size, torch.nn.Parameter] = {}

    def filled(like: Tensor) -> torch.nn.Parameter:
        flat = torch.empty(like.numel(), dtype=like.dtype)
        for start in range(0, flat.numel(), _BLOCK):
            flat[start : start + _BLOCK] = block[: flat[start : start + _BLOCK].numel()]
        return torch.nn.Parameter(flat.view(like.shape), requires_grad=False)

    for path, module in unet.named_modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if not sharing or ".attn" in path:
                setattr(module, name, filled(parameter))
                continue
            if parameter.shape not in shared:
                shared[parameter.shape] = filled(parameter)
            setattr(module, name, shared[parameter.shape])
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
