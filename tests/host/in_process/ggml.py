"""Linear layers as GGUF files store them: packed blocks of 32 numbers, unpacked whenever the layer is called.

The layout is that of the packs that load GGUF in ComfyUI: the weight is bytes, and its ``shape`` is the unpacked one.
The blocks are ggml's: Q8_0 has a half-precision scale and 32 signed bytes; Q4_0 a half-precision scale and 16 bytes,
whose low halves are the first 16 numbers and whose high halves the other 16, each stored plus 8.
"""

from collections.abc import Mapping

import comfy.ops
import torch
from torch import Tensor, nn

BLOCK = 32


class Packed(torch.Tensor):
    """Bytes ``(blocks, bytes of a block)`` whose ``shape`` is that of the numbers in them."""

    numbers: torch.Size

    @property
    def shape(self) -> torch.Size:
        return getattr(self, "numbers", self.size())

    def detach(self) -> "Packed":
        return self

    def clone(self, *_, **__) -> "Packed":
        return self

    def to(self, *args, **kwargs) -> "Packed":
        tensor = super().to(*args, **kwargs)
        tensor.numbers = self.shape
        return tensor


def pack(weight: Tensor, kind: str) -> Packed:
    """Quantise ``(out, in)`` to "Q8_0" or "Q4_0"."""
    blocks = weight.float().reshape(-1, BLOCK)
    extreme = blocks.gather(1, blocks.abs().argmax(dim=1, keepdim=True))
    scale = extreme.abs() / 127 if kind == "Q8_0" else extreme / -8
    steps = torch.where(scale == 0, 0, blocks / scale)
    if kind == "Q8_0":
        numbers = steps.round().clamp(-127, 127).to(torch.int8).view(torch.uint8)
    else:
        low, high = (steps + 8.5).clamp(0, 15).to(torch.uint8).chunk(2, dim=1)
        numbers = low | high << 4
    packed = torch.cat([scale.half().view(torch.uint8), numbers], dim=1).as_subclass(Packed)
    packed.numbers = weight.shape
    return packed


def unpack(packed: Tensor, dtype: torch.dtype) -> Tensor:
    """The numbers of packed blocks."""
    shape, blocks = packed.shape, packed.as_subclass(torch.Tensor)
    scale, numbers = blocks[:, :2].contiguous().view(torch.float16), blocks[:, 2:]
    if numbers.size(1) == BLOCK:
        numbers = numbers.view(torch.int8)
    else:
        numbers = torch.cat([numbers & 15, numbers >> 4], dim=1).to(torch.int8) - 8
    return (scale.to(dtype) * numbers).reshape(shape)


class Operations(comfy.ops.manual_cast):
    """ComfyUI's layers; linear layers whose weights are packed in the state dict unpack them when called."""

    class Linear(comfy.ops.manual_cast.Linear):
        def _load_from_state_dict(self, state: Mapping[str, Tensor], prefix: str, *args) -> None:
            weight = state.get(f"{prefix}weight")
            if isinstance(weight, Packed):
                self.weight = nn.Parameter(weight, requires_grad=False)
                if self.bias is not None:
                    self.bias = nn.Parameter(state[f"{prefix}bias"], requires_grad=False)
            else:
                super()._load_from_state_dict(state, prefix, *args)

        def forward(self, input: Tensor) -> Tensor:
            if not isinstance(self.weight, Packed):
                return super().forward(input)
            bias = None if self.bias is None else self.bias.to(input)
            return nn.functional.linear(input, unpack(self.weight, input.dtype), bias)
