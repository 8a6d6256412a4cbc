"""Face models with random weights in the very form of antelopev2's files: the same operators, attributes and opsets.

The graphs are SCRFD-10G as PyTorch 1.8 exported it (opset 11), the 106-point model as MXNet did (opset 8), and
IResNet-100 as arcface_torch did (opset 11). Sources: the papers' layers, and the exporters' documented output.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """An ONNX graph under construction; a method gives the name of the value that it makes."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, array: np.ndarray) -> str:
        name = str(len(self.weights) + 1000)
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def numbers(self, *shape: int, around: float = 0.0, spread: float = 0.1) -> str:
        return self.weight((around + spread * self.random.standard_normal(shape)).astype(np.float32))

    def node(self, kind: str, *inputs: str, output: str = "", name: str = "", **attributes: object) -> str:
        output = output or f"v{len(self.nodes)}"
        name = name or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=name, **attributes))
        return output

    def constant(self, array: object, dtype: type = np.int64) -> str:
        return self.node("Constant", value=numpy_helper.from_array(np.array(array, dtype)))

    def conv(
        self, x: str, wide: int, to: int, side: int = 3, stride: int = 1, groups: int = 1, bias: bool = True
    ) -> str:
        fan = wide // groups * side * side
        weights = [self.numbers(to, wide // groups, side, side, spread=(1.6 / fan) ** 0.5)]
        weights += [self.numbers(to)] if bias else []
        around = {"dilations": [1, 1], "kernel_shape": [side, side], "pads": [side // 2] * 4, "strides": [stride] * 2}
        return self.node("Conv", x, *weights, group=groups, **around)

    def norm(self, x: str, wide: int, epsilon: float = 1e-5) -> str:
        scale, mean = self.numbers(wide, around=1.0), self.numbers(wide)
        variance = self.weight((1 + 0.2 * self.random.random(wide)).astype(np.float32))
        return self.node("BatchNormalization", x, scale, self.numbers(wide), mean, variance, epsilon=epsilon)

    def save(self, path: Path, input_spec: tuple[str, list], output_specs: list[tuple[str, list]], opset: int) -> Path:
        inputs, *outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (input_spec, *output_specs)
        ]
        graph = helper.make_graph(self.nodes, path.stem, [inputs], outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)
        onnx.checker.check_model(model)
        onnx.save(model, path)
        return path


def scrfd_10g(folder: Path) -> Path:
    """The detector: a ResNet with pooled shortcuts, a path-aggregating pyramid, one head for all levels."""
    g = Graph(1)
    x = "input.1"
    for wide, to, stride in ((3, 28, 2), (28, 28, 1), (28, 56, 1)):
        x = g.node("Relu", g.conv(x, wide, to, stride=stride))
    x = g.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])
    wide, levels = 56, []
    for stage, (blocks, to) in enumerate(((3, 56), (4, 88), (2, 88), (3, 224))):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            inner = g.conv(g.node("Relu", g.conv(x, wide, to, stride=stride)), to, to)
            if stride == 2:
                pooled = g.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0], ceil_mode=1)
                x = g.conv(pooled, wide, to, side=1)
            x, wide = g.node("Relu", g.node("Add", inner, x)), to
        levels.append((x, to))
    lateral = [g.conv(level, to, 56, side=1) for level, to in levels[1:]]
    for low, high in ((1, 2), (0, 1)):
        sides = g.node("Shape", lateral[low])
        bounds = [g.constant([bound]) for bound in (2, 4, 0)]
        target = g.node("Cast", g.node("Slice", sides, *bounds), to=TensorProto.INT64)
        all_sides = g.node("Shape", lateral[high])
        channels = g.node("Slice", all_sides, *[g.constant([bound]) for bound in (0, 2, 0)])
        sizes = g.node("Concat", channels, target, axis=0)
        nothing = g.constant(np.zeros(0), np.float32)
        how = {"coordinate_transformation_mode": "asymmetric", "mode": "nearest", "nearest_mode": "floor"}
        above = g.node("Resize", lateral[high], nothing, nothing, sizes, cubic_coeff_a=-0.75, **how)
        lateral[low] = g.node("Add", lateral[low], above)
    merged = [g.conv(level, 56, 56) for level in lateral]
    for level in (0, 1):
        merged[level + 1] = g.node("Add", merged[level + 1], g.conv(merged[level], 56, 56, stride=2))
    merged = [merged[0], *(g.conv(level, 56, 56) for level in merged[1:])]
    names = [["448", "471", "494"], ["451", "474", "497"], ["454", "477", "500"]]
    for place, level in enumerate(merged):
        for wide, to in ((56, 80), (80, 80), (80, 80)):
            level = g.node("Relu", g.conv(level, wide, to))
        for kind, numbers in enumerate((1, 4, 10)):
            prediction = g.conv(level, 80, 2 * numbers)
            if kind == 1:
                prediction = g.node("Mul", prediction, g.weight(np.array(1.3, np.float32)))
            turned = g.node("Transpose", prediction, perm=[2, 3, 0, 1])
            flat = g.node("Reshape", turned, g.constant([-1, numbers]), output="" if kind == 0 else names[kind][place])
            if kind == 0:
                g.node("Sigmoid", flat, output=names[0][place])
    outputs = [(name, [f"n{name}", numbers]) for of, numbers in zip(names, (1, 4, 10), strict=True) for name in of]
    return g.save(folder / "scrfd_10g_bnkps.onnx", ("input.1", [1, 3, "?", "?"]), outputs, 11)


def landmarks_106(folder: Path) -> Path:
    """The 106-point model: a narrow MobileNet that takes the mean off its input itself."""
    g = Graph(2)

    def step(x: str, wide: int, to: int, side: int, stride: int = 1, groups: int = 1) -> str:
        x = g.norm(g.conv(x, wide, to, side, stride, groups, bias=False), to, epsilon=1e-3)
        return g.node("PRelu", x, g.numbers(to, 1, 1, around=0.25))

    x = g.node("Sub", "data", g.weight(np.array([127.5], np.float32)), name="_minusscalar0")
    x = g.node("Mul", x, g.weight(np.array([0.0078125], np.float32)), name="_mulscalar0")
    x = step(x, 3, 16, 3, 2)
    wide = 16
    for to, stride in ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)):
        x = step(step(x, wide, wide, 3, stride, groups=wide), wide, to, 1)
        wide = to
    x = step(x, 512, 64, 3, 2)
    flat = g.node("Flatten", x, name="flatten0")
    # kept small, as the real model's points are: -1 to 1
    inner = g.numbers(212, 64 * 9, spread=0.002)
    g.node("Gemm", flat, inner, g.numbers(212, spread=0.3), output="fc1", alpha=1.0, beta=1.0, transA=0, transB=1)
    return g.save(folder / "2d106det.onnx", ("data", ["None", 3, 192, 192]), [("fc1", ["None", 212])], 9)


def iresnet100(folder: Path, units: tuple[int, ...] = (3, 13, 30, 3)) -> Path:
    """The embedder; fewer units make a smaller one."""
    g = Graph(3)

    def prelu(x: str, wide: int) -> str:
        return g.node("PRelu", x, g.numbers(wide, 1, 1, around=0.25))

    x, wide = prelu(g.conv("input.1", 3, 64), 64), 64
    for to, count in zip((64, 128, 256, 512), units, strict=True):
        for block in range(count):
            stride = 1 if block else 2
            inner = prelu(g.conv(g.norm(x, wide), wide, to), to)
            shortcut = g.conv(x, wide, to, side=1, stride=stride) if stride == 2 else x
            x, wide = g.node("Add", g.conv(inner, to, to, stride=stride), shortcut), to
    flat = g.node("Flatten", g.norm(x, 512), axis=1)
    matrix = g.numbers(512, 512 * 49, spread=0.004)
    embedding = g.node("Gemm", flat, matrix, g.numbers(512), alpha=1.0, beta=1.0, transB=1)
    scale, zeros = g.weight(np.ones(512, np.float32)), g.weight(np.zeros(512, np.float32))
    g.node("BatchNormalization", embedding, scale, g.numbers(512), zeros, scale, output="683", epsilon=1e-5)
    return g.save(folder / "glintr100.onnx", ("input.1", ["None", 3, 112, 112]), [("683", ["None", 512])], 11)


def pack(folder: Path) -> Path:
    """A whole pack in antelopev2's form, of some 280 MB."""
    folder.mkdir(parents=True, exist_ok=True)
    for make in (scrfd_10g, landmarks_106, iresnet100):
        make(folder)
    return folder
