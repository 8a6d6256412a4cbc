"""A model of an .onnx file as a torch module."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from .. import ops
from .onnx_file import Graph, Node, OnnxError, UnreadOnnxError
from .onnx_operators import OPERATORS, padding


class OnnxModule(nn.Module):
    """A graph of layers, run node by node, in single precision.

    The leaves with weights are of injected classes, so that a host can move them.

    Args:
        graph: from ``read_graph``.
        operations: classes for those leaves; see ``ops``.

    Attributes:
        inputs, outputs: of the graph.

    Raises:
        UnreadOnnxError: it has operators, or settings of them, that are not known here; all operators are named.
        OnnxError: it makes no sense.
    """

    def __init__(self, graph: Graph, operations: Any = ops) -> None:
        super().__init__()
        self.inputs, self.outputs, self._opset = graph.inputs, graph.outputs, graph.opset
        weights = {
            name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in graph.weights.items()
        }
        nodes = []
        for node in graph.nodes:
            if node.kind == "Constant":
                value = node.attributes.get("value")
                if not isinstance(value, Tensor):
                    raise UnreadOnnxError("it has a Constant that is no tensor, which is not read")
                weights[node.outputs[0]] = value.float() if value.is_floating_point() else value
            else:
                nodes.append(node)
        unknown = {node.kind for node in nodes} - OPERATORS.keys() - _LAYERS.keys()
        if unknown:
            raise UnreadOnnxError(f"it has operators that are not known here: {', '.join(sorted(unknown))}")
        self.layers, self.constants = nn.ModuleList(), nn.ModuleList()
        self._counted: dict[str, Tensor] = {}  # whole numbers: shapes and places, which stay on the CPU
        self._constant_of: dict[str, int] = {}
        self._steps: list[tuple[Node, int | None]] = []
        defined = {value.name for value in graph.inputs} | weights.keys() | {""}
        for node in nodes:
            if missing := [name for name in node.inputs if name not in defined]:
                raise OnnxError(f"its node {node.name or node.kind} reads {missing[0]}, which is nowhere")
            defined |= set(node.outputs)
            layer = _layer(node, weights, operations)
            if layer is None:
                self._keep(node, weights, operations)
                self._steps.append((node, None))
            else:
                self._steps.append((node, len(self.layers)))
                self.layers.append(layer)
        if missing := [value.name for value in graph.outputs if value.name not in defined]:
            raise OnnxError(f"its output {missing[0]} is computed nowhere")
        self._last_read = {name: place for place, (node, _) in enumerate(self._steps) for name in node.inputs}
        self.requires_grad_(False).eval()

    def check(self, *shapes: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The shapes of the outputs for inputs of some shapes; nothing is computed.

        Only for leaves of ``ops``.

        Raises:
            UnreadOnnxError: it has settings that are not known here.
            OnnxError: it makes no sense.
        """
        absent = {name: parameter.to("meta") for name, parameter in self.named_parameters()}
        try:
            outputs = functional_call(self, absent, tuple(torch.empty(shape, device="meta") for shape in shapes))
        except OnnxError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
            raise OnnxError(f"its layers do not fit one another ({type(error).__name__})") from error
        return [tuple(output.shape) for output in outputs]

    def _keep(self, node: Node, weights: dict[str, Tensor], operations: Any) -> None:
        """Hold the weights that a node without a layer reads."""
        for name in node.inputs:
            tensor = weights.get(name)
            if tensor is None or name in self._counted or name in self._constant_of:
                continue
            if tensor.is_floating_point() and tensor.numel():
                self._constant_of[name] = len(self.constants)
                self.constants.append(_filled(operations.Learned(*tensor.shape, device="meta"), weight=tensor))
            else:
                self._counted[name] = tensor

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        """Compute the outputs, in the file's order.

        Args:
            inputs: as many as ``inputs``, of these shapes.
        """
        # a CPU's convolutions are faster so; elsewhere nothing is known of it
        inputs = tuple(x.contiguous(memory_format=torch.channels_last) if _is_picture(x) else x for x in inputs)
        values: dict[str, Any] = {value.name: tensor for value, tensor in zip(self.inputs, inputs, strict=True)}
        output_names = {value.name for value in self.outputs}
        for place, (node, layer) in enumerate(self._steps):
            if layer is None:
                arguments = [self._value(name, values, inputs[0]) for name in node.inputs]
                result = OPERATORS[node.kind](node.attributes, self._opset, *arguments)
            else:
                result = self.layers[layer](values[node.inputs[0]])
            several = result if isinstance(result, (tuple, list)) else [result]
            values |= dict(zip(node.outputs, several, strict=False))  # Dropout's mask is read by nobody
            for name in node.inputs:
                if self._last_read[name] == place and name not in output_names:
                    values.pop(name, None)
        return [self._value(value.name, values, inputs[0]) for value in self.outputs]

    def _value(self, name: str, values: dict[str, Any], like: Tensor) -> Any:
        if not name:
            return None
        if name in values:
            return values[name]
        return self._counted[name] if name in self._counted else self.constants[self._constant_of[name]](like)


def _is_picture(x: Tensor) -> bool:
    return x.ndim == 4 and x.device.type == "cpu"


class _Convolution(nn.Module):
    """A convolution over pictures, padded as ONNX says."""

    def __init__(self, node: Node, weight: Tensor, bias: Tensor | None, operations: Any) -> None:
        super().__init__()
        attributes = node.attributes
        self._attributes, self._kernel = attributes, tuple(weight.shape[2:])
        groups = attributes.get("group", 1)
        pads = attributes.get("pads", [0, 0, 0, 0])
        even = attributes.get("auto_pad", "NOTSET") == "NOTSET" and pads[:2] == pads[2:]
        self._pad = not even
        conv = operations.Conv2d(
            weight.shape[1] * groups,
            weight.shape[0],
            self._kernel,
            stride=attributes.get("strides", [1, 1]),
            padding=pads[:2] if even else 0,
            dilation=attributes.get("dilations", [1, 1]),
            groups=groups,
            bias=bias is not None,
            device="meta",
        )
        self.conv = _filled(conv, weight=weight, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.pad(x, padding(self._attributes, x, self._kernel)) if self._pad else x)


class _Deconvolution(nn.Module):
    """A transposed convolution over pictures."""

    def __init__(self, node: Node, weight: Tensor, bias: Tensor | None, operations: Any) -> None:
        super().__init__()
        attributes = node.attributes
        pads = attributes.get("pads", [0, 0, 0, 0])
        if pads[:2] != pads[2:] or attributes.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in attributes:
            raise UnreadOnnxError("its ConvTranspose is padded to one side, which is not read")
        self._settings = {
            "stride": attributes.get("strides", [1, 1]),
            "padding": pads[:2],
            "output_padding": attributes.get("output_padding", [0, 0]),
            "groups": attributes.get("group", 1),
            "dilation": attributes.get("dilations", [1, 1]),
        }
        self.weight = _filled(operations.Learned(*weight.shape, device="meta"), weight=weight)
        self.bias = None if bias is None else _filled(operations.Learned(*bias.shape, device="meta"), weight=bias)

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias(x)
        return functional.conv_transpose2d(x, self.weight(x), bias, **self._settings)


def _filled(leaf: nn.Module, **state: Tensor | None) -> nn.Module:
    leaf.load_state_dict({name: tensor for name, tensor in state.items() if tensor is not None}, assign=True)
    return leaf


def _layer(node: Node, weights: dict[str, Tensor], operations: Any) -> nn.Module | None:
    """A node's layer; None where it has none: its operator has no weights of its own, or they are computed."""
    if node.kind not in _LAYERS:
        return None
    parameters = [weights.get(name) for name in node.inputs[1:] if name]
    if any(tensor is None for tensor in parameters) or not parameters:
        if node.kind in OPERATORS:
            return None
        raise UnreadOnnxError(f"its {node.kind} has weights that are computed, which is not read")
    return _LAYERS[node.kind](node, operations, *parameters)


def _convolution(node: Node, operations: Any, weight: Tensor, bias: Tensor | None = None) -> nn.Module:
    if weight.ndim != 4:
        raise UnreadOnnxError(f"its {node.kind} is over {weight.ndim - 2} dimensions; 2 are read")
    return (_Convolution if node.kind == "Conv" else _Deconvolution)(node, weight, bias, operations)


def _linear(node: Node, operations: Any, weight: Tensor, bias: Tensor | None = None) -> nn.Module | None:
    attributes = node.attributes
    if weight.ndim != 2 or attributes.get("transA"):
        return None
    weight = weight * attributes.get("alpha", 1.0)
    weight = weight if attributes.get("transB") else weight.T.contiguous()
    if bias is not None:
        bias = (bias.flatten() * attributes.get("beta", 1.0)).expand(weight.shape[0]).contiguous()
    leaf = operations.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    return _filled(leaf, weight=weight, bias=bias)


_LAYERS: dict[str, Callable[..., nn.Module | None]] = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Gemm": _linear,
    "MatMul": _linear,
}
