"""What is measured of pictures is what numpy says of their embeddings; nothing drawn or not drawn is dropped."""

import json
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest

from hyperlora_core.comfy.manifest import Manifest
from hyperlora_core.evaluation.clip_scores import CONFIG, ClipScorer
from hyperlora_core.evaluation.methods import chosen
from hyperlora_core.evaluation.plan import plan, read_persons
from hyperlora_core.evaluation.protocol import EDITABLE, HEADSHOT, Prompt, Protocol
from hyperlora_core.evaluation.scoring import DONE, FAILED, MISSING, Describer, Features, Scores, rows_of, score
from hyperlora_core.evaluation.tables import COLUMNS, tables

PROMPTS = (Prompt("headshot", "a person", HEADSHOT), Prompt("hat", "a person wearing a hat", EDITABLE))
PROTOCOL = Protocol(prompts=PROMPTS, headshots=(1, 2), seeds=(1,))


def unit(numbers, *shape):
    found = numbers.normal(size=shape).astype(np.float32)
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


def features(numbers, face=True):
    return Features(unit(numbers, 48), unit(numbers, 32) if face else None, int(face))


def test_scores_are_cosines():
    numbers = np.random.default_rng(0)
    picture, without, *photos = [features(numbers) for _ in range(7)]
    given, held_out, text = photos[:3], photos[3:], unit(numbers, 48)
    found = score(picture, given, held_out, without, text)
    faces = np.stack([photo.face for photo in photos]) @ picture.face
    assert found.clip_i == pytest.approx(np.mean([photo.clip @ picture.clip for photo in given]), abs=1e-6)
    assert found.id_sim == pytest.approx(faces[:3].mean(), abs=1e-6)
    assert found.held_out == pytest.approx(faces[3:].mean(), abs=1e-6)
    assert found.copy_paste == pytest.approx(faces[:3].mean() - faces[3:].mean(), abs=1e-6)
    assert found.clip_i_edit == pytest.approx(picture.clip @ without.clip, abs=1e-6)
    assert found.clip_t == pytest.approx(picture.clip @ text, abs=1e-6) and found.face_found == 1


def test_a_picture_without_a_face_is_like_nobody():
    numbers = np.random.default_rng(0)
    found = score(features(numbers, face=False), [features(numbers)], [features(numbers)])
    assert (found.id_sim, found.held_out, found.copy_paste, found.face_found) == (0, 0, None, 0)
    assert score(features(numbers)) == Scores(face_found=1.0)


def test_the_photo_itself_is_a_perfect_copy(clip, judge, pictures):
    describer = Describer(clip, judge)
    photo, other, stranger = (describer.picture(pictures[name]) for name in ("obama", "obama2", "biden"))
    copied = score(photo, [photo], [other])
    assert copied.id_sim == pytest.approx(1, abs=1e-5) and copied.clip_i == pytest.approx(1, abs=1e-5)
    assert copied.copy_paste > 0.2
    assert score(other, [photo]).id_sim > 0.5 > score(stranger, [photo]).id_sim


def test_nothing_is_computed_twice(clip, judge, pictures, photos, tmp_path, monkeypatch):
    first = Describer(clip, judge, tmp_path).file(photos["obama"])
    monkeypatch.setattr(type(judge), "faces", lambda *_: pytest.fail("computed again"))
    again = Describer(clip, judge, tmp_path).file(photos["obama"])
    assert np.array_equal(first.clip, again.clip) and np.array_equal(first.face, again.face)
    monkeypatch.undo()
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"broken")
    assert np.array_equal(Describer(clip, judge, tmp_path).file(photos["obama"]).face, first.face)


def test_a_tower_that_is_set_otherwise_is_another(clip, judge, pictures, photos, tmp_path, clip_path):
    first = Describer(clip, judge, tmp_path / "features").file(photos["obama"])
    other = shutil.copytree(clip_path, tmp_path / clip_path.name)
    config = json.loads((other / CONFIG).read_text())
    config["model_cfg"]["quick_gelu"] = False
    (other / CONFIG).write_text(json.dumps(config))
    again = Describer(ClipScorer.load(other), judge, tmp_path / "features").file(photos["obama"])
    assert not np.allclose(first.clip, again.clip, atol=1e-4)


def test_photos_of_several_people_are_told_of(describer, photos, tmp_path, caplog):
    (tmp_path / "crowd").mkdir()
    shutil.copy(photos["group"], tmp_path / "crowd")
    shutil.copy(photos["biden"], tmp_path)
    found = plan(PROTOCOL, read_persons(tmp_path), chosen(("hyperlora-id",)))
    (said,) = describer.people(found)
    assert "several faces are on" in said and "group" in said and "biden" not in said and "shows several" in caplog.text


@pytest.fixture(scope="module")
def people(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    for person, names in (("barack", ("obama", "obama2")), ("joe", ("biden",))):
        (folder / person).mkdir()
        for name in names:
            shutil.copy(photos[name], folder / person)
    return folder


@pytest.fixture(scope="module")
def describer(clip, judge, tmp_path_factory):
    return Describer(clip, judge, tmp_path_factory.mktemp("features"))


@pytest.fixture
def drawn(people, pictures, tmp_path):
    """A plan, and a folder in which real photos stand for what it drew."""
    found = plan(PROTOCOL, read_persons(people), chosen(("hyperlora-id", "trained-lora", "none")))
    manifest = Manifest.open(tmp_path / "pictures")
    stand = {"barack": ("obama3", "obama2"), "joe": ("biden", "obama"), "none": ("astronaut", "astronaut")}
    for number, task in enumerate(found.tasks):
        name = stand.get(task.job.person, stand["none"])[number % 2]
        file = tmp_path / "pictures" / f"{number}.png"
        pictures[name].resize([side // 2 for side in pictures[name].size]).save(file)
        timing = {"cold": number % 3 == 0, "heard": True, "seconds": 2.0, "nodes": {"KSampler": 1.5, "VAEDecode": 0.5}}
        manifest.add({"job": task.key, "state": "done", "pictures": [file.name], "server": "s", "timing": timing})
    return found, manifest


@pytest.mark.long
def test_every_task_is_a_row_whatever_became_of_it(drawn, describer, tmp_path):
    found, manifest = drawn
    mine = [task for task in found.tasks if task.labels["method"] == "hyperlora-id"]
    failed, absent, gone, broken = mine[:4]
    manifest.add({"job": failed.key, "state": "failed", "error": "KSampler: out of memory"})
    del manifest.last[absent.key]
    (tmp_path / "pictures" / manifest.last[gone.key]["pictures"][0]).unlink()
    (tmp_path / "pictures" / manifest.last[broken.key]["pictures"][0]).write_bytes(b"no picture")
    rows = rows_of(found, manifest, describer)
    assert len(rows) == 6 + 6 + 2 * 3  # the baseline's pictures are compared with each person
    by_place = {(row.method, row.person, row.name, row.seed): row for row in rows}
    assert len(by_place) == len(rows)

    def row(task):
        return by_place["hyperlora-id", task.job.person, task.labels["name"], task.labels["seed"]]

    assert (row(failed).state, row(failed).error) == (FAILED, "KSampler: out of memory")
    assert (row(absent).state, row(gone).state, row(gone).error) == (MISSING, MISSING, "its picture is gone")
    assert row(broken).state == FAILED and "remove it, and it is drawn again" in row(broken).error
    assert {row(task).scores for task in (failed, absent, gone, broken)} == {Scores()}
    assert {one.state for one in rows if one.method != "hyperlora-id"} == {DONE}
    summary = next(
        one for one in tables(found, rows, "hyperlora-id", {}).summaries if one.variant.family == "hyperlora-id"
    )
    assert (summary.drawn, summary.failed, summary.missing) == (2, 2, 2)


@pytest.mark.long
def test_tables_do_not_hang_on_the_order_of_anything(drawn, describer):
    found, manifest = drawn
    rows = rows_of(found, manifest, describer)
    expected = tables(found, rows, "hyperlora-id", {})
    shuffled = random.Random(0).sample(rows, len(rows))
    again = tables(found, shuffled, "hyperlora-id", {})
    assert again == expected
    other = replace(found, tasks=tuple(random.Random(1).sample(found.tasks, len(found.tasks))))
    assert tables(found, rows_of(other, manifest, describer), "hyperlora-id", {}) == expected


@pytest.mark.long
def test_means_are_what_numpy_says_of_the_rows(drawn, describer):
    found, manifest = drawn
    rows = rows_of(found, manifest, describer)
    for summary in tables(found, rows, "hyperlora-id", {}).summaries:
        for column in COLUMNS:
            own = [row for row in rows if row.method == summary.variant.method.name and row.group in column.groups]
            by_person = [
                np.mean(
                    [
                        value
                        for row in own
                        if row.person == name and (value := getattr(row.scores, column.metric)) is not None
                    ]
                )
                for name in ("barack", "joe")
                if any(row.person == name and getattr(row.scores, column.metric) is not None for row in own)
            ]
            cell = summary.cells[column.key]
            assert (cell is None) == (not by_person)
            assert cell is None or cell.mean == pytest.approx(np.mean(by_person), abs=1e-9)
        assert summary.warm == {"sample": 1.5, "decode": 0.5, "total": 2.0}
    id_sim = {
        one.variant.family: one.cells["id_sim_headshot"].mean
        for one in tables(found, rows, "hyperlora-id", {}).summaries
    }
    assert id_sim["hyperlora-id"] > 0.5 > id_sim["none"]


def test_methods_are_compared_on_the_pictures_that_both_have(drawn, describer):
    """Without one's hard pictures a method is not better for it."""
    found, manifest = drawn
    rows = rows_of(found, manifest, describer)
    ours = [row for row in rows if row.method == "hyperlora-id"]
    twin = [replace(row, method="trained-lora") for row in ours]
    worst = min(
        (row for row in twin if row.group == HEADSHOT and row.person == "joe"), key=lambda row: row.scores.id_sim
    )
    kept = [row if row is not worst else replace(row, state=FAILED, scores=Scores()) for row in twin]
    summaries = tables(found, [*ours, *kept], "hyperlora-id", {}).summaries
    other = next(one for one in summaries if one.variant.family == "trained-lora")
    mine = next(one for one in summaries if one.variant.family == "hyperlora-id")
    assert other.cells["id_sim_headshot"].mean > mine.cells["id_sim_headshot"].mean
    assert other.against["id_sim_headshot"][0].mean == 0
