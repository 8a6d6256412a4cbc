"""Replacements for the ``forward`` of a module of the UNet during one call: linear layers with LoRAs added."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from .gates import RankGates, StackedFactors
from .masks import TokenGrid


def add_product(output: Tensor, inner: Tensor, up: Tensor) -> Tensor:
    """``output + inner @ up.T``, in place where ``output`` is contiguous."""
    flat = output.flatten(0, -2)
    return flat.addmm_(inner.flatten(0, -2), up.mT).view(output.shape)


class ForwardPatch:
    """Replaces the ``forward`` of one module while the UNet runs.

    A module keeps one patch object of each class for as long as it lives, and only tensors change in it, so that
    torch.compile has nothing to compile again when the LoRA changes.
    """

    def install(self, module: nn.Module) -> None:
        """Replace the module's ``forward``."""
        self.replaced = module.__dict__.get("forward")
        self.original = module.forward
        module.forward = self.forward

    def remove(self, module: nn.Module) -> None:
        """Restore the module's ``forward``, and drop all references to tensors."""
        if self.replaced is None:
            del module.forward
        else:
            module.forward = self.replaced
        self.__dict__.clear()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes meanwhile."""
        raise NotImplementedError


class SizeRecorder(ForwardPatch):
    """On a spatial transformer: tells the token grid how large the feature map is.

    Attributes:
        grid: its ``size`` is set.
    """

    grid: TokenGrid

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Record the size of a feature map ``(rows, channels, height, width)``."""
        self.grid.size = (x.shape[-2], x.shape[-1])
        return self.original(x, *args, **kwargs)


class LoRALinear(ForwardPatch):
    """On a linear projection: adds the gated product of the LoRAs.

    Attributes:
        factors: of all LoRAs.
        gates: where each of their ranks acts.
    """

    factors: StackedFactors
    gates: RankGates

    def forward(self, input: Tensor) -> Tensor:
        """Project ``(rows, tokens, in)`` to ``(rows, tokens, out)``."""
        inner = self.gates.apply(F.linear(input, self.factors.down))
        return add_product(self.original(input), inner, self.factors.up)
