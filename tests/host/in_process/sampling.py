"""Sampling with ComfyUI in this process, and LoRAs and pictures of random numbers for it."""

import json
import sys

import torch

from hyperlora_core import LoRA

SIZE = 16
STRENGTH = 0.7


def random_lora(model, seed: int, size: float = 0.1, part: str = ".attn") -> LoRA:
    """A LoRA with random numbers on a model's attention projections.

    Args:
        model: a MODEL of the SDXL family.
        seed: of the numbers.
        size: their standard deviation.
        part: only projections whose names contain it.
    """
    from hyperlora_core.doors.comfyui.patching import _targets

    generator, matrices = torch.Generator().manual_seed(seed), []
    names = _targets(json.dumps(model.model.model_config.unet_config, default=str, sort_keys=True))
    for name, key in sorted(names.items()):
        if ".attn" in name and part in name:
            out, into = model.model.get_parameter(key).shape
            down, up = (torch.randn(shape, generator=generator) * size for shape in ((8, into), (out, 8)))
            matrices.append((name, down, up))
    return LoRA.from_matrices(matrices, alpha=4.0)


def prompt(seed: int) -> list:
    generator = torch.Generator().manual_seed(seed)
    tokens, pooled = torch.randn(1, 77, 2048, generator=generator), torch.randn(1, 1280, generator=generator)
    return [[tokens, {"pooled_output": pooled}]]


def noise(seed: int, batch: int = 1, size: int = SIZE) -> torch.Tensor:
    return torch.randn(batch, 4, size, size, generator=torch.Generator().manual_seed(seed))


def sample(model, positive=None, negative=None, start=None, steps: int = 2, cfg: float = 4.0) -> torch.Tensor:
    """Latents, sampled as ComfyUI's KSampler does."""
    import comfy.sample

    start = noise(0) if start is None else start
    with torch.inference_mode():
        return comfy.sample.sample(
            model,
            start,
            steps,
            cfg,
            "euler",
            "normal",
            positive or prompt(1),
            negative or prompt(2),
            torch.zeros_like(start),
            disable_pbar=True,
            seed=0,
        )


def say(text: str) -> None:
    """Print a measured number; ``pytest -rP`` shows it."""
    sys.stdout.write(f"{text}\n")


def error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm of the difference over the norm of ``expected``."""
    return float((actual - expected).norm() / expected.norm())


def check(name: str, actual: torch.Tensor, expected: torch.Tensor, most: float = 1e-5) -> None:
    off = error(actual, expected)
    say(f"{name}: {off:.1e}")
    assert off < most


def patched(model, *loras: LoRA, strength: float = STRENGTH):
    from hyperlora_core.doors.comfyui.patching import apply_lora

    for lora in loras:
        model = apply_lora(model, lora, strength)
    return model


def half(side: str, height: int = 8, width: int = 12) -> torch.Tensor:
    """A mask of the left or the right half."""
    mask = torch.zeros(1, height, width)
    mask[..., : width // 2] = 1
    return mask if side == "left" else 1 - mask


def drawn(model, samples: torch.Tensor, seed: int = 3, indices: list[int] | None = None, add_noise: bool = True):
    """Latents, sampled as ComfyUI's KSampler does with a LATENT whose ``batch_index`` is ``indices``."""
    import comfy.sample

    noises = comfy.sample.prepare_noise(samples, seed, indices) if add_noise else torch.zeros_like(samples)
    with torch.inference_mode():
        conditions = (prompt(1), prompt(2))
        return comfy.sample.sample(
            model, noises, 1, 4.0, "euler", "normal", *conditions, samples, disable_pbar=True, seed=seed
        )


def apply(*arguments):
    from hyperlora_core.doors.comfyui.patching import apply_lora

    return apply_lora(*arguments)
