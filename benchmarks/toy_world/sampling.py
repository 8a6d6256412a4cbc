"""Drawing pictures: DDIM, no classifier-free guidance, from noise that is settled by a seed.

Source: Song et al., arXiv 2010.02502, without added noise. Shapes: N pictures.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from hyperlora_core.doors.diffusers.unet import LoRAInjection
from hyperlora_core.network.bases import targets
from hyperlora_core.network.hyperlora import HyperLoRA
from hyperlora_core.training.forward import Conditions, GeneratedLoRAs

from .base import Base, objective, pictures_of

STEPS = 20
_BATCH = 64


@torch.no_grad()
def draw(predict: Callable[[Tensor, Tensor, slice], Tensor], noise: Tensor, patch: int) -> Tensor:
    """Draw from noise.

    Args:
        predict: what the UNet predicts of noised latents, timesteps and the rows of the whole that they are.
        noise: ``(N, C, H, W)``.
        patch: of the latents.

    Returns:
        Pictures ``(N, 3, 32, 32)``.
    """
    alphas = objective().alphas_cumprod
    times = torch.linspace(len(alphas) - 1, 0, STEPS + 1).round().long()[:-1]
    signal, spread = alphas.sqrt(), (1 - alphas).sqrt()
    drawn = []
    for start in range(0, len(noise), _BATCH):
        rows = slice(start, min(start + _BATCH, len(noise)))
        latents = noise[rows]
        for now, then in zip(times.tolist(), [*times[1:].tolist(), None], strict=True):
            with torch.autocast("cpu", torch.bfloat16):
                velocity = predict(latents, torch.full((len(latents),), now), rows).float()
            clean = (signal[now] * latents - spread[now] * velocity).clamp(-1.1, 1.1)
            if then is None:
                latents = clean
            else:
                latents = signal[then] * clean + spread[then] / spread[now] * (latents - signal[now] * clean)
        drawn.append(pictures_of(latents, patch))
    return torch.cat(drawn)


def draw_plain(base: Base, words: Tensor, noise: Tensor) -> Tensor:
    """Pictures of the base alone."""
    return draw(lambda latents, times, rows: base(latents, times, words[rows]), noise, base.patch)


@torch.no_grad()
def draw_with(base: Base, network: HyperLoRA, conditions: Conditions, words: Tensor, noise: Tensor) -> Tensor:
    """Pictures with the LoRAs that a hypernetwork makes, at the strengths that the conditions have."""
    base_too = {"id", "base"} if network.config.base_resampler is not None else {"id"}
    matrices = GeneratedLoRAs(network, frozenset(base_too))(conditions)
    injection = LoRAInjection(base.unet, targets(network.attentions))

    def predict(latents: Tensor, times: Tensor, rows: slice) -> Tensor:
        some = {name: (down[rows], up[rows]) for name, (down, up) in matrices.items()}
        with injection.active(some):
            return base(latents, times, words[rows])

    try:
        return draw(predict, noise, base.patch)
    finally:
        injection.remove()


@contextmanager
def without(network: HyperLoRA, attention: str) -> Iterator[None]:
    """Within this context an attention of the ID resampler adds nothing: "attn2" reads the embedding, "attn3" CLIP."""
    handles = [
        block.get_submodule(attention).register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
        for block in network.resampler.layers
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
