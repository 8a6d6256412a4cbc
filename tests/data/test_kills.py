"""Preparations that are killed, whole or a worker, come to the same set, to the byte."""

import logging
import os
import random
import shutil
import socket
import tempfile
import time

import psutil
import pytest

from hyperlora_core.data import near_pairs
from hyperlora_core.data.shards import Shards
from tests.data.album import EXPECTED, counts
from tests.data.runs import Run, command, files, prepare

pytestmark = pytest.mark.slow

MORE = ("--person-folders", "--unit-size", "3")
CAPTIONED = (*MORE, "--captioner", "tests.data.captioning:sizes", "--recaption", "--caption-batch", "2")


@pytest.fixture(scope="module")
def straight(ray_session, album, face_pack, tmp_path_factory):
    """Sets that nobody killed: by two workers, with captions and without."""
    out = tmp_path_factory.mktemp("straight")
    for name, more in (("plain", MORE), ("captioned", CAPTIONED)):
        assert prepare(album, out / name, face_pack, *more, "--workers", "2") == 0
    return out


def test_one_worker_makes_the_same_bytes_as_two(straight, ray_session, album, face_pack, tmp_path, monkeypatch):
    """Duplicates are looked for in many tasks here, as in a large set."""
    monkeypatch.setattr(near_pairs, "_SAMPLES_PER_SEARCH", 40)
    assert prepare(album, tmp_path / "set", face_pack, *MORE, "--workers", "1") == 0
    assert files(tmp_path / "set") == files(straight / "plain")


def test_dropped_afterwards_is_as_dropped_from_the_start(straight, ray_session, album, face_pack, tmp_path):
    drop = tmp_path / "drop.txt"
    drop.write_text("biden\nobama/smaller.jpg\n")  # the latter a near-duplicate, which takes obama.jpg with it
    more = (*MORE, "--workers", "2", "--drop-list", str(drop))
    assert prepare(album, tmp_path / "start", face_pack, *more) == 0
    shutil.copytree(straight / "plain", tmp_path / "after")
    assert prepare(album, tmp_path / "after", face_pack, *more) == 0
    assert files(tmp_path / "after") == files(tmp_path / "start")
    read = Shards(tmp_path / "after")
    assert [read[place].source["path"] for place in range(len(read))] == ["obama/obama2.jpg", "obama/obama3.jpg"]
    # biden and its copy, obama and its two duplicates
    assert read.info.settings["counts"]["withdrawn"] == 5 and "duplicate" not in read.info.settings["counts"]


def test_killed_again_and_again_it_comes_to_the_same_set(straight, album, face_pack, tmp_path):
    """SIGKILL to the command and all its workers, at chance moments of every phase."""
    out, log, numbers = tmp_path / "set", tmp_path / "log", random.Random(0)
    work = out / "prepare"
    phases = [
        lambda: any((work / "units").glob("*.json")),
        lambda: any((work / "tries").glob("check-*")),
        lambda: len(list((work / "checked").glob("*.parquet"))) >= 3,
        lambda: len(list((work / "checked").glob("*.parquet"))) >= 5 and any((work / "checked").glob(".*.part")),
        lambda: (work / "duplicates.npz").exists(),
        lambda: any((work / "finished").glob("*.json")),
        lambda: len(list((work / "finished").glob("*.json"))) >= 4,
        lambda: (out / "report.html").exists(),
    ]
    kills = 0
    for phase in phases:
        run = Run(command(album, out, face_pack, *CAPTIONED, "--workers", "2"), log)
        try:
            run.wait_until(phase)
            time.sleep(numbers.random() * 0.3)
        except AssertionError:
            assert run.process.poll() == 0, log.read_text()  # it was faster
            break
        run.kill()
        kills += 1
        assert not (out / "dataset.json").exists() or phase is phases[-1]
    assert kills >= 6
    assert Run(command(album, out, face_pack, *CAPTIONED, "--workers", "1"), log).wait() == 0, log.read_text()
    assert files(out) == files(straight / "captioned")
    assert not list(out.rglob("*.part"))


def test_a_worker_that_is_killed_is_begun_again(straight, album, face_pack, tmp_path):
    out, log = tmp_path / "set", tmp_path / "log"
    run = Run(command(album, out, face_pack, *MORE, "--workers", "2"), log)
    run.wait_until(lambda: len(list((out / "prepare" / "checked").glob("*.parquet"))) >= 2)
    killed = [process.pid for process in run.workers() if not process.kill()][:2]
    assert killed
    assert run.wait() == 0, log.read_text()
    assert files(out) == files(straight / "plain")


def test_a_picture_that_ends_every_worker_is_passed_over(straight, ray_session, album, face_pack, tmp_path):
    more = [one.replace(":sizes", ":ends_the_process") for one in CAPTIONED]
    assert prepare(album, tmp_path / "set", face_pack, *more, "--workers", "2") == 0
    read, whole = Shards(tmp_path / "set"), Shards(straight / "captioned")
    assert read.info.settings["counts"] == {**counts(), "": 3, "crashed": 1}
    left = [sample for sample in map(whole.__getitem__, range(4)) if sample.source["path"] != "obama/obama2.jpg"]
    assert [read[place].caption for place in range(3)] == [sample.caption for sample in left]
    assert "crashed" in (tmp_path / "set" / "report.html").read_text()


def test_a_cluster_makes_the_same_set(straight, album, face_pack, tmp_path):
    """A cluster of one machine, that was there before and stays."""
    folder, port = tempfile.mkdtemp(prefix="hl-", dir="/tmp"), free_port()
    cluster = Run(
        ["start", "--head", "--block", f"--port={port}", "--num-cpus=3", "--include-dashboard=false"]
        + [f"--temp-dir={folder}", "--disable-usage-stats", "--object-store-memory=200000000"],
        tmp_path / "cluster",
        module="ray.scripts.scripts",
    )
    try:
        cluster.wait_until(lambda: "Ray runtime started" in (tmp_path / "cluster").read_text())
        address = f"127.0.0.1:{port}"
        for out in ("set", "again"):
            run = Run(
                command(album, tmp_path / out, face_pack, *MORE, "--workers", "2", "--ray-address", address),
                tmp_path / "log",
            )
            assert run.wait() == 0, (tmp_path / "log").read_text()
            assert files(tmp_path / out) == files(straight / "plain")
            assert cluster.process.poll() is None
    finally:
        cluster.kill()
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        return some.getsockname()[1]


def test_memory_stays_bounded(album, face_pack, tmp_path):
    """Five thousand pictures: the command's own memory does not grow with them, nor does any worker's."""
    source = tmp_path / "source"
    kept = [name for name, reason in EXPECTED.items() if not reason]
    for number in range(5000):
        target = source / f"{number // 500:02d}" / f"{number:05d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        if number % 250 == 0:
            shutil.copy(album / kept[number // 250 % len(kept)], target)
        else:
            os.link(album / "biden" / "small.jpg", target) if number > 1 else shutil.copy(
                album / "biden" / "small.jpg", target
            )
    run = Run(command(source, tmp_path / "set", face_pack, "--unit-size", "250", "--workers", "2"), tmp_path / "log")
    peaks: dict[str, list[int]] = {"command": [], "workers": []}

    def measured() -> bool:
        try:
            peaks["command"].append(psutil.Process(run.process.pid).memory_info().rss)
            peaks["workers"] += [process.memory_info().rss for process in run.workers()]
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.2)
        return run.process.poll() is not None

    while not measured():
        pass
    assert run.wait() == 0, (tmp_path / "log").read_text()
    read = Shards(tmp_path / "set")
    assert read.info.settings["counts"] == {"": 4, "picture too small": 4980, "duplicate": 16}
    logging.getLogger(__name__).info("peaks: %s", {name: max(values) >> 20 for name, values in peaks.items()})
    assert max(peaks["command"]) < 1200 << 20 and max(peaks["workers"]) < 1500 << 20, {
        name: max(values) >> 20 for name, values in peaks.items()
    }
