"""Faces on real photos, by real models."""

import io
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hyperlora_core import FaceAnalyzer, HyperLoRAError, open_photo
from hyperlora_core.errors import NoFaceError
from hyperlora_core.faces import ORDERS, choose_face, draw_faces, sort_faces
from hyperlora_core.faces.crops import face_box


@pytest.fixture(scope="module")
def opened(photos) -> dict[str, Image.Image]:
    return {name: open_photo(path) for name, path in photos.items()}


@pytest.fixture(scope="module")
def group(analyzer, opened):
    return analyzer.detect(opened["group"], embed=True)


def id_embedding(analyzer, photo):
    return analyzer.id_embedding(photo, choose_face(sort_faces(analyzer.detect(photo))))


def test_a_face_is_described(analyzer, opened):
    (face,) = analyzer.detect(opened["astronaut"], embed=True)
    assert face.box.shape == (4,) and face.keypoints.shape == (5, 2) and face.landmarks.shape == (106, 2)
    assert {array.dtype for array in (face.box, face.keypoints, face.landmarks, face.embedding)} == {np.dtype("f4")}
    assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-5)
    assert 0.5 < face.score <= 1
    left, top, right, bottom = face.box
    assert 150 < left < right < 300 and 40 < top < bottom < 200
    assert (np.abs(face.landmarks.mean(axis=0) - [(left + right) / 2, (top + bottom) / 2]) < 30).all()


def test_faces_are_embedded_where_it_is_asked_for_alone(analyzer, opened, monkeypatch):
    """The embedder takes longer than all else; finding six faces for one person needs it once."""
    embedded, embedding = [], analyzer.models.embedder.embedding
    monkeypatch.setattr(analyzer.models.embedder, "embedding", lambda *face: embedded.append(1) or embedding(*face))
    group = analyzer.detect(opened["group"])
    assert [face.embedding for face in group] == [None] * 6 and not embedded
    id_embedding = analyzer.id_embedding(opened["group"], group[0])
    assert len(embedded) == 1 and np.linalg.norm(id_embedding) == pytest.approx(1, abs=1e-5)


@pytest.mark.long
def test_one_person_is_nearer_to_themselves_than_to_others(analyzer, opened):
    embeddings = {name: id_embedding(analyzer, photo) for name, photo in opened.items() if name != "group"}
    same = ("obama", "obama2", "obama3")
    for own_name in same:
        for other_name, embedding in embeddings.items():
            cosine = float(embeddings[own_name] @ embedding)
            assert cosine > 0.6 if other_name in same else cosine < 0.36, (own_name, other_name)


def test_the_same_photo_gives_the_same_numbers(analyzer, opened):
    (one,), (other,) = (analyzer.detect(opened["obama"], embed=True) for _ in range(2))
    assert np.array_equal(one.embedding, other.embedding) and np.array_equal(one.landmarks, other.landmarks)


@pytest.mark.long
@pytest.mark.parametrize("name", ["astronaut", "obama", "biden"])
def test_a_face_that_fills_the_frame_is_found(analyzer, opened, name):
    photo = opened[name]
    face = choose_face(sort_faces(analyzer.detect(photo)))
    left, top, right, bottom = (round(float(value)) for value in face.box)
    tight = photo.crop((left, top, right, bottom))
    tight_face = choose_face(sort_faces(analyzer.detect(tight)))
    size = max(tight.size)
    assert np.abs(tight_face.landmarks + [left, top] - face.landmarks).mean() < 0.05 * size
    assert float(analyzer.id_embedding(tight, tight_face) @ analyzer.id_embedding(photo, face)) > 0.6


def test_a_turned_photo_is_found_upright(analyzer, photos, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(photos["obama"]) as photo:
        photo.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    upright, turned = (id_embedding(analyzer, open_photo(p)) for p in (photos["obama"], tmp_path / "turned.jpg"))
    assert float(upright @ turned) > 0.95


@pytest.mark.long
@pytest.mark.parametrize("size", [(300, 200), (1, 1), (3000, 4), (2, 900)])
def test_no_face_is_an_empty_list(analyzer, size):
    assert analyzer.detect(Image.new("RGB", size, "gray")) == []


def test_six_people_are_found_in_any_order(group):
    assert len(group) == 6
    places = [face.box[0] for face in group]
    assert sort_faces(group, "left to right")[0].box[0] == min(places)
    assert sort_faces(group, "left to right")[5].box[0] == max(places)
    assert sort_faces(group, "largest")[0].area == max(face.area for face in group)
    assert sort_faces(group, "largest")[5].area == min(face.area for face in group)
    assert sort_faces(group, "detection order") == list(group)


@pytest.mark.long
def test_best_match_is_the_person_of_the_reference(analyzer, opened, group):
    for face in group:
        cut_out = opened["group"].crop(face_box(face.landmarks, 1.3))
        assert sort_faces(group, "best match", id_embedding(analyzer, cut_out))[0] is face


@pytest.mark.long
def test_in_a_group_each_embedding_is_the_persons_own(analyzer, opened, group):
    for face in group:
        embedding = analyzer.id_embedding(opened["group"], face)
        assert sort_faces(group, "best match", embedding)[0] is face


def test_faces_that_cannot_be_chosen(group):
    with pytest.raises(NoFaceError, match="no face was found"):
        choose_face([])
    with pytest.raises(NoFaceError, match="face 6 was asked for, but only 6 found: the first is 0"):
        choose_face(group, 6)
    with pytest.raises(NoFaceError, match="face -1 was asked for"):
        choose_face(group, -1)
    with pytest.raises(HyperLoRAError, match="needs a reference"):
        sort_faces(group, "best match")
    with pytest.raises(HyperLoRAError, match=r"needs the faces' embeddings: detect\(photo, embed=True\)"):
        sort_faces([replace(face, embedding=None) for face in group], "best match", group[0].embedding)
    with pytest.raises(HyperLoRAError, match="'smallest' is unknown: one of largest, "):
        sort_faces(group, "smallest")
    assert ORDERS[0] == "largest"


def test_the_preview_marks_the_chosen_face(opened, group):
    plain, drawn = opened["group"], draw_faces(opened["group"], group, [group[1]])
    other_preview = draw_faces(opened["group"], group, [group[2]])
    assert drawn.size == plain.size and drawn.tobytes() != other_preview.tobytes()
    assert plain.tobytes() == opened["group"].tobytes()


def test_a_pack_is_loaded_once_a_process(face_pack):
    analyzers = []
    threads = [threading.Thread(target=lambda: analyzers.append(FaceAnalyzer.load(face_pack))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(analyzer) for analyzer in analyzers}) == 1


@pytest.fixture
def pack(face_pack, tmp_path):
    """A copy of the face pack that a test may spoil."""
    return shutil.copytree(face_pack, tmp_path / "antelopev2")


@pytest.mark.parametrize(
    ("name", "role"),
    [("scrfd_10g_bnkps", "a face detector"), ("2d106det", "106 landmarks"), ("glintr100", "a face embedder")],
)
def test_a_missing_model_is_named(pack, name, role):
    (pack / f"{name}.onnx").unlink()
    with pytest.raises(HyperLoRAError, match=rf"lack {role} \(antelopev2: {name}\.onnx\); found: "):
        FaceAnalyzer.load(pack)


def test_an_empty_or_missing_folder(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(HyperLoRAError, match="there are no face models in"):
            FaceAnalyzer.load(folder)


def test_a_folder_nested_in_itself_is_found(face_pack, tmp_path, opened):
    shutil.copytree(face_pack, tmp_path / "antelopev2" / "antelopev2")
    assert len(FaceAnalyzer.load(tmp_path / "antelopev2").detect(opened["astronaut"])) == 1


@pytest.mark.parametrize("content", [b"", b"<html></html>", b"version https://git-lfs.github.com/spec/v1", None])
@pytest.mark.parametrize("name", ["scrfd_10g_bnkps", "2d106det", "glintr100"])
def test_a_broken_model_is_named(pack, name, content):
    path = pack / f"{name}.onnx"
    path.write_bytes(path.read_bytes()[:-5000] if content is None else content)
    with pytest.raises(HyperLoRAError, match=rf"{name}\.onnx"):
        FaceAnalyzer.load(pack)


def test_a_model_of_another_kind_beside_them_is_passed_over(pack, opened):
    import onnx
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 7]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "other", value[:1], value[1:])
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)]), pack / "aaa.onnx")
    assert len(FaceAnalyzer.load(pack).detect(opened["astronaut"])) == 1


def test_black_and_white_photos_work(analyzer, opened):
    buffer = io.BytesIO()
    opened["obama"].convert("L").save(buffer, "PNG")
    buffer.seek(0)
    grey = Image.open(buffer).convert("RGB")
    assert float(id_embedding(analyzer, grey) @ id_embedding(analyzer, opened["obama"])) > 0.6
