"""Reading .onnx files: the graph of a model, and its weights as torch tensors.

Only what a graph of layers needs is read, of the file's protocol buffers: the packages onnx and protobuf, whose
versions other packs hold fast, are not needed. Nothing in a file is executed. Format: onnx.proto3, https://github.com/onnx/onnx,
and https://protobuf.dev/programming-guides/encoding
"""

import math
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# TensorProto.DataType, for the types that graphs of layers use
_DTYPES = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float16,
    11: np.float64,
}
# TensorProto's fields of numbers that do not lie in raw_data, and how each is written
_FLOATS, _INT32S, _INT64S, _DOUBLES = 4, 5, 7, 10

Message = memoryview


class OnnxError(ValueError):
    """An .onnx file that cannot be read."""


class UnreadOnnxError(OnnxError):
    """An .onnx file that may be whole, with something in it that is not read here."""


@dataclass(frozen=True)
class Node:
    """A step of a graph.

    Attributes:
        kind: the operator, as "Conv".
        name: its own; may be empty.
        inputs: names of values; an empty one is an input that is left out.
        outputs: names of values.
        attributes: its settings: numbers, lists of them, texts or tensors.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Value:
    """An input or an output of a graph.

    Attributes:
        name: of the value.
        shape: 0 where a side is free.
    """

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """A model.

    Attributes:
        nodes: in an order in which they can be computed.
        weights: name -> numbers that lie in the file.
        inputs: that have to be given.
        outputs: that are computed.
        opset: the version of the operators.
    """

    nodes: tuple[Node, ...]
    weights: dict[str, Tensor]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    opset: int


def read_graph(path: Path, weights: bool = True) -> Graph:
    """Read a model's graph.

    Args:
        path: an .onnx file.
        weights: read them too; without, each is an empty tensor.

    Raises:
        OnnxError: the file is broken.
        UnreadOnnxError: it keeps its weights in other files, or in types that are not read.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        try:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError as error:
            raise OnnxError("the file is empty") from error
    try:
        return _model(data, weights)
    except OnnxError:
        raise
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, struct.error) as error:
        raise OnnxError(f"the file is no ONNX model, or broken ({type(error).__name__})") from error


def _model(data: Message, read_weights: bool) -> Graph:
    graphs, opset = [], 0
    for number, value in _fields(data):
        if number == 7:
            graphs.append(value)
        elif number == 8:
            entries = dict(_fields(value))
            if not entries.get(1):  # of the standard's own operators
                opset = entries.get(2, 0)
    if len(graphs) != 1 or not opset:
        raise OnnxError("the file is no ONNX model, or cut short")
    nodes, weights, inputs, outputs = [], {}, [], []
    for number, value in _fields(graphs[0]):
        if number == 1:
            nodes.append(_node(value))
        elif number == 5:
            name, tensor = _tensor(value) if read_weights else (_name_of_tensor(value), torch.empty(0))
            weights[name] = tensor
        elif number == 11:
            inputs.append(_value(value))
        elif number == 12:
            outputs.append(_value(value))
    inputs_without_weights = tuple(
        value for value in inputs if value.name not in weights
    )  # old files list weights as inputs too
    return Graph(tuple(nodes), weights, inputs_without_weights, tuple(outputs), opset)


def _fields(data: Message) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a message: whole numbers, or the bytes of what is no whole number."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise OnnxError("the file is no ONNX model, or broken")
        if at + length > end:
            raise OnnxError("the file is cut short")
        yield number, data[at : at + length]
        at += length


def _varint(data: Message, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise OnnxError("the file is no ONNX model, or broken")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _text(data: Message) -> str:
    return bytes(data).decode("utf-8")


def _whole_numbers(value: int | Message) -> list[int]:
    """Of a repeated field, of which each entry stands alone or all are packed into one."""
    if isinstance(value, int):
        return [_signed(value)]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(_signed(number))
    return numbers


def _node(data: Message) -> Node:
    inputs, outputs, attributes = [], [], {}
    kind = name = domain = ""
    for number, value in _fields(data):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 3:
            name = _text(value)
        elif number == 4:
            kind = _text(value)
        elif number == 5:
            key, attribute = _attribute(value)
            if attribute is not None:
                attributes[key] = attribute
        elif number == 7:
            domain = _text(value)
    return Node(f"{domain}.{kind}" if domain else kind, name, tuple(inputs), tuple(outputs), attributes)


def _attribute(data: Message) -> tuple[str, Any]:
    name, single = "", None
    floats: list[float] = []
    ints: list[int] = []
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            single = struct.unpack("<f", value)[0]
        elif number == 3:
            single = _signed(value)
        elif number == 4:
            single = _text(value)
        elif number == 5:
            single = _tensor(value)[1]
        elif number == 7:
            floats += np.frombuffer(value, "<f4").tolist()
        elif number == 8:
            ints += _whole_numbers(value)
    return name, floats or ints or single


def _tensor(data: Message) -> tuple[str, Tensor]:
    shape: list[int] = []
    name, kind, raw = "", 0, None
    parts: list[np.ndarray] = []
    for number, value in _fields(data):
        if number == 1:
            shape += _whole_numbers(value)
        elif number == 2:
            kind = value
        elif number == 8:
            name = _text(value)
        elif number == 9:
            raw = value
        elif number in (_FLOATS, _DOUBLES):
            parts.append(np.frombuffer(value, "<f4" if number == _FLOATS else "<f8"))
        elif number in (_INT32S, _INT64S):
            parts.append(np.array(_whole_numbers(value), np.int64))
        elif number == 13:
            raise UnreadOnnxError("its weights lie in other files beside it, which is not read: get it in one file")
    if kind not in _DTYPES:
        raise UnreadOnnxError(f"its weights are of a type that is not read (number {kind} of ONNX's)")
    dtype = np.dtype(_DTYPES[kind])
    if raw is not None:
        array = np.frombuffer(raw, dtype.newbyteorder("<"))
    elif parts and dtype == np.float16:
        array = np.concatenate(parts).astype(np.uint16).view(np.float16)  # their bits, as whole numbers
    else:
        array = np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype)
    if array.size != math.prod(shape):
        raise OnnxError("the file is broken: it has fewer or more numbers than it says")
    # copied, for a field of bytes need not begin at a multiple of four, which torch's kernels count on
    return name, torch.from_numpy(array.astype(dtype).reshape(shape))


def _name_of_tensor(data: Message) -> str:
    return next((_text(value) for number, value in _fields(data) if number == 8), "")


def _value(data: Message) -> Value:
    name, shape = "", []
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            for kind, tensor in _fields(value):
                if kind == 1:  # no sequence, map, ...
                    shape = [_side(side) for at, dims in _fields(tensor) if at == 2 for _, side in _fields(dims)]
    return Value(name, tuple(shape))


def _side(data: Message) -> int:
    return next((value for number, value in _fields(data) if number == 1), 0)
