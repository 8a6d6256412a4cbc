"""What the queue does when servers fail: nothing is lost, nothing waits without a word, nothing is drawn twice."""

import json
import logging
import threading
from pathlib import Path

import pytest

from hyperlora_core import HyperLoRAError
from hyperlora_core.comfy import queue as batch_module
from hyperlora_core.comfy.jobs import Job
from hyperlora_core.comfy.manifest import MANIFEST, Manifest
from hyperlora_core.comfy.queue import Batch, Options
from hyperlora_core.comfy.tasks import Task
from tests.core.comfy_stub import ComfyStub

TIMEOUT = 60


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name, seconds in {"_FREEING": 0.0, "_IDLE": 0.02, "_REST": 0.1}.items():
        monkeypatch.setattr(batch_module, name, seconds)


def workflow(number: int) -> dict:
    return {
        "1": {"class_type": "KSampler", "inputs": {"seed": number}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
    }


def task(number: int, **kwargs) -> Task:
    return Task(workflow(number), Job(f"p{number}"), {"method": "m", **kwargs.pop("labels", {})}, **kwargs)


def run(tasks: list[Task], servers: list[ComfyStub], out: Path, **options) -> list[dict]:
    """In a thread, so that a queue that hangs is a failure and not the end of all tests."""
    results: list = []

    def work() -> None:
        try:
            results.append(Batch(tasks, Options([server.url for server in servers], out, **options)).run())
        except HyperLoRAError as error:
            results.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    assert results, "the queue hangs"
    if isinstance(results[0], Exception):
        raise results[0]
    return results[0]


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / MANIFEST).read_text().splitlines()]


def done(out: Path) -> dict[str, dict]:
    return {line["job"]: line for line in lines(out) if line["state"] == "done"}


def test_what_is_asked_for_twice_is_drawn_once_as_it_was_asked_for_first(tmp_path):
    twice = [
        task(1, labels={"method": "m"}, cold_start=True),
        task(1, labels={"method": "m@weight=1"}),
        task(2, labels={"method": "m"}, cold_start=True),
    ]
    with ComfyStub() as server:
        assert run(twice, [server], tmp_path) == []
        assert len(server.queued) == 2 and [path for path, _ in server.told] == ["/free"]
    entries = list(done(tmp_path).values())
    assert [entry["method"] for entry in entries] == ["m", "m"]
    assert [entry["timing"]["cold"] for entry in entries] == [True, False]


def test_a_picture_has_its_provenance(tmp_path):
    with ComfyStub() as server:
        server.device = {"name": "cuda:0 Some GPU", "type": "cuda", "vram_total": 24 << 30, "vram_free": 20 << 30}
        run([task(1)], [server], tmp_path)
    (entry,) = done(tmp_path).values()
    assert entry["host"] == {"comfyui": "0.30.0", "pytorch": "2.14.1", "device": "cuda:0 Some GPU"}
    assert entry["server"] == server.url and entry["workflow_sha256"] and entry["ended"].startswith("20")
    assert entry["timing"]["heard"] and entry["timing"]["nodes"].keys() == {"KSampler"}


def test_a_method_that_always_fails_costs_the_others_their_models_once(tmp_path):
    with ComfyStub() as server:
        server.saves = False
        failed = run([task(number, cold_start=True) for number in range(3)], [server], tmp_path)
        assert [path for path, _ in server.told] == ["/free"]
    assert len(failed) == 3
    for entry in failed:
        assert "saved no picture" in entry["error"] and entry["host"]["comfyui"] and entry["ended"].startswith("20")


def test_the_most_memory_that_was_seen_is_told(tmp_path):
    with ComfyStub() as server:
        server.seconds = 0.8
        server.device = {"name": "cuda:0", "type": "cuda", "vram_total": 24 << 30, "vram_free": 20 << 30}
        run([task(1)], [server], tmp_path)
    (entry,) = done(tmp_path).values()
    assert entry["timing"]["peak_memory"] == 4 << 30


def test_a_disk_that_fails_ends_the_queue_on_every_server(tmp_path, monkeypatch):
    count, add = [], Manifest.add

    def full_after_a_while(self, entry):
        count.append(entry)
        if len(count) > 6:
            raise OSError(28, "No space left on device")
        add(self, entry)

    monkeypatch.setattr(Manifest, "add", full_after_a_while)
    tasks = [task(number) for number in range(12)]
    with ComfyStub() as server, ComfyStub() as second_server:
        with pytest.raises(HyperLoRAError, match=r"broke off \(OSError.*the same command goes on with it"):
            run(tasks, [server, second_server], tmp_path)
        drawn = len(server.queued) + len(second_server.queued)
        assert drawn < 12
        monkeypatch.undo()
        assert run(tasks, [server, second_server], tmp_path) == []
    assert len(done(tmp_path)) == 12


def test_what_a_server_had_when_it_died_is_drawn_by_another(tmp_path):
    """Two prompts were queued there before a kill; it dies when the first is asked for."""
    tasks = [task(number) for number in range(4)]
    with ComfyStub() as alive, ComfyStub() as dying:
        manifest = Manifest.open(tmp_path)
        for place in (0, 1):
            dying.known.append(f"before {place}")
            manifest.add(
                {"job": tasks[place].key, "state": "queued", "server": dying.url, "prompt_id": f"before {place}"}
            )
        threading.Timer(1.0, dying.die).start()
        assert run(tasks, [alive, dying], tmp_path) == []
    entries = done(tmp_path)
    assert {entries[tasks[place].key]["server"] for place in (0, 1)} == {alive.url} and len(entries) == 4


def test_a_task_goes_where_it_can_be_drawn_and_that_is_waited_for(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(batch_module, "_SAID_EVERY", 0.3)
    with ComfyStub() as alive, ComfyStub() as away:
        tasks = [task(number, servers=frozenset({away.url} if number < 3 else ())) for number in range(6)]
        away.seconds = TIMEOUT
        threading.Timer(0.5, away.die).start()
        threading.Timer(2.5, away.rise).start()
        assert run(tasks, [alive, away], tmp_path, retries=9) == []
    entries = done(tmp_path)
    assert {entries[bound.key]["server"] for bound in tasks[:3]} == {away.url} and len(entries) == 6
    assert "3 of 3 pictures that are left can be drawn there alone" in caplog.text


def test_a_prompt_that_takes_too_long_is_taken_out_of_the_servers_queue(tmp_path):
    with ComfyStub() as server:
        server.seconds = TIMEOUT
        (failed,) = run([task(1)], [server], tmp_path, retries=0, timeout=0.5)
    assert "did not end within" in failed["error"]
    (number,) = [entry["prompt_id"] for entry in lines(tmp_path) if entry["state"] == "queued"]
    assert server.told == [("/queue", {"delete": [number]}), ("/interrupt", {"prompt_id": number})]


def test_a_socket_that_breaks_costs_the_timing_alone(tmp_path):
    with ComfyStub() as server:
        server.sockets_break = True
        run([task(1)], [server], tmp_path)
        server.sockets_break = False
        run([task(1), task(2)], [server], tmp_path)
    entries = done(tmp_path)
    assert [entries[task(number).key]["timing"]["heard"] for number in (1, 2)] == [False, True]


def test_a_line_that_was_cut_short_costs_itself_alone(tmp_path):
    with ComfyStub() as server:
        run([task(1)], [server], tmp_path)
        with (tmp_path / MANIFEST).open("a") as file:
            file.write('{"job": "cut')
        run([task(1), task(2)], [server], tmp_path)
    manifest = Manifest.open(tmp_path)
    assert all(manifest.is_done(task(number).key) for number in (1, 2)) and "cut" not in manifest.last
