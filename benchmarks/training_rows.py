"""Rows of training: what generated LoRAs in a UNet's forward cost a training pass, in time and in memory."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from hyperlora_core.doors.diffusers.unet import LoRAInjection, attention_modules
from hyperlora_core.network.bases import targets

from .measure import Work, alternate
from .rows import Row

BATCH, SIDE, TEXT, TOKENS = 2, 32, 2048, 77
RANKS = 12  # 8 of the ID-LoRA, 4 of the Base-LoRA
# widths, heads, and how often a pair is run: what takes a tenth of a second is told apart by many only
_SHAPES = {"a small UNet": ((32, 64), (2, 4), 10), "two full-width blocks": ((640, 1280), (10, 20), 1)}
_MOST = 1.15

Loss = Callable[[Tensor], Tensor]


def passes(pairs: int, device: torch.device) -> list[Row]:
    """A forward and backward pass with LoRAs, one a sample, over the same UNet's plain one.

    With LoRAs gradients flow to their matrices, as in training; in the plain pass to the latents, for nothing else of a
    frozen UNet takes any. The second row has both: it pays for the gradients of the latents twice.
    """
    rows = []
    with torch.inference_mode(False), torch.enable_grad():
        for name, (widths, heads, times) in _SHAPES.items():
            unet = _unet(widths, heads).to(device)
            latents = torch.randn(BATCH, 4, SIDE, SIDE, device=device)
            with_gradients = latents.clone().requires_grad_()
            text = torch.randn(BATCH, TOKENS, TEXT, device=device)
            injection = LoRAInjection(unet, targets(module.name for module in attention_modules(unet)))
            matrices = _matrices(unet, device)

            def loss(latents: Tensor, unet: UNet2DConditionModel = unet, text: Tensor = text) -> Tensor:
                return unet(latents, torch.tensor(500, device=device), text).sample.square().mean()

            def plain(loss: Loss = loss, latents: Tensor = with_gradients) -> None:
                loss(latents).backward()

            def injected(
                latents: Tensor = latents,
                injection: LoRAInjection = injection,
                matrices: dict = matrices,
                loss: Loss = loss,
            ) -> None:
                with injection.active(matrices):
                    loss(latents).backward()

            took = alternate(injected, plain, times * pairs, device)
            row = Row.of_times(f"training pass with LoRAs, {name} / plain", _MOST, *took)
            rows.append(row.explained(injected))
            took = alternate(partial(injected, with_gradients), plain, times * pairs, device)
            rows.append(Row.of_times("  with gradients of the latents as well", None, *took))
            with injection.active(matrices):
                ours = _kept(partial(loss, latents), unet)
            injection.remove()
            theirs = _kept(partial(loss, with_gradients), unet)
            rows.append(Row.of_bytes("  kept for the backward pass", None, [ours], [theirs]))
    return rows


def _unet(widths: Sequence[int], heads: Sequence[int]) -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=SIDE,
        block_out_channels=tuple(widths),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        mid_block_type=None,
        attention_head_dim=tuple(heads),
        cross_attention_dim=TEXT,
        use_linear_projection=True,
        norm_num_groups=32,
    ).requires_grad_(False)


def _matrices(unet: UNet2DConditionModel, device: torch.device) -> dict[str, tuple[Tensor, Tensor]]:
    """LoRAs of random numbers, one a sample."""
    made = {}
    for module in attention_modules(unet):
        for name in targets([module.name]):
            layer = unet.get_submodule(name)
            down = torch.randn(BATCH, RANKS, layer.in_features, device=device) / layer.in_features**0.5
            up = torch.randn(BATCH, layer.out_features, RANKS, device=device) * 0.1
            made[name] = (down.requires_grad_(), up.requires_grad_())
    return made


def _kept(loss: Work, unet: UNet2DConditionModel) -> int:
    """Bytes that autograd keeps of a forward pass, the UNet's weights not counted."""
    weights = {value.untyped_storage().data_ptr() for value in unet.parameters()}
    kept: dict[int, int] = {}

    def note(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    with saved_tensors_hooks(note, lambda value: value):
        result = loss()
    del result
    return sum(kept.values())
