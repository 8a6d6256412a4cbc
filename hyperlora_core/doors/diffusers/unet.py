"""diffusers' side: generated LoRAs injected into a UNet's forward by hooks, so that gradients flow to their matrices.

A forward hook, set once on each target, reads the LoRA that is active in the current context and adds
``(x @ down^T) @ up^T``. With no LoRA active nothing changes. The weights are never touched.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.hooks import RemovableHandle

from ...errors import HyperLoRAError
from ...network.config import AttentionModule

Matrices = Mapping[str, tuple[Tensor, Tensor]]


class LoRAInjection:
    """Injects LoRAs into a UNet's linear layers.

    Args:
        unet: a diffusers UNet.
        targets: canonical names (diffusers paths) of the linear layers that LoRAs may change.

    Raises:
        HyperLoRAError: the UNet lacks a target, or a target is no linear layer.
    """

    def __init__(self, unet: nn.Module, targets: Sequence[str]) -> None:
        self._active: ContextVar[Matrices | None] = ContextVar("active_lora", default=None)
        self._targets = frozenset(targets)
        layers = [(name, _linear(unet, name)) for name in targets]
        self._handles: list[RemovableHandle] = [layer.register_forward_hook(self._hook(name)) for name, layer in layers]

    def _hook(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]:
        @torch.compiler.disable  # a compiled hook would keep the LoRA that it saw first, or none
        def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            active = self._active.get()
            if active is None or name not in active:
                return None
            x = inputs[0]
            down, up = (each.mT for each in active[name])
            down, up = down.to(x.dtype), up.to(output.dtype)  # autocast may have made another type of the output
            if up.ndim == x.ndim == 3 and len(up) == len(x):
                inner = torch.bmm(x, down).to(output.dtype)
                return output.baddbmm_(inner, up)  # in place, which the layer's own backward pass does not mind
            return output + (x @ down).to(output.dtype) @ up

        return add

    @contextmanager
    def active(self, matrices: Matrices) -> Iterator[None]:
        """Within this context, calls of the UNet add a LoRA.

        Args:
            matrices: canonical name -> down ``(rank, in)``, up ``(out, rank)`` for the whole batch, or with a leading
                B for one pair an item. The layer's weight counts as ``weight + up @ down``: alpha over rank is in
                them.

        Raises:
            HyperLoRAError: a name is no target of this injection.
        """
        unknown = matrices.keys() - self._targets
        if unknown:
            raise HyperLoRAError(f"{sorted(unknown)[0]} is none of the {len(self._targets)} targets of this injection")
        token = self._active.set(matrices)
        try:
            yield
        finally:
            self._active.reset(token)

    def checkpoint(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Gradient checkpointing whose recomputation sees the LoRA that was active in the forward.

        For a diffusers UNet: ``unet.enable_gradient_checkpointing(injection.checkpoint)``.
        """
        active = self._active.get()

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            again = nullcontext() if active is None else self.active(active)
            return nullcontext(), again

        return checkpoint(function, *args, use_reentrant=False, context_fn=contexts, **kwargs)

    def remove(self) -> None:
        """Take the hooks off the UNet again."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def attention_modules(unet: nn.Module) -> tuple[AttentionModule, ...]:
    """The attentions of a UNet's transformer blocks, in its own order: what a HyperLoRA for it changes.

    Raises:
        HyperLoRAError: it has none.
    """
    found = tuple(
        AttentionModule(
            name,
            _linear(unet, f"{name}.to_q").out_features,
            None if name.endswith("1") else _linear(unet, f"{name}.to_k").in_features,
        )
        for name, _ in unet.named_modules()
        if re.fullmatch(r".*\.transformer_blocks\.\d+\.attn[12]", name)
    )
    if not found:
        raise HyperLoRAError(f"the UNet ({type(unet).__name__}) has no attention that a LoRA could change")
    return found


def _linear(unet: nn.Module, name: str) -> nn.Linear:
    try:
        layer = unet.get_submodule(name)
    except AttributeError as error:
        raise HyperLoRAError(f"the UNet ({type(unet).__name__}) has no {name}") from error
    if not isinstance(layer, nn.Linear):
        raise HyperLoRAError(f"{name} is a {type(layer).__name__}; LoRAs are injected into torch.nn.Linear layers")
    return layer
