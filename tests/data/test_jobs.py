"""What workers do, one after the other: units, captions, pictures that end a process, pictures that are withdrawn."""

import hashlib
import json
import shutil
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from hyperlora_core import FaceAnalyzer, HyperLoRAError
from hyperlora_core.data import captioners, rows
from hyperlora_core.data.jobs import (
    CaptionConfig,
    CheckConfig,
    CheckResult,
    CheckTask,
    CheckUnit,
    FinishTask,
    FinishUnit,
)
from hyperlora_core.data.sample_ids import sample_id
from hyperlora_core.data.shards import read_shard
from hyperlora_core.data.sources import Unit
from hyperlora_core.data.tries import Tries
from hyperlora_core.data.withdrawal import read_drop_list, withdraw
from hyperlora_core.data.work import Work
from tests.data.blip import WORDS, random_blip2

FILES = ("biden/biden.jpg", "obama/cut.jpg", "obama/obama.jpg", "obama/obama2.jpg", "obama/obama3.jpg")


def check(work: Work, face_pack, run_id: str = "a run") -> CheckResult:
    config = CheckConfig(str(face_pack), FaceAnalyzer.load(face_pack).content, person_folders=True)
    return CheckUnit(str(work.out), config, run_id)(CheckTask(0))


def finish(work: Work, omit=(), withdrawn=(), captioner="", recaption=False, batch=2) -> list:
    config = CaptionConfig(captioner, captioners.located(captioner), batch=batch, recaption=recaption)
    FinishUnit(str(work.out), config, "a run")(FinishTask(0, tuple(omit), tuple(withdrawn)))
    return list(read_shard(work.shard(0))) if work.shard(0).exists() else []


@pytest.fixture(scope="module")
def checked_once(album, face_pack, tmp_path_factory) -> Work:
    work = Work(tmp_path_factory.mktemp("checked"))
    with work.opened({}):
        work.unit(0).write_text(Unit(str(album), files=FILES).to_json())
        work.plan.write_text('{"units": 1}')
        assert check(work, face_pack) == CheckResult(unit=0, pictures=5, accepted=4)
    return work


@pytest.fixture
def work(checked_once, tmp_path) -> Work:
    return Work(shutil.copytree(checked_once.out, tmp_path / "set"))


@pytest.mark.long
def test_a_unit_is_checked_and_finished(work):
    account = rows.read(work.checked(0, ".parquet"), ["name", "reason", "row", "person"])
    assert account["name"] == list(FILES) and account["row"] == [0, -1, 1, 2, 3]
    assert account["reason"] == ["", "broken picture", "", "", ""] and account["person"][0] == "biden"
    samples = finish(work, omit=[2])
    assert [sample.key for sample in samples] == ["000000-000000", "000000-000001", "000000-000003"]
    assert [sample.caption for sample in samples] == ["a man in a dark suit", "", ""]
    assert not list((work.folder / "checked").glob("*.tar")) and not list((work.folder / "tries").iterdir())
    note = json.loads(work.finished(0).read_text())
    assert note["samples"] == 3 and note["omit"] == [2] and list(note["thumbs"]) == ["2"]


def test_a_unit_is_finished_again_with_less(work):
    finish(work, omit=[2])
    samples = finish(work, omit=[0, 2], withdrawn=[0, 2])
    assert [sample.key for sample in samples] == ["000000-000001", "000000-000003"]
    assert json.loads(work.finished(0).read_text())["thumbs"] == {}
    assert finish(work, omit=[0, 1, 2, 3], withdrawn=[0, 1, 2, 3]) == []
    assert not work.shard(0).exists() and not work.shard(0).with_suffix(".json").exists()


def test_a_function_writes_the_captions_that_are_missing(work):
    captions = [sample.caption for sample in finish(work, captioner="tests.data.captioning:sizes")]
    written = ["a picture of 910 by 1137", "a picture of 626 by 1200", "a picture of 1434 by 2333"]
    assert captions == ["a man in a dark suit", *written]


def test_captions_can_be_written_anew(work):
    first, *_ = finish(work, captioner="tests.data.captioning:sizes", recaption=True, batch=3)
    assert first.caption == "a picture of 970 by 2204"
    assert first.source["caption_by"] == "tests.data.captioning:sizes" and first.source["licence"] == "CC0"


@pytest.mark.parametrize(
    ("name", "message"),
    [("fails", r"failed on biden/biden\.jpg.*ZeroDivisionError"), ("too_few", "gave 1 captions for 2 pictures")],
)
def test_a_captioner_that_fails_ends_the_run_and_nothing_is_lost(name, message, work):
    with pytest.raises(HyperLoRAError, match=message):
        finish(work, captioner=f"tests.data.captioning:{name}", recaption=True)
    assert len(finish(work, captioner="tests.data.captioning:sizes")) == 4


def test_other_face_models_on_one_machine_are_refused(work, face_pack):
    with pytest.raises(HyperLoRAError, match="are others than where the run was begun"):
        CheckUnit(str(work.out), CheckConfig(str(face_pack), ("another",)), "a run")


def test_a_caption_is_not_replaced_by_nothing(work):
    first, *_ = finish(work, captioner="tests.data.captioning:says_nothing", recaption=True)
    assert first.caption == "a man in a dark suit" and "caption_by" not in first.source


def test_pictures_are_not_blamed_for_too_little_memory(work):
    for place in range(21):
        Tries(work.tries("check", 0), "a run").at(place)
    with pytest.raises(HyperLoRAError, match=r"ended 20 times in one unit .*fewer --workers"):
        Tries(work.tries("check", 0), "a run")


def test_a_note_is_written_in_place_and_is_whole(work):
    tries = Tries(work.tries("check", 0), "a run")
    for place in ("reading 123456", 7):
        tries.at(place)
    assert json.loads(work.tries("check", 0).read_text())["at"] == "7"
    assert len(list((work.folder / "tries").iterdir())) == 1
    tries.close()
    assert not list((work.folder / "tries").iterdir())


@pytest.mark.parametrize("batch", [1, 4])
def test_a_picture_that_the_captioner_fails_on_is_passed_over_and_counted(batch, work):
    samples = finish(work, captioner="tests.data.captioning:fails_on_one", recaption=True, batch=batch)
    assert [sample.source["path"] for sample in samples] == [FILES[0], *FILES[3:]]
    assert all(sample.caption.startswith("a picture of") for sample in samples)
    assert json.loads(work.finished(0).read_text())["crashed"] == [1]


def test_a_model_of_transformers_writes_captions(work, tmp_path, monkeypatch):
    """A BLIP-2 by its classes and files; its weights are random, and so are its words."""
    folder = str(random_blip2(tmp_path / "blip2"))
    captioners.check(folder)
    monkeypatch.chdir(tmp_path)
    assert captioners.located("blip2") == folder and captioners.located("hub/name") == "hub/name"
    samples = finish(work, captioner=folder, recaption=True, batch=3)
    assert len(samples) == 4
    for sample in samples:
        assert sample.caption and set(sample.caption.split()) <= {*WORDS} and sample.source["caption_by"] == folder


@pytest.mark.parametrize("name", ["no.such.module:function", "tests.data.captioning:nothing", "os:sep", "/no/such"])
def test_a_captioner_that_is_not_there_is_named_before_all_work(name):
    with pytest.raises(HyperLoRAError, match="captioner"):
        captioners.check(name)


def test_a_model_that_makes_no_text_of_pictures_is_no_captioner(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(HyperLoRAError, match=r"cannot be used .it is a Bert.: give the folder of a model"):
        captioners.check(str(tmp_path))


def test_a_picture_that_ends_the_process_twice_is_passed_over(work, face_pack):
    """What a worker leaves behind that was killed at the third picture."""
    for _ in range(2):
        Tries(work.tries("check", 0), "a run").at(2)
    assert check(work, face_pack, "a run").accepted == 3
    assert rows.read(work.checked(0, ".parquet"), ["reason"])["reason"][2] == "crashed"


@pytest.mark.long
@pytest.mark.parametrize("of", ["files", "shard"])
def test_a_picture_that_ends_the_process_while_it_is_read_is_passed_over(of, work, album, face_pack, tmp_path):
    if of == "shard":
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            for file in FILES:
                tar.add(album / file, file)
        work.unit(0).write_text(Unit(str(tmp_path), shard=str(tmp_path / "a.tar")).to_json())
    for _ in range(2):
        Tries(work.tries("check", 0), "a run").at("reading 3")
    assert check(work, face_pack, "a run").accepted == {"files": 3, "shard": 2}[of]
    reasons = rows.read(work.checked(0, ".parquet"), ["reason"])["reason"]
    after = {"files": ["crashed", ""], "shard": ["broken shard"]}  # nothing is known of what lies behind it
    assert reasons == ["", "broken picture", "", *after[of]]


@pytest.mark.parametrize("at", [[2], [2, 3], [2, 3, 2, 1]])
def test_a_kill_of_the_whole_run_and_single_crashes_blame_no_picture(at, work):
    for place in at:
        Tries(work.tries("check", 0), "a run").at(place)
    note = work.tries("check", 0).read_bytes()
    again = Tries(work.tries("check", 0), "a run")
    assert again.again and [place for place in range(5) if again.is_over(place)] == ([2] if at.count(2) > 1 else [])
    work.tries("check", 0).write_bytes(note)
    in_another_run = Tries(work.tries("check", 0), "another run")
    assert not in_another_run.again and not any(map(in_another_run.is_over, range(5)))


@pytest.mark.long
def test_a_unit_that_a_killed_run_was_at_is_checked_whole(work, face_pack):
    for _ in range(2):
        Tries(work.tries("check", 0), "a run").at(2)
    assert check(work, face_pack, "another run").accepted == 4


def test_who_is_withdrawn_leaves_no_trace(work, tmp_path):
    """By person; and a duplicate goes with what it is a duplicate of, though it is called otherwise."""
    ids = np.array([sample_id(0, row) for row in range(4)])
    (tmp_path / "drop.txt").write_text("# who asked\nobama/obama2.jpg\n\n  biden  \nnobody\n")
    dropped = read_drop_list(tmp_path / "drop.txt")
    assert dropped == {"obama/obama2.jpg", "biden", "nobody"}
    withdrawn = withdraw(work, dropped, ids[3:], ids[2:3])  # obama3 is taken for a duplicate of obama2
    assert withdrawn == ids[[0, 2, 3]].tolist()
    assert withdraw(work, frozenset(), ids[3:], ids[2:3]) == withdrawn
    assert [sample.source["path"] for sample in finish(work, [0, 2, 3], [0, 2, 3])] == ["obama/obama.jpg"]
    account = rows.read(work.checked(0, ".parquet"), [*rows.PERSONAL, "width"])
    assert account["name"] == [None, "obama/cut.jpg", "obama/obama.jpg", None, None]
    assert all(account[name][place] in (None, 0) for name in account for place in (0, 3, 4))
    for path in work.out.rglob("*"):
        assert path.is_dir() or not any(word in path.read_bytes() for word in (b"biden", b"obama2", b"obama3")), path


def test_a_duplicate_of_somebody_withdrawn_leaves_no_thumbnail(work):
    """The unit is written anew though nothing in its shard changes."""
    assert len(finish(work, omit=[2])) == 3 and "2" in json.loads(work.finished(0).read_text())["thumbs"]
    assert len(finish(work, omit=[2], withdrawn=[2])) == 3
    assert json.loads(work.finished(0).read_text())["thumbs"] == {}


def test_a_unit_that_has_nothing_left_can_be_finished_again(work, monkeypatch):
    for _ in range(2):
        assert finish(work, omit=range(4), withdrawn=range(4)) == []
    assert not work.shard(0).exists() and json.loads(work.finished(0).read_text())["samples"] == 0


def test_a_unit_that_was_killed_while_it_was_emptied_can_be_finished(work, monkeypatch):
    finish(work)

    def killed(path, text):
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr("hyperlora_core.data.jobs.atomic.write_text", killed)
        with pytest.raises(SystemExit):
            finish(work, omit=range(4), withdrawn=range(4))
    assert finish(work, omit=range(4), withdrawn=range(4)) == []


def test_all_that_shows_the_same_is_withdrawn(work):
    """Each is paired with the next alone."""
    ids = np.array([sample_id(0, row) for row in range(4)])
    assert withdraw(work, frozenset(["000000-000002"]), ids[1:3], ids[:2]) == ids[:3].tolist()


@pytest.mark.long
def test_a_copy_that_was_rejected_goes_with_its_file(work, album, face_pack, tmp_path):
    source = shutil.copytree(album, tmp_path / "album")
    shutil.copy(source / "obama" / "cut.jpg", source / "obama" / "cut again.jpg")
    shutil.copy(source / "obama" / "obama.jpg", source / "obama" / "same.jpg")
    files = (*FILES, "obama/cut again.jpg", "obama/same.jpg")
    work.unit(0).write_text(Unit(str(source), files=files).to_json())
    check(work, face_pack)
    withdraw(work, frozenset({"obama/cut.jpg", "obama/same.jpg"}), *np.zeros((2, 0), np.int64))
    names = rows.read(work.checked(0, ".parquet"), ["name"])["name"]
    assert names == [FILES[0], None, None, *FILES[3:], None, None]


def test_a_hash_and_a_path_are_known_however_they_are_written(work, album, tmp_path, caplog):
    digest = hashlib.sha256((album / FILES[0]).read_bytes()).hexdigest().upper()
    (tmp_path / "drop.txt").write_text(f"{digest}\n./{FILES[2]}\nnobody\n")
    withdrawn = withdraw(work, read_drop_list(tmp_path / "drop.txt"), *np.zeros((2, 0), np.int64))
    assert withdrawn == [sample_id(0, 0), sample_id(0, 1)]
    assert "names nobody, which nothing in the set is called: NOTHING is taken out for it" in caplog.text


def test_accents_are_the_same_however_they_are_written(work, tmp_path):
    (tmp_path / "drop.txt").write_text("jose\u0301\n", encoding="utf-8")
    assert read_drop_list(tmp_path / "drop.txt") == {"jos\u00e9"}


@pytest.mark.parametrize("by", ["key", "sha256", "url"])
def test_a_picture_is_withdrawn_by_any_of_its_names(by, work, album):
    from hashlib import sha256

    names = {
        "key": "000000-000000",
        "sha256": sha256((album / "biden/biden.jpg").read_bytes()).hexdigest(),
        "url": "https://example.org/biden",
    }
    none = np.zeros(0, np.int64)
    assert withdraw(work, frozenset([names[by]]), none, none) == [0]


def test_a_withdrawal_that_was_killed_is_ended_by_the_next_run(work):
    none = np.zeros(0, np.int64)
    work.withdrawn.write_text(json.dumps({"ids": [0], "taken_out": False}))
    assert withdraw(work, frozenset(), none, none) == [0]
    assert rows.read(work.checked(0, ".parquet"), ["name"])["name"][0] is None


def test_a_unit_whose_samples_are_gone_is_named(work):
    work.checked(0, ".tar").unlink()
    with pytest.raises(HyperLoRAError, match="is gone: remove the whole folder"):
        finish(work)


def test_units_read_back(work):
    unit = work.read_unit(0)
    assert replace(unit, root="") == Unit("", files=FILES)
    work.unit(0).write_text("{}")
    with pytest.raises(HyperLoRAError, match="somebody changed it"):
        work.read_unit(0)
