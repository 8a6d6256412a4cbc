"""``hyperlora prepare`` as a user runs it, on Ray."""

import json
import shutil

import numpy as np
import pytest

from hyperlora_core import HyperLoRAError
from hyperlora_core.cli import main
from hyperlora_core.data.engine import Cluster, Engine
from hyperlora_core.data.shards import Shards
from hyperlora_core.data.work import Work
from tests.data.album import EXPECTED, counts, shard
from tests.data.captioning import EndsWhileMade
from tests.data.runs import files, prepare

MORE = ("--person-folders", "--unit-size", "5", "--workers", "2")


@pytest.fixture(scope="module")
def prepared(ray_session, album, face_pack, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "set"
    assert prepare(album, out, face_pack, *MORE) == 0
    return out


@pytest.mark.long
def test_exactly_what_has_to_be_is_kept_and_the_rest_is_counted(prepared):
    read = Shards(prepared)
    kept = [name for name, reason in EXPECTED.items() if not reason]
    assert [read[place].source["path"] for place in range(len(read))] == kept
    assert read.info.settings["counts"] == counts()
    assert read.people == 2 and [len(read.photos_of(place)) for place in range(4)] == [1, 3, 3, 3]
    assert read.info.settings["licences"] == {"(none)": 3, "CC0": 1}


@pytest.mark.long
def test_what_is_stored_is_what_inference_finds_in_it(prepared, analyzer):
    read = Shards(prepared)
    for sample in map(read.__getitem__, range(len(read))):
        photo = sample.photo()
        assert photo.size == (sample.width, sample.height) and np.linalg.norm(sample.embed) == pytest.approx(
            1, abs=1e-5
        )
        assert (sample.landmarks > 0).all() and (sample.landmarks < photo.size).all()
        (face,) = analyzer.detect(photo)
        assert np.abs(face.box - sample.box).max() < 0.01
        assert np.array_equal(analyzer.id_embedding(photo, face), sample.embed)
        assert sample.box[0] < sample.landmarks[:, 0].mean() < sample.box[2]
        assert max(map(abs, sample.pose)) < 45


def test_the_report_needs_nothing_else_and_says_the_counts(prepared):
    page = (prepared / "report.html").read_text()
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page and 'src="data:' in page
    for reason, count in counts().items():
        assert f">{reason}</b>" in page if reason else f">{count}</td>" in page
    assert "biden" not in page  # whom it shows is no matter of the report's


def test_the_same_command_again_has_nothing_to_do(prepared, album, face_pack, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in prepared.glob("*.tar")}
    monkeypatch.setattr(Engine, "begin", lambda self: pytest.fail("nothing is left to do"))
    was = files(prepared)
    assert prepare(album, prepared, face_pack, *MORE) == 0
    assert files(prepared) == was and {path: path.stat().st_mtime_ns for path in prepared.glob("*.tar")} == before


@pytest.mark.slow
def test_a_shard_and_a_folder_are_one_set_and_give_up_whom_they_share(ray_session, photos, face_pack, tmp_path):
    """What is in both stays as the first source has it; what has no licence is left out where one is needed."""
    notes = json.dumps({"url": "https://example.org/1", "license": "CC-BY", "person": "barack"}).encode()
    members = {"1.jpg": photos["obama"].read_bytes(), "1.json": notes, "1.txt": b"a man before flags"}
    members |= {"2.jpg": photos["biden"].read_bytes(), "3.jpg": photos["obama3"].read_bytes(), "3.json": notes}
    source, folder, out = shard(tmp_path / "a.tar", members), tmp_path / "folder", tmp_path / "set"
    folder.mkdir()
    for name, note in (("obama", '{"licence": "CC0"}'), ("obama2", '{"licence": "CC0"}'), ("biden", "{}")):
        shutil.copy(photos[name], folder / f"{name}.jpg")
        (folder / f"{name}.json").write_text(note)
    more = ("--need-licence", "--min-face", "200", "--workers", "2")
    line = [
        "prepare",
        str(source),
        str(folder),
        "--out",
        str(out),
        "--faces",
        str(face_pack),
        *more,
    ]
    assert main(line) == 0
    read = Shards(out)
    told = [
        (each.source["path"], each.source["licence"], each.caption, each.person)
        for each in map(read.__getitem__, range(3))
    ]
    assert told == [
        ("a.tar/1", "CC-BY", "a man before flags", "barack"),
        ("a.tar/3", "CC-BY", "", "barack"),
        ("obama2.jpg", "CC0", "", None),
    ]
    assert len(read) == 3 and read.info.settings["counts"] == {"": 3, "no licence": 2, "duplicate": 1}
    (tmp_path / "drop.txt").write_text("a.tar/1\n")
    assert main([*line, "--drop-list", str(tmp_path / "drop.txt")]) == 0
    read = Shards(out)
    assert [read[place].source["path"] for place in range(len(read))] == ["a.tar/3", "obama2.jpg"]
    assert read.info.settings["counts"] == {"": 2, "no licence": 2, "withdrawn": 2}  # the folder's copy with it


@pytest.mark.long
@pytest.mark.parametrize(
    ("other", "named"),
    [
        (("--min-face", "99"), "limits"),
        (("--duplicate-bits", "3"), "duplicates"),
        (("--licence", "CC0"), "licence"),
        (("--captioner", "tests.data.captioning:sizes"), "captioner"),
        (("--unit-size", "6"), "unit_size"),
    ],
)
def test_a_set_of_other_settings_is_refused_by_name(other, named, prepared, album, face_pack, caplog):
    was = files(prepared)
    assert prepare(album, prepared, face_pack, *MORE, *other) == 1
    assert f"was begun with {named} " in caplog.text and files(prepared) == was


def test_another_source_is_refused(prepared, tmp_path, photos, face_pack, caplog):
    assert prepare(photos["obama"].parent, prepared, face_pack, *MORE) == 1
    assert "was begun with sources" in caplog.text


def test_two_at_a_time_are_refused(prepared, album, face_pack, caplog):
    settings = json.loads((prepared / "prepare" / "settings.json").read_text())
    with Work(prepared).opened(settings):
        assert prepare(album, prepared, face_pack, *MORE) == 1
    assert "another hyperlora prepare is at work" in caplog.text


def test_what_cannot_be_is_said_before_all_work(tmp_path, album, face_pack, caplog):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    cases = [
        (tmp_path / "gone", tmp_path / "out", (), "there is no source"),
        (tmp_path / "empty", tmp_path / "out", (), "there are no pictures and no shards"),
        (album, tmp_path / "file" / "out", (), "cannot be written"),
        (album, tmp_path / "full", (), "holds something else"),
        (album, tmp_path / "out2", ("--drop-list", str(tmp_path / "gone")), "drop list"),
        (album, tmp_path / "out2", ("--captioner", "gone:function"), "captioner"),
        (
            album,
            tmp_path / "out2",
            ("--caption-device", "cuda"),
            "--caption-device is where a captioner computes",
        ),
        (
            album,
            tmp_path / "out2",
            ("--captioner", "tests.data.captioning:sizes", "--caption-device", "cuda"),
            "--caption-device cuda needs --gpus",
        ),
        (
            album,
            tmp_path / "out2",
            ("--captioner", "tests.data.captioning:sizes", "--caption-device", "gone"),
            "--caption-device gone cannot be used here",
        ),
        (album, tmp_path / "out2", ("--duplicate-bits", "20"), "20 bits"),
        (album, tmp_path / "out2", ("--unit-size", "0"), "unit-size"),
        (album, tmp_path / "out2", ("--recaption",), "name what writes them with --captioner"),
        (album, tmp_path / "out2", ("--min-score", "60"), "the limit min_score is 60"),
        (album, album / "out", (), "would lie in the source"),
        (album, tmp_path / "out2", ("--workers", "-1"), "-1 workers"),
    ]
    for source, out, more, message in cases:
        assert prepare(source, out, face_pack, *more) == 1
        assert message in caplog.text, caplog.text
        caplog.clear()
    assert prepare(album, tmp_path / "out3", tmp_path / "empty") == 1 and "face models" in caplog.text


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "no.such.host.invalid:6379", "host:port"])
def test_a_cluster_that_is_not_there_is_named_at_once(address):
    with pytest.raises(HyperLoRAError, match=f"no Ray cluster answers at {address}"):
        Engine(Cluster(address=address))._connect()


@pytest.mark.slow
def test_what_a_worker_cannot_do_is_said_in_a_word(ray_session, album, face_pack, tmp_path, caplog):
    more = (*MORE, "--captioner", "tests.data.captioning:fails", "--recaption")
    assert prepare(album, tmp_path / "set", face_pack, *more) == 1
    (said,) = [record.message for record in caplog.records if record.message.startswith("hyperlora: ")]
    assert "failed on biden/biden.jpg (ZeroDivisionError: of the captioner), and on whatever" in said
    assert "Traceback" not in said and len(said) < 300


@pytest.mark.slow
def test_workers_that_end_while_they_are_made_end_it_all(ray_session):
    with (
        Engine(Cluster(workers=1)) as engine,
        pytest.raises(HyperLoRAError, match="ended 3 times while it loaded its models"),
    ):
        list(engine.each(EndsWhileMade, {}, [{"unit": 0}, {"unit": 1}]))


@pytest.mark.slow
def test_nothing_accepted_is_said_with_the_reasons(ray_session, tmp_path, face_pack, caplog):
    source = tmp_path / "source"
    source.mkdir()
    for number in range(3):
        (source / f"{number}.jpg").write_bytes(b"rubbish")
    assert prepare(source, tmp_path / "set", face_pack, "--workers", "1") == 1
    assert "none of 3 pictures is accepted" in caplog.text and (tmp_path / "set" / "report.html").is_file()
    assert not (tmp_path / "set" / "dataset.json").exists()


def test_workers_are_as_many_as_cores_where_nothing_is_said():
    assert Cluster().processes >= 1 and Cluster(workers=3).processes == 3
