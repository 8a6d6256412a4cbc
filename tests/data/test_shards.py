"""The format of a training set: written, read at random, read by webdataset, and broken."""

import io
import json
import pickle
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import webdataset

from hyperlora_core import HyperLoRAError
from hyperlora_core.data import shards
from hyperlora_core.data.shards import INFO, DatasetInfo, Sample, Shards, read_shard, write_shard
from hyperlora_core.data.sources import Item
from hyperlora_core.files.encoders import Encoder

INFO_OF_SET = DatasetInfo(Encoder("some/embedder", "ab" * 32), "", {"limits": {"min_face": 128}})


@pytest.fixture(scope="module")
def samples(checker, photos) -> list[Sample]:
    """Four, of two people and of one whom nobody knows."""
    names = {"obama": "a", "biden": "b", "obama2": "a", "obama3": None}
    found = []
    for number, (name, person) in enumerate(names.items()):
        item = Item(name, photos[name].read_bytes(), f"photo {name} ü", {"licence": "CC0", "path": name}, person)
        found.append(replace(checker(item).sample, key=f"000000-{number:06d}"))
    return found


@pytest.fixture
def folder(samples, tmp_path):
    assert write_shard(tmp_path, "shard-000000", samples[:3]) == 3
    assert write_shard(tmp_path, "shard-000002", samples[3:]) == 1
    INFO_OF_SET.write(tmp_path)
    return tmp_path


def same(one: Sample, other: Sample) -> bool:
    arrays = ("box", "keypoints", "landmarks")
    plain = ("key", "picture", "suffix", "width", "height", "caption", "person", "source")
    return (
        all(getattr(one, name) == getattr(other, name) for name in plain)
        and all(np.allclose(getattr(one, name), getattr(other, name), atol=0.006) for name in arrays)
        and np.allclose(one.pose, other.pose, atol=0.006)
        and abs(one.score - other.score) < 1e-4
        and np.array_equal(one.embed, other.embed)
    )


@pytest.mark.long
def test_what_was_written_is_read(folder, samples):
    read = Shards(folder)
    assert read.info == INFO_OF_SET and len(read) == 4 and read.people == 2
    for place in (3, 0, 2, 1, 3):
        assert same(read[place], samples[place])
        assert read[place].photo().size == (samples[place].width, samples[place].height)
    assert [list(read.photos_of(place)) for place in range(4)] == [[0, 2], [1], [0, 2], [3]]
    for place in (-1, 4):
        with pytest.raises(IndexError):
            read[place]
    assert all(same(one, other) for one, other in zip(read_shard(folder / "shard-000000.tar"), samples, strict=False))


def test_webdataset_reads_the_same_in_order(folder):
    read = Shards(folder)
    tars = sorted(map(str, folder.glob("*.tar")))
    sequential = list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False))
    assert [one["__key__"] for one in sequential] == [read[place].key for place in range(4)]
    for place, one in enumerate(sequential):
        assert one["jpg"] == read[place].picture and json.loads(one["json"])["caption"] == read[place].caption
        assert np.load(io.BytesIO(one["npy"])).tolist() == read[place].embed.tolist()


def test_the_same_samples_are_the_same_bytes(folder, samples, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    write_shard(other, "shard-000000", iter(samples[:3]))
    for name in ("shard-000000.tar", "shard-000000.json"):
        assert (other / name).read_bytes() == (folder / name).read_bytes()


def test_a_shards_headers_are_walked_through_once(folder, samples, monkeypatch):
    """However few files stay open: a set has more shards than that."""
    walked, spans = [], shards._spans
    monkeypatch.setattr(shards, "_spans", lambda path: walked.append(path.stem) or spans(path))
    monkeypatch.setattr(shards, "_OPEN_SHARDS", 1)
    read = Shards(folder)
    for place in (0, 3, 1, 3, 2, 0):
        assert same(read[place], samples[place])
    assert walked == ["shard-000000", "shard-000002"] and len(read._opened) == 1


def test_a_disk_that_fails_is_asked_once_more_and_then_named(folder, samples, monkeypatch):
    read, gone = Shards(folder), [0]

    def stale(path):
        gone[0] += 1
        raise shards.UnreadableError(f"the shard {path} cannot be read (Stale file handle)")

    assert same(read[0], samples[0])
    read._opened[0] = StaleFile()
    assert same(read[1], samples[1]), "opened anew"
    monkeypatch.setattr(shards, "_reading", stale)
    read._opened.clear()
    with pytest.raises(shards.UnreadableError, match="Stale file handle"):
        read[0]
    assert gone == [2]


class StaleFile(io.BytesIO):
    """What a file is whose server was away."""

    def seek(self, *_):
        raise OSError(116, "Stale file handle")


def test_a_set_that_is_another_has_another_fingerprint(folder, samples):
    before = Shards(folder).fingerprint
    assert before == Shards(folder).fingerprint
    write_shard(folder, "shard-000002", samples[2:3])
    assert Shards(folder).fingerprint != before


def test_a_set_of_which_a_shard_is_missing_is_refused(folder):
    replace(INFO_OF_SET, settings={"counts": {"": 4, "no face": 2}}).write(folder)
    assert len(Shards(folder)) == 4
    (folder / "shard-000002.tar").unlink()
    with pytest.raises(HyperLoRAError, match="holds 3 samples, and was made of 4: shards are missing"):
        Shards(folder)


def test_an_embedding_that_is_empty_is_a_broken_sample(folder):
    with tarfile.open(folder / "x.tar", "w") as made, tarfile.open(folder / "shard-000002.tar") as tar:
        for member in tar:
            content = b"" if member.name.endswith(".npy") else tar.extractfile(member).read()
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    (folder / "x.tar").replace(folder / "shard-000002.tar")
    with pytest.raises(HyperLoRAError, match=r"sample 0 of .*shard-000002\.tar cannot be read"):
        Shards(folder)[3]


def test_a_reader_goes_to_another_process(folder):
    read = Shards(folder)
    assert read[0].key == pickle.loads(pickle.dumps(read))[0].key


def test_a_shard_that_fails_half_way_leaves_nothing(samples, tmp_path):
    def failing():
        yield samples[0]
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_shard(tmp_path, "shard-000000", failing())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(samples, tmp_path):
    with pytest.raises(HyperLoRAError, match="cannot be written: No such file"):
        write_shard(tmp_path / "gone", "shard-000000", samples)


SPOILED = {
    "no info": (lambda folder: (folder / INFO).unlink(), "is no training set"),
    "info of rubbish": (lambda folder: (folder / INFO).write_text("{"), "cannot be read"),
    "info of another format": (lambda folder: (folder / INFO).write_text('{"format": "9"}'), "of format 9"),
    "info that lacks": (lambda folder: (folder / INFO).write_text('{"format": "1"}'), "cannot be read"),
    "no note": (lambda folder: (folder / "shard-000002.json").unlink(), "no readable note"),
    "note of rubbish": (lambda folder: (folder / "shard-000002.json").write_text("[]"), "no readable note"),
    "nothing": (lambda folder: [path.unlink() for path in folder.glob("shard-*")], "holds no sample"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_set_that_is_not_whole_is_refused(how, folder):
    spoil, message = SPOILED[how]
    spoil(folder)
    with pytest.raises(HyperLoRAError, match=message):
        Shards(folder)


@pytest.mark.parametrize("how", ["empty", "cut", "rubbish", "another shard", "gone"])
def test_a_broken_shard_is_named_when_it_is_read(how, folder, samples):
    tar = folder / "shard-000000.tar"
    whole, read = tar.read_bytes(), None
    read = Shards(folder)
    if how == "gone":
        tar.unlink()
    elif how == "another shard":
        write_shard(folder, "x", samples[:1])
        (folder / "x.tar").replace(tar)
    else:
        tar.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "rubbish": b"\0rubbish" * 9000}[how])
    with pytest.raises(HyperLoRAError, match="shard-000000"):
        read[2]
    assert read[3].key == "000000-000003"
