"""ONNX models written as expressions."""

import itertools
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 13
_IR_VERSION = 8


class Nodes:
    """ONNX nodes and constants, gathered as expressions are written: each call adds a node and names its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._numbers = itertools.count()

    def constant(self, value: object, dtype: type = np.float32) -> str:
        """The name of a constant."""
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def __call__(self, kind: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        # insightface takes a model for one of mxnet's where an early node's name begins with Sub or Mul
        name = f"n{next(self._numbers)}"
        output = output or f"{name}_{kind}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=name, **attributes))
        return output


def model(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto],
) -> onnx.ModelProto:
    """A model of these nodes, checked."""
    graph = helper.make_graph(nodes, name, inputs, outputs, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(made)
    return made
