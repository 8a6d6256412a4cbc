"""Who is on a picture: real photos by real face models, and IR networks as their papers compute them."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from hyperlora_core import HyperLoRAError
from hyperlora_core.evaluation.face_scores import FaceJudge, IRNetwork, read_network


def embedding(judge, picture):
    return judge.embedding(picture, judge.faces(picture)[0])


@pytest.mark.long
def test_the_same_picture_scores_one_and_one_person_above_two(judge, pictures):
    found = {name: embedding(judge, picture) for name, picture in pictures.items() if name != "group"}
    again = embedding(judge, pictures["obama"].copy())
    assert found["obama"] @ again == pytest.approx(1, abs=1e-6)
    one = [found[first] @ found[second] for first, second in (("obama", "obama2"), ("obama", "obama3"))]
    two = [found["obama"] @ found["biden"], found["obama"] @ found["astronaut"], found["biden"] @ found["astronaut"]]
    assert min(one) > 0.5 > 0.4 > max(two)


def test_the_analyzers_own_embedder_gives_the_analyzers_embeddings(judge, analyzer, pictures):
    for name in ("obama", "biden"):
        (whole,) = analyzer.detect(pictures[name], embed=True)
        assert embedding(judge, pictures[name]) @ whole.embedding > 0.9999


def test_the_largest_of_many_faces_comes_first(judge, pictures):
    areas = [face.area for face in judge.faces(pictures["group"])]
    assert len(areas) >= 5 and areas == sorted(areas, reverse=True)


def state_of(units, affine, seed=0):
    """A random IR network by the names and shapes that CurricularFace's repository has."""
    numbers = torch.Generator().manual_seed(seed)

    def normal(*shape, scale=1.0):
        return torch.randn(*shape, generator=numbers) * scale

    def norm(name, width, affine=True):
        of = {"running_mean": normal(width, scale=0.1), "running_var": torch.rand(width, generator=numbers) + 0.5}
        if affine:
            of |= {"weight": torch.rand(width, generator=numbers) + 0.5, "bias": normal(width, scale=0.1)}
        of["num_batches_tracked"] = torch.tensor(7)
        return {f"{name}.{key}": value for key, value in of.items()}

    state = {"input_layer.0.weight": normal(64, 3, 3, 3, scale=0.2), "input_layer.2.weight": torch.full((64,), 0.25)}
    state |= norm("input_layer.1", 64)
    before, number = 64, 0
    for depth, count in zip((64, 128, 256, 512), units, strict=True):
        for _ in range(count):
            block = f"body.{number}"
            if before != depth:
                state[f"{block}.shortcut_layer.0.weight"] = normal(depth, before, 1, 1, scale=before**-0.5)
                state |= norm(f"{block}.shortcut_layer.1", depth)
            state |= norm(f"{block}.res_layer.0", before)
            state[f"{block}.res_layer.1.weight"] = normal(depth, before, 3, 3, scale=0.3 * before**-0.5)
            state[f"{block}.res_layer.2.weight"] = torch.full((depth,), 0.25)
            state[f"{block}.res_layer.3.weight"] = normal(depth, depth, 3, 3, scale=0.3 * depth**-0.5)
            state |= norm(f"{block}.res_layer.4", depth)
            before, number = depth, number + 1
    state |= norm("output_layer.0", 512) | norm("output_layer.4", 512, affine)
    state |= {"output_layer.3.weight": normal(512, 25088, scale=0.01), "output_layer.3.bias": normal(512)}
    return state


def computed(state, faces):
    """The same, written down as the papers have it."""

    def norm(name, x):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return functional.batch_norm(x, mean, var, state.get(f"{name}.weight"), state.get(f"{name}.bias"))

    x = norm("input_layer.1", functional.conv2d(faces, state["input_layer.0.weight"], padding=1))
    x = functional.prelu(x, state["input_layer.2.weight"])
    for number in range(len({name.split(".")[1] for name in state if name.startswith("body")})):
        block = f"body.{number}"
        wide = state[f"{block}.res_layer.3.weight"]
        shortcut = f"{block}.shortcut_layer.0.weight"
        first = number == 0 or shortcut in state
        stride = 2 if first else 1
        kept = (
            norm(f"{block}.shortcut_layer.1", functional.conv2d(x, state[shortcut], stride=2))
            if shortcut in state
            else x[..., ::stride, ::stride]
        )
        y = functional.conv2d(norm(f"{block}.res_layer.0", x), state[f"{block}.res_layer.1.weight"], padding=1)
        y = functional.prelu(y, state[f"{block}.res_layer.2.weight"])
        x = kept + norm(f"{block}.res_layer.4", functional.conv2d(y, wide, stride=stride, padding=1))
    flat = norm("output_layer.0", x).flatten(1)
    return norm("output_layer.4", functional.linear(flat, state["output_layer.3.weight"], state["output_layer.3.bias"]))


@pytest.fixture(scope="module")
def state():
    return state_of((3, 4, 14, 3), affine=False)


@pytest.mark.long
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_an_ir_network_is_computed_as_written_down(state, ending, tmp_path):
    path = tmp_path / f"CurricularFace_Backbone{ending}"
    if ending == ".pth":
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    else:
        save_file(state, path)
    faces = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1
    expected = computed(state, faces)
    assert torch.allclose(read_network(path)(faces), expected, atol=1e-3 * float(expected.abs().max()))


def test_the_paper_s_judge_has_101_layers():
    """24 blocks of 50 layers, 49 of 101, 50 of 152; the last norm of some repositories has a scale."""
    with torch.device("meta"):
        network = IRNetwork((3, 13, 30, 3), affine=True)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes["body.48.res_layer.3.weight"] == (512, 512, 3, 3) and shapes["output_layer.4.weight"] == (512,)
    assert (
        shapes["body.3.shortcut_layer.0.weight"] == (128, 64, 1, 1) and "body.0.shortcut_layer.0.weight" not in shapes
    )
    assert shapes["output_layer.3.weight"] == (512, 25088)


def test_a_network_sees_the_aligned_face_in_rgb(state, analyzer, pictures, tmp_path):
    from insightface.utils import face_align

    path = tmp_path / "CurricularFace_Backbone.safetensors"
    save_file(state, path)
    judge = FaceJudge.load(analyzer, path)
    face = judge.faces(pictures["obama"])[0]
    aligned = face_align.norm_crop(np.asarray(pictures["obama"]), landmark=face.keypoints, image_size=112)
    pixels = torch.from_numpy(aligned.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    expected = functional.normalize(computed(state, pixels))[0].numpy()
    assert judge.embedding(pictures["obama"], face) @ expected > 0.9999
    assert judge.encoder.name.endswith("CurricularFace_Backbone.safetensors") and "flatters" not in judge.remark


def test_a_judge_that_flatters_is_said_to(analyzer, face_pack, tmp_path):
    assert "flatters" in FaceJudge.load(analyzer, None).remark  # by which HyperLoRA reads faces too
    (tmp_path / "buffalo_l").mkdir()
    path = tmp_path / "buffalo_l" / "w600k_r50.onnx"
    shutil.copy(face_pack / "glintr100.onnx", path)
    assert "flatters" in FaceJudge.load(analyzer, path).remark


def test_what_is_no_embedder_is_said(state, analyzer, face_pack, tmp_path):
    def refused(path, message):
        with pytest.raises(HyperLoRAError, match=message):
            FaceJudge.load(analyzer, path)

    refused(tmp_path / "gone.onnx", "there is no face embedder")
    refused(face_pack / "scrfd_10g_bnkps.onnx", "no face embedder in ArcFace's format")
    path = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(3)}, path)
    refused(path, "no IR network of 50, 101 or 152 layers")
    torch.save({"state": {"weight": torch.zeros(3)}}, path)
    refused(path, "no state dict")
    torch.save(IRNetwork, path)
    refused(path, "code in such files is not run")
    path.write_bytes(b"nothing")
    refused(path, "cannot be read as tensors")
    squeezed = dict(state)
    squeezed["output_layer.3.weight"] = torch.zeros(512, 512)
    torch.save(squeezed, path)
    refused(path, "an IR network of another shape")
    torch.save(state | {"body.0.res_layer.5.fc1.weight": torch.zeros(4, 64, 1, 1)}, path)
    refused(path, "no IR network of 50, 101 or 152 layers, as")
