"""``hyperlora batch`` on real servers."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from demo import workflows
from demo.server import ComfyServer
from hyperlora_core.comfy.jobs import Job
from hyperlora_core.comfy.queue import Batch, Options
from hyperlora_core.comfy.tasks import Task


@pytest.fixture
def people(photos, tmp_path) -> Path:
    """A folder of two people, and one whose photo shows nobody."""
    folder = tmp_path / "people"
    for person, names in (("barack", ("obama", "obama2")), ("joe", ("biden",))):
        (folder / person).mkdir(parents=True)
        for name in names:
            shutil.copy(photos[name], folder / person)
    return folder


@pytest.fixture
def template(small, tmp_path) -> Path:
    """A small workflow's file."""
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(small("portrait_simple")))
    return path


def start(people: Path, template: Path, out: Path, *arguments: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "hyperlora_core.cli", "batch", str(people), "--workflow", str(template)]
    line += ["--out", str(out), *arguments]
    return subprocess.Popen(line, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(*arguments) -> tuple[int, str]:
    process = start(*arguments)
    output, _ = process.communicate(timeout=400)
    return process.returncode, output


def entries(out: Path) -> list[dict]:
    manifest = out / "manifest.jsonl"
    return [json.loads(line) for line in manifest.read_text().splitlines()] if manifest.exists() else []


def latest_entries(out: Path) -> dict[str, dict]:
    return {entry["job"]: entry for entry in entries(out) if entry["state"] == "done"}


def test_people_times_prompts_times_seeds_are_drawn_once(server, people, template, tmp_path):
    out = tmp_path / "out"
    options = ("--server", server.url, "--prompt", "in a garden", "--prompt", "at sea", "--seeds", "1,2")
    code, output = run(people, template, out, *options)
    assert code == 0, output
    assert "8 to draw, 0 are there already" in output and "[8/8]" in output
    lines = latest_entries(out)
    pictures = {name: (out / name).read_bytes() for entry in lines.values() for name in entry["pictures"]}
    assert len(lines) == 8 and len(set(pictures.values())) == 8
    for entry in lines.values():
        picture = Image.open(io.BytesIO(pictures[entry["pictures"][0]]))
        drawn = json.loads(picture.info["prompt"])
        sampler = drawn[workflows.node(drawn, "KSampler")]["inputs"]
        assert sampler["seed"] == entry["seed"] and entry["prompt"].startswith("fcsks fxhks fhyks, ")
        assert entry["prompt"] in [node["inputs"].get("text") for node in drawn.values()]
        assert (
            len(workflows.nodes(drawn, "LoadImage"))
            >= len(entry["photos"])
            == (2 if entry["person"] == "barack" else 1)
        )

    timings = [entry["timing"] for entry in lines.values()]
    assert [timing["cold"] for timing in timings] == [True] + [False] * 7
    for timing in timings:
        assert timing["heard"] and timing["peak_memory"] is None  # it computes on the CPU
        assert timing["nodes"]["KSampler"] > 0 and sum(timing["nodes"].values()) <= timing["seconds"] + 0.1
    assert "CheckpointLoaderSimple" not in timings[1]["nodes"]  # it comes from the server's cache

    lost = next(iter(lines.values()))
    (out / lost["pictures"][0]).unlink()
    code, output = run(people, template, out, *options)
    assert code == 0 and "1 to draw, 7 are there already" in output
    assert (out / lost["pictures"][0]).read_bytes() == pictures[lost["pictures"][0]]


def test_a_failure_is_listed_with_the_nodes_sentence_and_the_others_are_drawn(server, people, template, tmp_path):
    (people / "nobody").mkdir()
    Image.new("RGB", (64, 64), "gray").save(people / "nobody" / "blank.png")
    (people / "otto").mkdir()
    (people / "otto" / "cut.jpg").write_bytes(next((people / "joe").iterdir()).read_bytes()[:5000])
    (people / "joe" / "._biden.jpg").write_bytes(b"of macOS")
    out = tmp_path / "out"
    code, output = run(people, template, out, "--server", server.url)
    assert code == 1
    assert f"left out: otto: the photo {people / 'otto' / 'cut.jpg'} cannot be read" in output
    assert "failed: nobody" in output and "HyperLoRAPortrait: photo 1 of 1: no face was found" in output
    assert sorted(entry["person"] for entry in latest_entries(out).values()) == ["barack", "joe"]
    (failed,) = [entry for entry in entries(out) if entry["state"] == "failed"]
    assert failed["error"].startswith("HyperLoRAPortrait: photo 1 of 1: no face was found") and failed["tries"] == 1


def test_a_killed_batch_goes_on_without_drawing_again(server, people, template, tmp_path):
    out = tmp_path / "out"
    arguments = (people, template, out, "--server", server.url, "--seeds", "11-14")
    process, deadline = start(*arguments), time.monotonic() + 200
    while not ((out / "manifest.jsonl").exists() and len(latest_entries(out)) >= 2):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = latest_entries(out)
    assert 2 <= len(before) < 8
    with (out / "manifest.jsonl").open("a") as file:
        file.write('{"job": "cut sho')  # as a kill while a line is written leaves it
    code, output = run(*arguments)
    assert code == 0 and f"{8 - len(before)} to draw, {len(before)} are there already" in output, output
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines() if line.endswith("}")]
    ends = [entry["job"] for entry in lines if entry["state"] == "done"]
    assert len(ends) == len(set(ends)) == 8
    queued = [entry["prompt_id"] for entry in lines if entry["state"] == "queued"]
    assert len(queued) == len(set(queued)) == 8  # what had been queued was taken up


def test_no_server_and_a_workflow_that_is_refused_are_said(server, people, template, tmp_path):
    code, output = run(people, template, tmp_path / "a", "--server", "http://127.0.0.1:9")
    assert code == 1 and "no ComfyUI answers at http://127.0.0.1:9" in output
    workflow = json.loads(template.read_text())
    workflow[workflows.node(workflow, "CheckpointLoaderSimple")]["inputs"]["ckpt_name"] = "none.safetensors"
    template.write_text(json.dumps(workflow))
    code, output = run(people / "joe", template, tmp_path / "b", "--server", server.url)
    assert code == 1 and "Prompt outputs failed validation; CheckpointLoaderSimple: Value not in list" in output


def test_a_task_that_makes_more_pictures_than_are_looked_at_fails(server, photos, template, tmp_path):
    workflow = json.loads(template.read_text())
    workflow[workflows.node(workflow, "EmptyLatentImage")]["inputs"]["batch_size"] = 2
    tasks = [Task(workflow, Job(name, (photos["obama"],)), single=name == "one") for name in ("one", "any")]
    (failed,) = Batch(tasks, Options([server.url], tmp_path)).run()
    assert failed["person"] == "one" and "saved 2 pictures where one is looked at" in failed["error"]
    assert [len(entry["pictures"]) for entry in latest_entries(tmp_path).values()] == [2]


@pytest.mark.slow
def test_a_server_that_goes_away_leaves_its_jobs_to_another(server, models, people, template, tmp_path):
    out, second = tmp_path / "out", ComfyServer(tmp_path / "other", models)
    with second:
        process = start(people, template, out, "--server", server.url, "--server", second.url, "--seeds", "21-28")
        deadline = time.monotonic() + 300
        while not any(entry["server"] == second.url for entry in latest_entries(out).values()):
            assert time.monotonic() < deadline and process.poll() is None, process.communicate()
            time.sleep(0.1)
        os.killpg(second.pid, signal.SIGKILL)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    assert "is tried again" in output and len(latest_entries(out)) == 16
    assert {entry["server"] for entry in latest_entries(out).values()} == {server.url, second.url}
