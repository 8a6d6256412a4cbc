"""What a run would take, found without loading weights: parameters, memory by part a GPU, samples, time."""

import math
from collections.abc import Iterator

import torch

from ..doors.diffusers.unet import attention_modules
from ..doors.diffusers.unets import unet_of
from ..errors import HyperLoRAError
from ..network.hyperlora import HyperLoRA
from . import stages
from .config import TrainConfig
from .forward import GeneratedLoRAs
from .memory import peak_of_encoding, peak_of_pass
from .states import KEPT

# Parameters of the encoders beside the UNet, as the published files have them.
_CLIP_L_TEXT, _BIG_G_TEXT, _CLIP_L_VISION = 123_060_480, 694_659_840, 303_179_776

_GB = 1e9


def plan(config: TrainConfig, gpus: int, samples_per_second: float | None = None) -> Iterator[str]:
    """Lines that say what a run would take.

    Args:
        config: of the run; ``config.base`` may be a name of ``unets.UNETS``. A fresh network of ``config.shape`` is
            reckoned with, whatever ``config.start`` holds.
        gpus: that share the samples, each with the whole network (DDP).
        samples_per_second: of all of them, for the time; None where nobody measured it.

    Raises:
        HyperLoRAError: the UNet is not known, a number cannot be, or a step's samples cannot be shared out.
    """
    if gpus < 1:
        raise HyperLoRAError(f"gpus is {gpus}: a number of 1 or more was expected")
    if samples_per_second is not None and not 0 < samples_per_second < math.inf:
        raise HyperLoRAError(f"samples_per_second is {samples_per_second:g}: a number above 0 was expected")
    if config.resolution % 64:
        raise HyperLoRAError(f"resolution is {config.resolution}: a multiple of 64 was expected")
    passes = config.accumulation(gpus)
    half = torch.float32 if config.mixed_precision == "no" else torch.bfloat16
    unet = unet_of(config.base, half)
    network = HyperLoRA(config.shape.config(attention_modules(unet)), device="meta")
    loras = GeneratedLoRAs.of_run(network, config)
    if config.start:
        yield f"of the shape that shape.* says; {config.start} is not read"
    yield f"{config.base or 'sdxl'}: {_count(unet):,} parameters, {len(network.attentions)} attentions"
    yield from stages.lines(network, config.stage, config.also_train)
    trained = sum(value.numel() for value in network.parameters() if value.requires_grad)
    frozen = _count(network) - trained
    yield f"  {'in all':18} {trained + frozen:>15,}  {trained:,} train"

    two = half.itemsize
    encoding, vae = peak_of_encoding(config.resolution)
    peak = peak_of_pass(loras, unet, config.batch, config.resolution, config.references, config.gradient_checkpointing)
    step = 0 if config.optimization.eight_bit else 4 * trained  # torch's AdamW takes the root of a moment all at once
    text = _CLIP_L_TEXT + (_BIG_G_TEXT if unet.config["cross_attention_dim"] > 768 else 0)  # type: ignore[index]
    moments = trained * (2 if config.optimization.eight_bit else 8)
    average = 4 * trained if config.optimization.ema else 0
    parts = {
        "what trains, float32": 4 * trained,
        "its gradients": 4 * trained,
        f"AdamW's state{', 8 bits' if config.optimization.eight_bit else ''}": moments,
        "moving average": average,
        "frozen hypernetwork, float32": 4 * frozen,
        f"UNet, {_name(half)}": two * _count(unet),
        "VAE, float32": vae,
        f"text encoders, {_name(half)}": two * text,
        f"CLIP ViT-L, {_name(half)}": two * _CLIP_L_VISION,
        f"a pass of {config.batch}, {config.resolution} pixels{', checkpointed' * config.gradient_checkpointing}": peak,
        "encoding a picture, beyond what the pass had": max(0, encoding - peak),
        "AdamW's step, beyond what these had": max(0, step - max(peak, encoding)),
    }
    whose = "the GPU" if gpus == 1 else f"each of {gpus} GPUs"
    yield f"memory of {whose}, GB (what the allocator and CUDA itself take, 1 to 2 GB, comes on top)"
    for part, size in parts.items():
        if size:
            yield f"  {part:44} {size / _GB:7.2f}"
    yield f"  {'in all':44} {sum(parts.values()) / _GB:7.2f}"
    state = 4 * (trained + frozen) + moments + average
    yield f"disk: {KEPT + 1} states of {state / _GB:.1f} GB while one is written, every {config.save_every} steps"
    samples = config.steps * config.samples_per_step
    yield f"{config.steps:,} steps x {config.samples_per_step} samples = {samples:,} samples, {passes} passes a step"
    if samples_per_second is None:
        yield "time: give --samples-per-second, as a short run tells it"
    else:
        seconds = samples / samples_per_second
        yield f"at {samples_per_second:g} samples a second: {seconds / 3600:,.1f} hours, {seconds / 86400:,.1f} days"


def _count(module: torch.nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
