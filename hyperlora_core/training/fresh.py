"""A HyperLoRA before its first step."""

import math

import torch
from torch import nn

from ..network.config import HyperLoRAConfig
from ..network.hyperlora import HyperLoRA
from ..ops import Basis, Learned


def fresh(config: HyperLoRAConfig, seed: int) -> HyperLoRA:
    """A network that changes nothing yet, and learns from its first step.

    The ``up`` bases are zero, so every LoRA is; the ``down`` bases and the coefficients are not, so gradients flow to
    the ``up`` bases at once.

    Args:
        config: its shapes.
        seed: of all its random numbers.
    """
    network = HyperLoRA(config, device="cpu")
    numbers = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, Basis):
                _, rows, _ = module.weight.shape
                if name.endswith(".up"):
                    module.weight.zero_()
                else:
                    module.weight.normal_(0, 1 / math.sqrt(rows), generator=numbers)
            elif isinstance(module, Learned):
                module.weight.normal_(0, 1 / math.sqrt(module.weight.shape[-1]), generator=numbers)
            elif isinstance(module, nn.Linear):
                bound = 1 / math.sqrt(module.in_features)  # torch's own, from our generator
                module.weight.uniform_(-bound, bound, generator=numbers)
                if module.bias is not None:
                    module.bias.uniform_(-bound, bound, generator=numbers)
    return network
