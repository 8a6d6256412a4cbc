"""ONNX's operators in torch: those that networks of faces are made of, for pictures of two dimensions.

An operator is a function of a node's attributes, the opset and its inputs; an input that is left out is None. Shapes
are computed with small whole-number tensors on the CPU, whatever the device. Source: https://onnx.ai/onnx/operators
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .onnx_file import UnreadOnnxError

Attributes = Mapping[str, Any]
Operator = Callable[..., Any]

_DTYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float32, 11: torch.float32}
OPERATORS: dict[str, Operator] = {}
"""Name -> function of (attributes, opset, *inputs)."""


def _operator(*names: str) -> Callable[[Operator], Operator]:
    def register(function: Operator) -> Operator:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


def together(*tensors: Tensor) -> list[Tensor]:
    """Tensors on one device: what was counted on the CPU goes to where the picture is."""
    device = next((tensor.device for tensor in tensors if tensor.device.type != "cpu"), torch.device("cpu"))
    return [tensor.to(device) for tensor in tensors]


def numbers(tensor: Tensor) -> list[int]:
    """Whole numbers of a tensor of shapes or places."""
    return [int(number) for number in tensor.flatten().tolist()]


def _each(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda attributes, opset, x: function(x)


def _pair(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda attributes, opset, x, y: function(*together(x, y))


def _divide(x: Tensor, y: Tensor) -> Tensor:
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


OPERATORS |= {
    "Relu": _each(functional.relu),
    "Sigmoid": _each(torch.sigmoid),
    "Tanh": _each(torch.tanh),
    "Exp": _each(torch.exp),
    "Sqrt": _each(torch.sqrt),
    "Floor": _each(torch.floor),
    "Ceil": _each(torch.ceil),
    "Abs": _each(torch.abs),
    "Neg": _each(torch.neg),
    "HardSwish": _each(functional.hardswish),
    "Identity": _each(lambda x: x),
    "Dropout": lambda attributes, opset, x, *tensors: x,
    "GlobalAveragePool": _each(lambda x: x.mean((2, 3), keepdim=True)),
    "Shape": _each(lambda x: torch.tensor(x.shape)),
    "Add": _pair(torch.add),
    "Sub": _pair(torch.sub),
    "Mul": _pair(torch.mul),
    "Div": _pair(_divide),
    "Pow": _pair(torch.pow),
    "MatMul": _pair(torch.matmul),
    "Greater": _pair(torch.gt),
    "Less": _pair(torch.lt),
    "Equal": _pair(torch.eq),
    "Min": lambda attributes, opset, x, *tensors: _folded(torch.minimum, x, tensors),
    "Max": lambda attributes, opset, x, *tensors: _folded(torch.maximum, x, tensors),
    "Sum": lambda attributes, opset, x, *tensors: _folded(torch.add, x, tensors),
    "Transpose": lambda attributes, opset, x: x.permute(attributes.get("perm") or range(x.ndim - 1, -1, -1)),
    "Concat": lambda attributes, opset, *parts: torch.cat(together(*parts), attributes["axis"]),
    "Where": lambda attributes, opset, *parts: torch.where(*together(*parts)),
    "Range": lambda attributes, opset, start, end, step: torch.arange(start.item(), end.item(), step.item()),
}


def _folded(function: Callable[[Tensor, Tensor], Tensor], total: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    for tensor in tensors:
        total = function(*together(total, tensor))
    return total


@_operator("LeakyRelu")
def _leaky_relu(attributes: Attributes, opset: int, x: Tensor) -> Tensor:
    return functional.leaky_relu(x, attributes.get("alpha", 0.01))


@_operator("HardSigmoid")
def _hard_sigmoid(attributes: Attributes, opset: int, x: Tensor) -> Tensor:
    return (x * attributes.get("alpha", 0.2) + attributes.get("beta", 0.5)).clamp(0, 1)


@_operator("PRelu")
def _prelu(attributes: Attributes, opset: int, x: Tensor, slope: Tensor) -> Tensor:
    per_channel = slope.shape == (x.shape[1], *[1] * (x.ndim - 2)) or slope.numel() == 1
    if per_channel or (opset < 7 and slope.ndim == 1):
        return functional.prelu(x, slope.flatten())
    return torch.where(x < 0, x * slope, x)


@_operator("Softmax")
def _softmax(attributes: Attributes, opset: int, x: Tensor) -> Tensor:
    if opset >= 13:
        return x.softmax(attributes.get("axis", -1))
    axis = attributes.get("axis", 1) % x.ndim
    return x.flatten(axis).softmax(-1).view(x.shape)


@_operator("Clip")
def _clip(
    attributes: Attributes, opset: int, x: Tensor, low: Tensor | None = None, high: Tensor | None = None
) -> Tensor:
    least = attributes.get("min") if low is None else low.item()
    most = attributes.get("max") if high is None else high.item()
    return x if least is None and most is None else x.clamp(least, most)


@_operator("BatchNormalization")
def _batch_norm(
    attributes: Attributes, opset: int, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    return functional.batch_norm(x, mean, variance, scale, bias, eps=attributes.get("epsilon", 1e-5))


@_operator("Gemm")
def _gemm(attributes: Attributes, opset: int, x: Tensor, y: Tensor, z: Tensor | None = None) -> Tensor:
    left = x.T if attributes.get("transA") else x
    right = y.T if attributes.get("transB") else y
    product = attributes.get("alpha", 1.0) * (left @ right)
    return product if z is None else product + attributes.get("beta", 1.0) * z


def padding(attributes: Attributes, x: Tensor, kernel: Sequence[int]) -> list[int]:
    """What a convolution or a pooling adds around a picture: left, right, top, bottom."""
    auto = attributes.get("auto_pad", "NOTSET")
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    if auto == "NOTSET":
        top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
        return [left, right, top, bottom]
    if auto == "VALID":
        return [0, 0, 0, 0]
    sides = []
    for length, side, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        reach = (side - 1) * dilation + 1
        total = max((math.ceil(length / stride) - 1) * stride + reach - length, 0)
        small = total // 2
        sides.append([small, total - small] if auto == "SAME_UPPER" else [total - small, small])
    return [*sides[1], *sides[0]]


def _pooling(attributes: Attributes, x: Tensor, average: bool) -> Tensor:
    kernel, strides = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    left, right, top, bottom = padding(attributes, x, kernel)
    rounded_up = bool(attributes.get("ceil_mode", 0))
    symmetric = left == right and top == bottom and 2 * left <= kernel[1] and 2 * top <= kernel[0]
    if not average:
        dilations = attributes.get("dilations", [1, 1])
        if not symmetric:
            x, left, top = functional.pad(x, (left, right, top, bottom), value=-math.inf), 0, 0
        return functional.max_pool2d(x, kernel, strides, (top, left), dilations, rounded_up)
    counts_padding = bool(attributes.get("count_include_pad", 0))
    if not symmetric:
        if not counts_padding:
            raise UnreadOnnxError("its AveragePool is padded to one side, which is not read")
        x, left, top = functional.pad(x, (left, right, top, bottom)), 0, 0
    return functional.avg_pool2d(x, kernel, strides, (top, left), rounded_up, counts_padding)


OPERATORS["MaxPool"] = lambda attributes, opset, x: _pooling(attributes, x, average=False)
OPERATORS["AveragePool"] = lambda attributes, opset, x: _pooling(attributes, x, average=True)


@_operator("Flatten")
def _flatten(attributes: Attributes, opset: int, x: Tensor) -> Tensor:
    axis = attributes.get("axis", 1)
    return x.reshape(math.prod(x.shape[:axis]), -1)


@_operator("Reshape")
def _reshape(attributes: Attributes, opset: int, x: Tensor, shape: Tensor) -> Tensor:
    sides = numbers(shape)
    if not attributes.get("allowzero"):
        sides = [x.shape[place] if side == 0 else side for place, side in enumerate(sides)]
    return x.reshape(sides)


def _axes(attributes: Attributes, axes: Tensor | None) -> list[int] | None:
    return attributes.get("axes") if axes is None else numbers(axes)


@_operator("Unsqueeze")
def _unsqueeze(attributes: Attributes, opset: int, x: Tensor, axes: Tensor | None = None) -> Tensor:
    places = _axes(attributes, axes) or []
    for axis in sorted(place % (x.ndim + len(places)) for place in places):
        x = x.unsqueeze(axis)
    return x


@_operator("Squeeze")
def _squeeze(attributes: Attributes, opset: int, x: Tensor, axes: Tensor | None = None) -> Tensor:
    places = _axes(attributes, axes)
    return x.squeeze() if places is None else x.squeeze(tuple(places))


@_operator("Gather")
def _gather(attributes: Attributes, opset: int, x: Tensor, places: Tensor) -> Tensor:
    axis = attributes.get("axis", 0) % x.ndim
    index = places.to(x.device).flatten()
    gathered = x.index_select(axis, torch.where(index < 0, index + x.shape[axis], index))
    return gathered.reshape((*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))


@_operator("Slice")
def _slice(attributes: Attributes, opset: int, x: Tensor, *bounds: Tensor | None) -> Tensor:
    if bounds:
        lists: list[Any] = [None if bound is None else numbers(bound) for bound in bounds]
        starts, ends, axes, steps = (*lists, None, None)[:4]
    else:
        starts, ends, axes, steps = attributes["starts"], attributes["ends"], attributes.get("axes"), None
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis, step = axes[place] if axes else place, steps[place] if steps else 1
        index = range(x.shape[axis])[start:end:step]
        x = x.index_select(axis, torch.tensor(list(index), dtype=torch.int64, device=x.device))
    return x


@_operator("Split")
def _split(attributes: Attributes, opset: int, x: Tensor, sizes: Tensor | None = None) -> Sequence[Tensor]:
    lengths = attributes.get("split") if sizes is None else numbers(sizes)
    if lengths is None:
        raise UnreadOnnxError("its Split names no lengths, which is not read")
    return x.split(lengths, attributes.get("axis", 0))


@_operator("Cast")
def _cast(attributes: Attributes, opset: int, x: Tensor) -> Tensor:
    if attributes["to"] not in _DTYPES:
        raise UnreadOnnxError(f"its Cast is to a type that is not read (number {attributes['to']} of ONNX's)")
    return x.to(_DTYPES[attributes["to"]])


@_operator("ConstantOfShape")
def _constant_of_shape(attributes: Attributes, opset: int, shape: Tensor) -> Tensor:
    value = attributes.get("value", torch.zeros(1))
    return torch.full(numbers(shape), value.item(), dtype=value.dtype)


@_operator("Expand")
def _expand(attributes: Attributes, opset: int, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, numbers(shape)))


def _reduced(function: Callable[..., Tensor]) -> Operator:
    def reduce(attributes: Attributes, opset: int, x: Tensor, axes: Tensor | None = None) -> Tensor:
        places = _axes(attributes, axes) or list(range(x.ndim))
        return function(x, dim=places, keepdim=bool(attributes.get("keepdims", 1)))

    return reduce


OPERATORS |= {"ReduceMean": _reduced(torch.mean), "ReduceSum": _reduced(torch.sum)}


@_operator("Pad")
def _pad(
    attributes: Attributes, opset: int, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None
) -> Tensor:
    if attributes.get("mode", "constant") != "constant":
        raise UnreadOnnxError(f"its Pad is of the mode {attributes['mode']}, which is not read")
    sides = attributes["pads"] if pads is None else numbers(pads)
    filled = attributes.get("value", 0.0) if value is None else value.item()
    half = len(sides) // 2
    around = [side for axis in reversed(range(half)) for side in (sides[axis], sides[half + axis])]
    return functional.pad(x, around, value=filled)


@_operator("Resize", "Upsample")
def _resize(attributes: Attributes, opset: int, x: Tensor, *sizes: Any) -> Tensor:
    """Nearest pixels and linear ones, by factors or to sizes, on the places that torch and ONNX share."""
    if "scales" in attributes:  # Upsample's, before opset 9
        target_shape, scales = None, attributes["scales"]
    elif len(sizes) == 1:  # opset 9 and 10
        target_shape, scales = None, sizes[0].tolist()
    else:
        scaled, target = (*sizes[1:], None)[:2]
        target_shape = numbers(target) if target is not None and target.numel() else None
        scales = None if target_shape else scaled.tolist()
    if target_shape is None:
        target_shape = [math.floor(side * scale) for side, scale in zip(x.shape, scales, strict=True)]
    if list(x.shape[:2]) != target_shape[:2] or x.ndim != 4:
        raise UnreadOnnxError("it resizes more than the height and width of pictures, which is not read")
    is_multiple = all(to % side == 0 for side, to in zip(x.shape[2:], target_shape[2:], strict=True))
    places = attributes.get("coordinate_transformation_mode", "half_pixel" if opset >= 11 else "asymmetric")
    way = (attributes.get("mode", "nearest"), places)
    if way[0] == "nearest":
        rounding = attributes.get("nearest_mode", "round_prefer_floor" if opset >= 11 else "floor")
        if (places, rounding) == ("asymmetric", "floor") or (is_multiple and places != "align_corners"):
            return functional.interpolate(x, target_shape[2:], mode="nearest")
    elif way == ("linear", "half_pixel") or way == ("linear", "pytorch_half_pixel"):
        return functional.interpolate(x, target_shape[2:], mode="bilinear", align_corners=False)
    elif way == ("linear", "align_corners"):
        return functional.interpolate(x, target_shape[2:], mode="bilinear", align_corners=True)
    raise UnreadOnnxError(f"it resizes pictures in a way that is not read ({', '.join(map(str, way))})")
