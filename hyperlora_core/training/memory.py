"""How much memory a training pass takes, found by running it on the meta device: shapes and types, no numbers."""

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..doors.diffusers.unet import LoRAInjection
from ..doors.diffusers.unets import sdxl_vae
from .forward import Conditions, GeneratedLoRAs


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that are made within this context and are still alive.

    Args:
        tensors: that exist already, and do not count.

    Attributes:
        now: bytes that are alive.
        peak: the most bytes that were alive at once.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen = {tensor.untyped_storage()._cdata for tensor in tensors}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._note(value.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._seen:
            return
        self._seen.add(key)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key, storage.nbytes())

    def _gone(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


class _FusedAttention(torch.autograd.Function):
    """Keeps what a fused attention keeps: q, k, v, the result, and a number for each query."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = torch.empty_like(q)
        ctx.save_for_backward(q, k, v, out, q.new_empty(q.shape[:-1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return tuple(torch.empty_like(value) for value in ctx.saved_tensors[:3])


@contextmanager
def _fused() -> Iterator[None]:
    """Within this context attention takes a fused one's memory, as on a GPU; the meta device takes the plain way."""
    plain = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = lambda q, k, v, *args, **kwargs: _FusedAttention.apply(q, k, v)
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = plain


def peak_of_encoding(resolution: int) -> tuple[int, int]:
    """Bytes that SDXL's VAE needs at most to encode one picture in float32, beside its weights, and these.

    Args:
        resolution: of the picture, pixels.
    """
    vae: Any = sdxl_vae()
    weights = [*vae.parameters()]
    with LiveBytes(weights) as live, _fused(), torch.no_grad():
        vae.encode(torch.empty(1, 3, resolution, resolution, device="meta"))
    return live.peak, sum(value.nbytes for value in weights)


def peak_of_pass(
    loras: GeneratedLoRAs, unet: nn.Module, batch: int, resolution: int, references: int, checkpointing: bool
) -> int:
    """Bytes that one forward and backward pass needs at most, beside weights and their gradients.

    Args:
        loras: on the meta device; what trains requires gradients.
        unet: on the meta device, frozen.
        batch: samples.
        resolution: of the pictures, pixels; latents are an eighth as large.
        references: photos a sample.
        checkpointing: whether the UNet's activations are computed again.
    """
    network = loras.network
    network.compute_device = torch.device("meta")
    for value in loras.parameters():
        value.grad = torch.empty_like(value) if value.requires_grad else None
    config: Any = unet.config
    dtype = next(unet.parameters()).dtype

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    tokens = 257
    network_config = network.config
    conditions = Conditions(
        id_on=empty(batch),
        base_on=empty(batch),
        present=empty(batch, references),
        id_embeds=None
        if network_config.id_embed_dim is None
        else empty(batch, references, network_config.id_embed_dim),
        clip_tokens=empty(batch, references, tokens, network_config.clip_width) if network_config.clip_width else None,
        base_tokens=empty(batch, tokens, network_config.clip_width) if network_config.clip_width else None,
    )
    inputs: dict[str, Any] = {"encoder_hidden_states": empty(batch, 77, config.cross_attention_dim, dtype=dtype)}
    if config.addition_embed_type == "text_time":
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        inputs["added_cond_kwargs"] = {
            "text_embeds": empty(batch, pooled, dtype=dtype),
            "time_ids": empty(batch, 6, dtype=dtype),
        }
    latents = empty(batch, config.in_channels, resolution // 8, resolution // 8, dtype=dtype)
    injection = LoRAInjection(unet, loras.targets)
    if checkpointing:
        unet.enable_gradient_checkpointing(injection.checkpoint)  # type: ignore[operator]
    try:
        weights = [*loras.parameters(), *unet.parameters()]
        resident = [*weights, *(value.grad for value in weights if value.grad is not None)]
        with LiveBytes(resident) as live, _fused():
            with injection.active(loras(conditions)):
                predicted = unet(latents, empty(batch), **inputs).sample
            predicted.float().square().mean().backward()
    finally:
        injection.remove()
        unet.disable_gradient_checkpointing()  # type: ignore[operator]
    return live.peak
