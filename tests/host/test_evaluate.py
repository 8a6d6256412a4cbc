"""``hyperlora evaluate`` on real servers, with the methods whose nodes are installed."""

import csv
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

from demo import sdxl
from demo.server import ComfyServer
from hyperlora_core.cli import main
from hyperlora_core.comfy.client import ComfyClient
from hyperlora_core.evaluation.methods import BASELINE, chosen, read_method, shipped
from hyperlora_core.evaluation.plan import plan, read_persons, read_sweep
from hyperlora_core.evaluation.protocol import Protocol
from tests.evaluation.nodes import misfits, rivals
from tests.evaluation.towers import clip_folder
from tests.support.models import CLIP_VISION, HYPER_LORA

PROTOCOL = {
    "prompts": [
        {"name": "headshot", "text": "headshot portrait photo of a person", "group": "headshot"},
        {"name": "hat", "text": "portrait photo of a person wearing a straw hat", "group": "editable"},
    ],
    "headshots": [1],
    "seeds": [1],
    "steps": 1,
    "width": 64,
    "height": 64,
    "checkpoint": sdxl.CHECKPOINT,
}
RIVALS = ("arc2face", "instantid", "ipadapter-faceid-portrait", "photomaker", "pulid")


@pytest.fixture(scope="module")
def base_command(photos, face_pack, tmp_path_factory) -> list[str]:
    """The command without servers and results folder: two people, one of them with held-out photos."""
    folder = tmp_path_factory.mktemp("evaluate")
    for person, names in (("barack", ("obama", "obama2", "obama3")), ("joe", ("biden",))):
        (folder / "people" / person).mkdir(parents=True)
        for name in names:
            shutil.copy(photos[name], folder / "people" / person)
    (folder / "protocol.json").write_text(json.dumps(PROTOCOL))
    line = ["evaluate", str(folder / "people"), "--protocol", str(folder / "protocol.json")]
    line += ["--clip", str(clip_folder(folder / "clip")), "--faces", str(face_pack)]
    return [*line, *(f"--set=hyperlora-{kind}.model={HYPER_LORA}" for kind in ("id", "full"))]


@pytest.fixture(scope="module")
def trained(server, models, face_pack, photos) -> None:
    """A LoRA file of one of the two people, in the server's loras folder."""
    folder = server.base / "models" / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        "generate",
        "--model",
        str(models / "hyper_lora" / HYPER_LORA),
        "--faces",
        str(face_pack),
    ]
    command += ["--clip", str(models / "clip_vision" / CLIP_VISION), "--image", str(photos["obama2"])]
    assert main([*command, "--out", str(folder / "barack.safetensors")]) == 0


@pytest.fixture
def own(tmp_path) -> Path:
    """A user's own method: its workflow batches the photos and draws over the last one."""
    method = chosen((BASELINE,))[0]
    workflow, of = json.loads(json.dumps(method.workflow)), {}
    for number, node in workflow.items():
        of[node["class_type"]] = number
    workflow |= {
        "50": {"class_type": "LoadImage", "inputs": {"image": "photo.png"}},
        "51": {"class_type": "BatchImagesNode", "inputs": {"images.image0": ["50", 0]}},
        "52": {"class_type": "ImageFromBatch", "inputs": {"image": ["51", 0], "batch_index": -1, "length": 1}},
        "53": {
            "class_type": "ImageScale",
            "inputs": {"image": ["52", 0], "upscale_method": "area", "width": 64, "height": 64, "crop": "center"},
            "_meta": {"title": "Scale"},
        },
        "54": {"class_type": "VAEEncode", "inputs": {"pixels": ["53", 0], "vae": [of["CheckpointLoaderSimple"], 2]}},
    }
    workflow[of["KSampler"]]["inputs"] |= {"latent_image": ["54", 0], "denoise": 0.5}
    del workflow[of["EmptyLatentImage"]]
    slots = dict(method.slots) | {"width": "Scale.width", "height": "Scale.height"}
    (tmp_path / "workflow.json").write_text(json.dumps(workflow))
    path = tmp_path / "drawn-over.json"
    path.write_text(json.dumps({"title": "Drawn over", "workflow": "workflow.json", "slots": slots}))
    return path


def start(*arguments: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "hyperlora_core.cli", *arguments]
    return subprocess.Popen(line, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(*arguments: str) -> tuple[int, str]:
    process = start(*arguments)
    output, _ = process.communicate(timeout=500)
    return process.returncode, output


def entries(out: Path) -> list[dict]:
    manifest = out / "pictures" / "manifest.jsonl"
    return [json.loads(line) for line in manifest.read_text().splitlines()] if manifest.exists() else []


def ends(out: Path, state: str = "done") -> list[dict]:
    return [entry for entry in entries(out) if entry["state"] == state]


def test_every_node_takes_what_it_is_given(server, base_command):
    """ComfyUI's nodes and ours as the server lists them, other packs' as their sources do."""
    info = rivals() | ComfyClient(server.url).object_info()
    sweeps = [
        read_sweep(text) for text in ("weight=0,1.5", "base_weight=1", "cfg=1", "start=0.2", "end=0.5", "photos=1,3")
    ]
    methods = [
        method.with_settings(name, method.title, {"model": HYPER_LORA} if "model" in method.slots else {})
        for name, method in shipped().items()
    ]
    evaluation = plan(Protocol(photos=2), read_persons(Path(base_command[1])), methods, sweeps)
    assert {task.labels["family"] for task in evaluation.tasks} == set(shipped())
    for task in evaluation.tasks:
        filled = task.filled([photo.name for photo in task.job.photos])
        assert misfits(filled, info) == [], task.labels["method"]
    spoiled = shipped()["instantid"].filled({"weight": 9, "sampler": "dpm"})
    (apply,) = [node["inputs"] for node in spoiled.values() if node["class_type"] == "ApplyInstantID"]
    apply["ip_weight"], apply["model"] = 1, ["9", 0]
    del apply["start_at"]
    assert misfits(spoiled, info) == [
        "ApplyInstantID lacks start_at",
        "ApplyInstantID.weight is 9",
        "ApplyInstantID.model is linked with output 0 of EmptyLatentImage",
        "ApplyInstantID has no ip_weight",
        "KSampler.sampler_name is 'dpm'",
    ]


def test_a_small_evaluation(server, base_command, tmp_path, caplog):
    out = tmp_path / "out"
    command = [*base_command, "--out", str(out), "--methods", "hyperlora-id", "--server", server.url]
    assert main(command) == 0, caplog.text
    with (out / "pictures.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 + 2 * 2 and {row["state"] for row in rows} == {"done"}
    for row in rows:
        assert (out / "pictures" / row["picture"]).is_file() and -1 <= float(row["clip_t"]) <= 1
        assert (row["held_out"] == "") == (row["person"] == "joe")
        assert (row["clip_i_edit"] == "") == row["method"].startswith("none")
    timings = [entry["timing"] for entry in ends(out)]
    assert [timing["cold"] for timing in timings] == [True, False, True, False, False, False]
    for timing in timings:
        assert timing["heard"] and timing["nodes"]["KSampler"] > 0
        assert ("CheckpointLoaderSimple" in timing["nodes"]) == timing["cold"]  # a cold start loads the checkpoint
    page = (out / "report.html").read_text()
    assert "HyperLoRA ID" in page and "of 2 people no difference" in page

    pictures = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert main([*command, "--no-draw"]) == 0
    assert main([*command, "--steps", "2"]) == 1 and "was begun with steps 1" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.png")} == pictures


@pytest.mark.slow
def test_all_methods_are_drawn_scored_and_reported_over_a_kill(server, trained, base_command, own, tmp_path):
    out = tmp_path / "out"
    command = [*base_command, "--out", str(out), "--server", server.url, "--method", str(own), "--photos", "2"]
    process, deadline = start(*command), time.monotonic() + 300
    while len(ends(out)) < 4:
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = len(ends(out))
    code, output = run(*command)
    assert code == 1, output  # one person has no trained LoRA
    for rival in RIVALS[:3]:
        assert f"{rival} is left out: on {server.url}, its nodes" in output
    assert "photomaker is left out" in output and "PhotoMakerLoader has no photomaker_model_name" in output
    assert f"{18 - before} pictures to draw, {before} are there already" in output
    queued = [entry["prompt_id"] for entry in ends(out, "queued")]
    assert len(queued) == len(set(queued)) and len({entry["job"] for entry in ends(out)}) == len(ends(out)) == 16
    assert len(queued) == 16  # what was queued before the kill was taken up, and not queued again
    assert {entry["person"] for entry in ends(out, "failed")} == {"joe"}
    assert all("lora_name" in entry["error"] for entry in ends(out, "failed"))

    with (out / "pictures.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 4 + 2 * 2
    by_place = {(row["method"], row["person"], row["name"]): row for row in rows}
    for person in ("barack", "joe"):
        for name in ("headshot", "hat"):
            row = by_place["hyperlora-id", person, name]
            assert row["state"] == "done" and (out / "pictures" / row["picture"]).is_file()
            assert -1 <= float(row["clip_t"]) <= 1 and float(row["clip_i_edit"]) <= 1
            assert (row["held_out"] == "") == (person == "joe")
    assert {by_place["trained-lora", "joe", name]["state"] for name in ("headshot", "hat")} == {"failed"}
    for method in ("hyperlora-full", "drawn-over"):
        described = {
            entry["person"]: entry for entry in ends(out) if (entry["method"], entry["name"]) == (method, "hat")
        }
        assert described["joe"]["prompt"] == PROTOCOL["prompts"][1]["text"]
        assert [len(described[person]["photos"]) for person in ("barack", "joe")] == [2, 1]
        own_method = read_method(out / "methods" / described["joe"]["drawn_by"])
        assert own_method.name.startswith(method) and described["joe"]["photos"][0]["sha256"]
        assert described["joe"]["host"]["comfyui"] and described["joe"]["host"]["pytorch"]
        fixed = {"hyperlora-full": {"model": HYPER_LORA}, "drawn-over": {}}[method]
        assert described["joe"]["settings"].items() >= {"steps": 1, "seed": 1, **fixed}.items()
    timings = [entry["timing"] for entry in ends(out) if entry["timing"] and entry["timing"]["heard"]]
    assert len(timings) >= 10 and all(timing["nodes"]["KSampler"] > 0 for timing in timings)
    assert any(timing["cold"] and "CheckpointLoaderSimple" in timing["nodes"] for timing in timings)
    page = (out / "report.html").read_text()
    assert "HyperLoRA Full" in page and "was left out" in page and "Trained LoRA: 2 pictures failed" in page

    lora = server.base / "models" / "loras" / "barack.safetensors"
    away = lora.rename(lora.with_name("away.safetensors"))
    try:
        code, output = run(*command)
    finally:
        away.rename(lora)
    assert code == 1 and "0 pictures to draw" in output, output
    page = (out / "report.html").read_text()
    assert "Trained-lora is not drawn any more: on http" in page and "no lora_name" in page
    with (out / "pictures.csv").open() as file:
        assert list(csv.DictReader(file)) == rows  # what was drawn before stays in the report


def test_what_cannot_be_evaluated_is_said_at_once(server, base_command, photos, tmp_path, caplog, capsys):
    out = str(tmp_path / "out")
    run_options = ("--out", out, "--server", server.url)
    for arguments, message in (
        ([*base_command, "--out", out, "--server", "http://127.0.0.1:9"], "no ComfyUI answers at http://127.0.0.1:9"),
        ([*base_command, *run_options, "--methods", "nobody"], "there is no method 'nobody'"),
        ([*base_command, *run_options, "--methods", "pulid"], "no method is left that draws a person"),
        ([*base_command, *run_options, "--set", "hyperlora-id.colour=1"], "has no slot 'colour'"),
        ([*base_command, *run_options, "--set", "weight=1"], "METHOD.SLOT=VALUE of one of the methods was expected"),
        ([*base_command, *run_options, "--against", "pulid"], "--against pulid"),
        ([*base_command, *run_options, "--sweep", "colour=1"], "'colour' cannot be swept"),
        (["evaluate", "--out", out], "needs PEOPLE and --clip and --faces"),
    ):
        assert main(arguments) == 1 and message in caplog.text, caplog.text
        caplog.clear()
    people = tmp_path / "people"
    people.mkdir()
    shutil.copy(photos["obama"], people)
    (people / "broken.jpg").write_bytes(b"no picture")
    Image.new("RGB", (80, 80), "gray").save(people / "empty.png")
    assert main(["evaluate", str(people), *base_command[2:], *run_options]) == 1
    for name, message in (("broken.jpg", "is no picture that can be read"), ("empty.png", "no face was found on")):
        assert any(message in line and name in line for line in caplog.text.splitlines()), caplog.text
    caplog.clear()
    (people / "empty.png").unlink()
    assert main(["evaluate", str(people), *base_command[2:], *run_options]) == 1
    drawn = [path.name for path in tmp_path.glob("out/pictures/*/*")]
    assert drawn and all("obama" in name or "none" in name for name in drawn), "of the one who has a photo that opens"
    assert main(["evaluate", "--list"]) == 0
    listed = capsys.readouterr().out
    assert all(rival in listed for rival in RIVALS)


@pytest.mark.slow
def test_every_slot_is_swept_as_pictures_and_as_curves(server, base_command, tmp_path, caplog):
    """Another Base weight, more photos, another CFG and an earlier end each change the picture."""
    out, sweeps = tmp_path / "out", {"base_weight": (0.0, 0.9), "photos": (1, 3), "cfg": (2,), "end": (0.5,)}
    line = [*base_command, "--out", str(out), "--server", server.url, "--methods", "hyperlora-full", "--photos", "1"]
    line += [f"--sweep={slot}={','.join(map(str, values))}" for slot, values in sweeps.items()]
    assert main(line) == 0, caplog.text
    drawn = {}
    for entry in ends(out):
        if entry["name"] == "hat" and entry["person"] == "barack":
            drawn[entry["method"]] = (out / "pictures" / entry["pictures"][0]).read_bytes()
    names = {f"hyperlora-full@{slot}={value:g}" for slot, values in sweeps.items() for value in values}
    assert drawn.keys() == ({"hyperlora-full"} | names) - {"hyperlora-full@photos=1"}  # which is as it is
    assert len({*drawn.values()}) == len(drawn)
    assert {entry["person"] for entry in ends(out) if "photos=3" in entry["method"]} == {"barack"}
    page = (out / "report.html").read_text()
    assert all(f"Sweep of {slot}" in page for slot in sweeps) and "over photos is of 1 of 2 people" in page


@pytest.mark.slow
def test_two_servers_share_the_work_and_one_may_die(server, trained, models, base_command, tmp_path):
    """A method that only one of them has is drawn there; HyperLoRA's start and end are swept."""
    out, second = tmp_path / "out", ComfyServer(tmp_path / "other", models)
    methods = ("--methods", "hyperlora-id,trained-lora", "--sweep", "weight=0.4,1.2", "--sweep", "start=0.5")
    methods += ("--set", "trained-lora.lora=barack.safetensors")
    with second:
        process = start(*base_command, "--out", str(out), "--server", server.url, "--server", second.url, *methods)
        deadline = time.monotonic() + 400
        while not {server.url, second.url} <= {entry["server"] for entry in ends(out)}:
            assert time.monotonic() < deadline and process.poll() is None, process.communicate()
            time.sleep(0.1)
        os.killpg(second.pid, signal.SIGKILL)
        output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    assert f"trained-lora is drawn by {server.url} alone: on {second.url}" in output and "is tried again" in output
    assert len({entry["job"] for entry in ends(out)}) == 2 + 7 * 4
    drawn_by = {(entry["family"], entry["server"]) for entry in ends(out)}
    assert drawn_by >= {("hyperlora-id", server.url), ("trained-lora", server.url)}
    assert ("trained-lora", second.url) not in drawn_by
    page = (out / "report.html").read_text()
    assert "Sweep of weight" in page and "Sweep of start" in page and "2 servers drew" in page
    with (out / "pictures.csv").open() as file:
        pictures = {
            (row["method"], row["person"], row["name"]): (out / "pictures" / row["picture"]).read_bytes()
            for row in csv.DictReader(file)
        }
    for person in ("barack", "joe"):
        assert pictures["hyperlora-id", person, "hat"] != pictures["hyperlora-id@start=0.5", person, "hat"]
