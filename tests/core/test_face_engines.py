"""The face models in torch: insightface's numbers without insightface, and what happens where torch is not enough."""

import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from hyperlora_core import FaceAnalyzer, HyperLoRAError, open_photo
from hyperlora_core.faces.onnx_file import OnnxError, UnreadOnnxError, read_graph
from hyperlora_core.faces.onnx_module import OnnxModule
from hyperlora_core.faces.warping import aligned_places, alignment, resize, warp
from tests.support import face_graphs
from tests.support.insightface_reference import least_cosine, reference

OWN_ENGINES = ("torch", "onnxruntime")
NO_REFERENCE = "insightface, which would bring another OpenCV, is in the environment of make env alone"
LINE = "pip uninstall -y onnxruntime onnxruntime-gpu onnxruntime-directml onnxruntime-rocm && pip install onnxruntime"


@pytest.fixture(scope="module")
def expected(face_pack, photos, tmp_path_factory) -> dict[str, np.ndarray]:
    pytest.importorskip("insightface", reason=NO_REFERENCE)
    return reference(face_pack, photos, tmp_path_factory.mktemp("reference") / "insightface.npz")


@pytest.mark.long
@pytest.mark.parametrize("engine", OWN_ENGINES)
def test_every_number_is_insightfaces(engine, face_pack, photos, expected):
    analyzer, faces = FaceAnalyzer.load(face_pack, engine), 0
    for name, path in photos.items():
        photo = open_photo(path)
        detected = analyzer.detect(photo, embed=True)
        assert len(detected) == len(expected[f"{name}.boxes"])
        faces += len(detected)
        for place, face in enumerate(detected):
            landmarks, embed = (expected[f"{name}.{kind}"][place] for kind in ("landmarks", "id_embeds"))
            assert np.abs(face.box - expected[f"{name}.boxes"][place]).max() < 0.1
            assert np.abs(face.keypoints - expected[f"{name}.keypoints"][place]).max() < 0.1
            assert np.abs(face.landmarks - landmarks).max() < 0.1
            assert float(face.embedding @ expected[f"{name}.embeddings"][place]) > 0.9999
            assert float(analyzer.id_embedding(photo, face) @ embed) > least_cosine(landmarks)
            with_their_landmarks = replace(face, landmarks=landmarks)
            assert float(analyzer.id_embedding(photo, with_their_landmarks) @ embed) > 0.9999
    assert faces == 11


def test_insightface_itself_can_be_chosen(face_pack, photos):
    pytest.importorskip("insightface", reason=NO_REFERENCE)
    theirs, ours = FaceAnalyzer.load(face_pack, "insightface"), FaceAnalyzer.load(face_pack, "torch")
    assert (theirs.runs_on, ours.runs_on) == ("insightface on CPU", "torch on cpu")
    photo = open_photo(photos["obama"])
    (one,), (other,) = theirs.detect(photo), ours.detect(photo)
    assert np.abs(one.box - other.box).max() < 0.1 and np.abs(one.landmarks - other.landmarks).max() < 0.1


def test_pictures_are_cut_and_resized_as_opencv_does(photos):
    assert int(cv2.__version__.partition(".")[0]) < 5
    numbers, photo = np.random.default_rng(0), np.array(open_photo(photos["obama"]))
    for size in ((640, 800), (455, 568), (100, 1500), (256, 64), (911, 1137)):
        assert np.array_equal(resize(photo, *size), cv2.resize(photo, size)), size
    halved = photo[:1136, :910]
    assert np.array_equal(resize(halved, 455, 568), cv2.resize(halved, (455, 568)))
    for scale in (0.5, 2, 5):
        for shift in (-60, 300):
            matrix = alignment(aligned_places() * scale + numbers.normal(0, 4, (5, 2)) + shift)
            assert np.array_equal(warp(photo, matrix, 112), cv2.warpAffine(photo, matrix, (112, 112))), (scale, shift)


@pytest.mark.long
@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (face_graphs.scrfd_10g, [(1, 3, 640, 640), (1, 3, 256, 384)]),
        (face_graphs.landmarks_106, [(1, 3, 192, 192)]),
        (lambda folder: face_graphs.iresnet100(folder, (2, 2, 2, 2)), [(1, 3, 112, 112)]),
    ],
    ids=["detector", "landmarks", "embedder"],
)
def test_models_in_the_form_of_antelopev2s_are_computed_as_onnxruntime_does(make, shapes, tmp_path):
    path = make(tmp_path)
    module, session = OnnxModule(read_graph(path)), onnxruntime.InferenceSession(str(path))
    for shape in shapes:
        pixels = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        theirs = session.run(None, {session.get_inputs()[0].name: pixels.numpy()})
        ours = module(pixels)
        assert [tuple(output.shape) for output in ours] == [output.shape for output in theirs] == module.check(shape)
        for our_output, their_output in zip(ours, theirs, strict=True):
            assert np.abs(our_output.numpy() - their_output).max() < 1e-4 * np.abs(their_output).max()


@pytest.mark.long
def test_a_pack_in_the_form_of_antelopev2_is_opened_by_torch_alone(tmp_path, photos):
    pytest.importorskip("insightface", reason=NO_REFERENCE)
    face_graphs.scrfd_10g(tmp_path)
    face_graphs.landmarks_106(tmp_path)
    face_graphs.iresnet100(tmp_path, (1, 1, 1, 1))
    analyzers = [FaceAnalyzer.load(tmp_path, engine) for engine in ("auto", "onnxruntime", "insightface")]
    assert analyzers[0].runs_on == "torch on cpu"
    photo = np.asarray(open_photo(photos["obama"]))
    box, points = np.array([200, 300, 500, 700], np.float32), aligned_places() * 3 + [200, 300]
    landmarks = [analyzer.models.landmarker.landmarks(photo, box) for analyzer in analyzers]
    embeddings = [analyzer.models.embedder.embedding(photo, points.astype(np.float32)) for analyzer in analyzers]
    boxes = [analyzer.models.detector.detect(photo, 640, 640)[0] for analyzer in analyzers]
    assert np.abs(landmarks[0] - landmarks[1]).max() < 0.01 and np.abs(landmarks[0] - landmarks[2]).max() < 0.1
    assert embeddings[0] @ embeddings[1] > 0.99999
    assert embeddings[0] @ embeddings[2] > 0.9999
    assert len(boxes[0]) == len(boxes[2]) > 0
    assert np.median(np.abs(boxes[0] - boxes[2]).max(1)) < 0.1  # some of random numbers change places


def with_node(pack, name: str, kind: str, **attributes) -> None:
    """Put a node before a model's input."""
    model = onnx.load(pack / f"{name}.onnx")
    input_name = model.graph.input[0].name
    for node in model.graph.node:
        for i, value in enumerate(node.input):
            if value == input_name:
                node.input[i] = "before"
    model.graph.node.insert(0, helper.make_node(kind, [input_name], ["before"], **attributes))
    onnx.save(model, pack / f"{name}.onnx")


@pytest.fixture
def odd_pack(face_pack, tmp_path):
    """A pack whose embedder has an operator that torch's way does not know."""
    import shutil

    pack = shutil.copytree(face_pack, tmp_path / "odd")
    with_node(pack, "glintr100", "Softsign")
    return pack


def test_what_torch_does_not_know_onnxruntime_runs(odd_pack, photos):
    analyzer = FaceAnalyzer.load(odd_pack)
    assert analyzer.runs_on == "torch and onnxruntime on cpu and CPU"
    (face,) = analyzer.detect(open_photo(photos["obama"]), embed=True)
    assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-5)
    with pytest.raises(
        HyperLoRAError, match=r"torch cannot run the face model .*glintr100\.onnx, .*: Softsign: choose"
    ):
        FaceAnalyzer.load(odd_pack, "torch")


def python(code: str, *paths) -> str:
    setup = f"import sys; sys.path[:0] = {[str(path) for path in paths]!r}\n"
    result = subprocess.run([sys.executable, "-c", setup + code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


LOAD = """
from hyperlora_core import FaceAnalyzer, open_photo
from hyperlora_core.errors import MissingPackageError
try:
    print(len(FaceAnalyzer.load({pack!r}, {engine!r}).detect(open_photo({photo!r}), embed=True)))
except MissingPackageError as error:
    print(error)
print([name for name in {packages!r} if sys.modules.get(name)])
"""
PACKAGES = ("insightface", "onnxruntime", "onnx", "google.protobuf", "cv2", "skimage", "scipy")


def load(pack, photos, engine: str, *paths, before: str = "") -> str:
    code = LOAD.format(pack=str(pack), engine=engine, photo=str(photos["obama"]), packages=PACKAGES)
    return python(before + code, *paths)


@pytest.mark.long
def test_faces_are_found_where_none_of_the_packages_is(face_pack, photos, request):
    absent = "".join(f"sys.modules[{name!r}] = None\n" for name in PACKAGES)
    assert load(face_pack, photos, "auto", request.config.rootpath, before=absent) == "1\n[]\n"


@pytest.mark.long
def test_a_missing_engine_is_named_with_its_line(face_pack, odd_pack, photos, request):
    root = request.config.rootpath
    missing = load(face_pack, photos, "onnxruntime", root, before="sys.modules['onnxruntime'] = None\n")
    assert "onnxruntime was chosen to find faces, and cannot be imported" in missing and LINE in missing
    needed = load(odd_pack, photos, "auto", root, before="sys.modules['onnxruntime'] = None\n")
    assert "it has operators that are not known here: Softsign" in needed and LINE in needed
    without = load(face_pack, photos, "insightface", root, before="sys.modules['insightface'] = None\n")
    assert "insightface was chosen to find faces" in without and "pip install insightface" in without


@pytest.mark.long
@pytest.mark.parametrize("engine", ["onnxruntime", pytest.param("insightface", marks=pytest.mark.slow)])
def test_an_onnxruntime_that_was_half_removed_is_named(engine, face_pack, photos, tmp_path, request):
    (tmp_path / "onnxruntime" / "capi").mkdir(
        parents=True
    )  # what `pip uninstall onnxruntime` beside another build leaves
    info = tmp_path / "onnxruntime_gpu-1.20.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.20\n")
    hidden = f"""
import importlib.machinery, importlib.util
spec = importlib.machinery.ModuleSpec("onnxruntime", None, is_package=True)
spec.submodule_search_locations = [{str(tmp_path / "onnxruntime")!r}]
sys.modules["onnxruntime"] = importlib.util.module_from_spec(spec)
"""
    output = load(face_pack, photos, engine, request.config.rootpath, tmp_path, before=hidden)
    assert "onnxruntime is half installed" in output and "onnxruntime-gpu 1.20" in output and LINE in output
    assert load(face_pack, photos, "auto", request.config.rootpath, tmp_path, before=hidden).startswith("1\n")


def test_an_engine_that_there_is_not(face_pack):
    with pytest.raises(HyperLoRAError, match="the face engine 'TensorRT' is unknown: one of auto, torch, "):
        FaceAnalyzer.load(face_pack, "TensorRT")


def saved(path, *nodes: onnx.NodeProto, opset: int = 13, shape=(1, 3, 8, 8)) -> None:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph(list(nodes), "small", value[:1], value[1:])
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)]), path)


def test_a_way_that_is_not_known_is_seen_when_a_model_is_opened(tmp_path):
    saved(tmp_path / "pad.onnx", helper.make_node("Pad", ["x"], ["y"], mode="reflect", pads=[0] * 8), opset=10)
    with pytest.raises(UnreadOnnxError, match="its Pad is of the mode reflect"):
        OnnxModule(read_graph(tmp_path / "pad.onnx")).check((1, 3, 8, 8))


@pytest.mark.long
@pytest.mark.parametrize("model", ["scrfd_10g_bnkps", "2d106det", "glintr100"])
def test_changed_bytes_are_told_or_do_no_harm(model, face_pack, tmp_path):
    """Each fault opens, or is an error of the file: never another exception, never a crash."""
    content, refused = (face_pack / f"{model}.onnx").read_bytes(), 0
    numbers = np.random.default_rng(0)
    path = tmp_path / "model.onnx"
    for fault in range(60):
        data = bytearray(content)
        if fault % 3 == 0:
            del data[numbers.integers(len(data)) :]
        else:
            for place in numbers.integers(0, min(len(data), 20_000) if fault % 3 == 1 else len(data), 8):
                data[place] = numbers.integers(256)
        path.write_bytes(data)
        try:
            module = OnnxModule(read_graph(path))
            sides = [side or 64 for side in module.inputs[0].shape]
            if max(sides) <= 640:
                module.check(tuple(sides))
        except OnnxError:
            refused += 1
    assert refused > 20
