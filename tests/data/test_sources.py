"""Folders, shards, and what img2dataset writes."""

import io
import json
import os
import tarfile

import pytest

from hyperlora_core import HyperLoRAError
from hyperlora_core.data import sources
from hyperlora_core.data.sources import Unit, check_sources, items_of, units_of
from tests.data.album import EXPECTED, shard

PICTURE = b"\xff\xd8 of some kind"


def test_a_folder_is_looked_through_in_the_order_of_names(album):
    units = list(units_of([album], 4))
    assert [name for unit in units for name in unit.files] == sorted(EXPECTED)
    assert [len(unit.files) for unit in units] == [4, 4, 4, 4, 3]
    assert [Unit.from_json(unit.to_json()) for unit in units] == units


def test_notes_and_captions_beside_a_picture_are_kept(album):
    (unit,) = units_of([album], 1000)
    items = {item.name: item for item in items_of(unit, person_folders=True, licence="all mine")}
    biden = items["biden/biden.jpg"]
    assert biden.caption == "a man in a dark suit" and biden.person == "biden"
    assert biden.source == {
        "path": "biden/biden.jpg",
        "url": "https://example.org/biden",
        "licence": "CC0",
        "key": "000000123",
    }
    assert items["obama/obama.jpg"].source == {"path": "obama/obama.jpg", "licence": "all mine"}
    assert items["obama/notes.jpg"].problem == "broken notes"


def img2dataset(folder, layout: str):
    """Two pictures and one that was not found, as img2dataset 1.47 lays them out."""
    notes = {"url": "https://example.org/1", "key": "000000001", "status": "success", "sha256": "ab", "exif": "{}"}
    notes |= {"caption": "a woman", "original_width": 900, "error_message": None, "license": "CC-BY"}
    files = {"000000001.jpg": PICTURE, "000000001.txt": b"a woman", "000000001.json": json.dumps(notes).encode()}
    files |= {"000000003.jpg": PICTURE, "000000003.json": json.dumps({"url": "https://example.org/3"}).encode()}
    if layout == "webdataset":
        shard(folder / "00000.tar", files)
    else:
        (folder / "00000").mkdir(parents=True)
        for name, content in files.items():
            (folder / "00000" / name).write_bytes(content)
    (folder / "00000.parquet").write_bytes(b"PAR1")
    (folder / "00000_stats.json").write_text("{}")
    return folder


@pytest.mark.parametrize("layout", ["webdataset", "files"])
def test_what_img2dataset_writes_is_read(layout, tmp_path):
    (unit,) = units_of([img2dataset(tmp_path / "set", layout)], 1000)
    first, second = items_of(unit)
    name = "00000.tar/000000001" if layout == "webdataset" else "00000/000000001.jpg"
    assert (first.name, first.caption, first.picture, first.problem) == (name, "a woman", PICTURE, "")
    assert first.source == {
        "path": name,
        "url": "https://example.org/1",
        "licence": "CC-BY",
        "key": "000000001",
        "sha256": "ab",
        "original_width": 900,
    }
    assert second.source["url"] == "https://example.org/3" and second.caption == ""


def test_a_shard_may_hold_anything(tmp_path):
    members = {
        "./a/one.jpg": PICTURE,
        "./a/one.seg.png": b"not the picture",
        "./a/two.txt": b"a caption alone",
        "._one.jpg": b"what a Mac leaves",
        "three.PNG": PICTURE,
        "three.json": b"[1, 2]",
        "four.jpg": b"",
        "f\udcfcnf.jpg".encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape"): PICTURE,
    }
    found = {item.name: item for item in items_of(Unit(".", shard=str(shard(tmp_path / "x.tar", members))))}
    problems = {os.path.basename(name): item.problem for name, item in found.items()}
    assert problems == {
        "one": "",
        "two": "no picture",
        "three": "broken notes",
        "four": "empty file",
        "f\\udcfcnf": "",
    }
    assert next(iter(found.values())).picture == PICTURE


@pytest.mark.parametrize("cut", [600, 1100, 5000, 9000])
def test_a_shard_that_was_cut_short_gives_what_is_whole(cut, tmp_path):
    path = shard(tmp_path / "x.tar", {f"{number}.jpg": PICTURE * 200 for number in range(3)})
    path.write_bytes(path.read_bytes()[:cut])
    items = list(items_of(Unit(".", shard=str(path))))
    whole = [item for item in items if not item.problem]
    assert len(whole) == (cut - 512) // 3584 and all(item.picture == PICTURE * 200 for item in whole)
    assert [item.problem for item in items[len(whole) :]] == ["broken shard"]


def _cut(content, at):
    return content[:at]


def _zeroed(content, at):
    return content[:at] + bytes(512) + content[at + 512 :]


def _garbled(content, at):
    return content[:at] + b"x" * 512 + content[at + 512 :]


def _joined(content, at):
    return content + content


@pytest.mark.parametrize(
    ("how", "at", "whole"),
    [(_cut, 3584, 0), (_cut, 3784, 0), (_cut, 7168, 1), (_zeroed, 7168, 1), (_garbled, 3584, 0), (_garbled, 7168, 1)]
    + [(_joined, 0, 2)],
)
def test_a_shard_that_breaks_between_its_files_says_so(how, at, whole, tmp_path):
    """Where tarfile's loop over members ends as if nothing were wrong; of the last picture, notes may be missing."""
    path = shard(tmp_path / "x.tar", {f"{number}.jpg": PICTURE * 200 for number in range(3)})
    path.write_bytes(how(path.read_bytes(), at))
    items = list(items_of(Unit(".", shard=str(path))))
    assert [item.problem for item in items] == [""] * whole + ["broken shard"]
    assert all(item.picture == PICTURE * 200 for item in items[:whole])


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, b"\x1f\x8b broken gzip"])
def test_a_shard_that_is_none_is_one_broken_item(content, tmp_path):
    (tmp_path / "x.tar").write_bytes(content)
    assert [item.problem for item in items_of(Unit(".", shard=str(tmp_path / "x.tar")))] == ["broken shard"]


@pytest.mark.parametrize("headers", [{"GNU.sparse.map": "a"}, {"GNU.sparse.size": "x"}])
def test_a_shard_whose_headers_are_made_to_break_it_is_broken(headers, tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT, pax_headers=headers) as tar:
        member = tarfile.TarInfo("a.jpg")
        member.size, member.pax_headers = len(PICTURE), headers
        tar.addfile(member, io.BytesIO(PICTURE))
    assert [item.problem for item in items_of(Unit(".", shard=str(tmp_path / "x.tar")))] == ["broken shard"]


def test_a_file_larger_than_memory_likes_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LARGEST_FILE", 10)
    path = shard(tmp_path / "x.tar", {"a.jpg": PICTURE, "b.jpg": b"small"})
    assert [item.problem for item in items_of(Unit(".", shard=str(path)))] == ["file too large", ""]
    (tmp_path / "c.jpg").write_bytes(PICTURE)
    assert [item.problem for item in items_of(Unit(str(tmp_path), files=("c.jpg",)))] == ["file too large"]


def test_notes_may_say_who_it_is_and_anything_else(tmp_path):
    notes = {"person": 7, "nested": {"a": 1}, "long": "x" * 5000, "none": None, "\ud800": "\ud800"}
    members = {"a.jpg": PICTURE, "a.json": json.dumps(notes).encode()}
    (item,) = items_of(Unit(".", shard=str(shard(tmp_path / "x.tar", members))))
    assert item.person == "7" and set(item.source) == {"path", "long", "\\ud800"} and len(item.source["long"]) == 2000
    json.dumps(item.source, ensure_ascii=False).encode()


def test_what_file_managers_leave_is_no_picture(tmp_path):
    """In folders and in shards: as rejected pictures, they would stand in every report."""
    names = ["anna/1.jpg", "anna/._1.jpg", "__MACOSX/anna/1.jpg", "@eaDir/1.jpg", "anna/.1.jpg", "anna/.2.tar"]
    folder, shard = tmp_path / "folder", tmp_path / "shards" / "0.tar"
    shard.parent.mkdir()
    with tarfile.open(shard, "w") as tar:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"picture")
            tar.add(folder / name, name)
    for source, found in ((folder, ["anna/1.jpg"]), (shard, ["0.tar/anna/1"])):
        assert [item.name for unit in units_of([source], 10) for item in items_of(unit)] == found


def test_only_files_are_pictures(tmp_path, caplog):
    """A pipe that is called so would be waited for without end."""
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "folder.jpg" / "in it.JPEG").write_bytes(PICTURE)
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / "line\nbreak.png").write_bytes(PICTURE)
    for name in ("a.heic", "b.HEIC", "c.txt"):
        (tmp_path / name).touch()
    (unit,) = units_of([tmp_path], 1000)
    assert "3 linked folders, pipes and links to nothing; 2 pictures of kinds that are not read (.heic)" in caplog.text
    assert unit.files == ("folder.jpg/in it.JPEG", "line\nbreak.png")
    assert [item.problem for item in items_of(unit)] == ["", ""]


def test_shards_that_were_prepared_before_keep_where_they_come_from(tmp_path):
    notes = {"key": "000000-000000", "caption": "a man", "box": [1, 2, 3, 4], "person": "him"}
    notes["source"] = {"path": "first.jpg", "licence": "CC0", "url": "https://example.org"}
    members = {"000000-000000.jpg": PICTURE, "000000-000000.json": json.dumps(notes).encode()}
    (item,) = items_of(Unit(".", shard=str(shard(tmp_path / "x.tar", members))))
    assert (item.caption, item.person, item.source["licence"]) == ("a man", "him", "CC0")
    assert item.source["url"] == "https://example.org" and item.name == item.source["path"] == "first.jpg"


@pytest.mark.parametrize("deep", [False, True])
def test_notes_that_cannot_be_read_reject_the_picture_and_stop_nothing(deep, tmp_path):
    """Its licence and its person may stand in them."""
    note = b'{"a":' * 100_000 if deep else json.dumps({"license": "by-nc", "more": "x" * 2_000_000}).encode()
    for name, content in (("a.jpg", PICTURE), ("a.json", note), ("b.jpg", PICTURE)):
        (tmp_path / name).write_bytes(content)
    path = shard(tmp_path / "x.tar", {"a.jpg": PICTURE, "a.json": note, "b.jpg": PICTURE})
    for unit in (Unit(str(tmp_path), files=("a.jpg", "b.jpg")), Unit(".", shard=str(path))):
        assert [item.problem for item in items_of(unit, licence="CC0")] == ["broken notes", ""]


def test_a_shard_whose_files_do_not_stand_together_is_refused(tmp_path):
    members = {"a.jpg": PICTURE, "b.jpg": PICTURE, "a.json": b'{"license": "by-nc"}', "b.json": b"{}"}
    with pytest.raises(HyperLoRAError, match="the files of a do not stand together"):
        list(items_of(Unit(".", shard=str(shard(tmp_path / "x.tar", members))), licence="CC0"))


@pytest.mark.parametrize(
    ("said", "licence", "person"),
    [({"license": 0, "person": 0}, "0", "0"), ({"license": float("nan"), "person": float("nan")}, "CC0", None)],
)
def test_nought_is_a_licence_and_not_a_number_is_none(said, licence, person, tmp_path):
    (tmp_path / "a.JPG").write_bytes(PICTURE)
    (tmp_path / "a.JSON").write_text(json.dumps(said))
    (item,) = items_of(Unit(str(tmp_path), files=("a.JPG",)), licence="CC0")
    assert item.source["licence"] == licence and item.person == person


@pytest.mark.parametrize("said", ["?", " Unknown ", "n/a", None])
def test_a_licence_that_says_nothing_is_none(said, tmp_path):
    (tmp_path / "a.jpg").write_bytes(PICTURE)
    (tmp_path / "a.json").write_text(json.dumps({"LICENSE": said, "caption": float("nan")}))
    (item,) = items_of(Unit(str(tmp_path), files=("a.jpg",)))
    assert item.source == {"path": "a.jpg"} and item.caption == ""
    (item,) = items_of(Unit(str(tmp_path), files=("a.jpg",)), licence="CC0")
    assert item.source["licence"] == "CC0"


def test_each_source_has_something(tmp_path):
    for name in ("full", "unmounted"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "a.jpg").write_bytes(PICTURE)
    (tmp_path / "full" / "round.jpg").symlink_to(tmp_path / "full" / "round.jpg")
    (unit,) = units_of([tmp_path / "full"], 10)
    assert unit.files == ("a.jpg",)
    with pytest.raises(HyperLoRAError, match=r"no pictures and no shards in .*unmounted"):
        list(units_of([tmp_path / "full", tmp_path / "unmounted"], 10))


def test_what_is_no_source_is_refused(tmp_path, album):
    (tmp_path / "x.zip").touch()
    within = [album, album / "obama"]
    check_sources([album / "obama", album / "biden"], tmp_path / "set")
    for wrong in ([tmp_path / "gone"], [tmp_path / "x.zip"], [album, album], within, within[::-1]):
        with pytest.raises(HyperLoRAError, match="source"):
            check_sources(wrong, tmp_path / "set")
    for out in (album, album / "obama" / "set"):
        with pytest.raises(HyperLoRAError, match="would lie in the source"):
            check_sources([album], out)
