"""``hyperlora train`` as a user drives it: three stages on real photos, chained by their checkpoints."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file

from hyperlora_core import ClipVision, FaceAnalyzer, HyperLoRA, encode_id, find_references, generate, open_photo
from hyperlora_core.lora.value import LoRA
from hyperlora_core.training.command import CHECKPOINT, main
from hyperlora_core.training.config import TrainConfig
from hyperlora_core.training.states import states

SMALL = {
    "steps": 2,
    "samples-per-step": 2,
    "batch": 1,
    "resolution": 64,
    "mixed-precision": "no",
    "workers": 0,
    "save-every": 2,
    "optimization.warmup": 0,
    "shape.bases": 4,
    "shape.id-rank": 2,
    "shape.base-rank": 2,
    "shape.dim": 32,
    "shape.heads": 1,
    "shape.depth": 1,
    "shape.id-tokens": 4,
    "shape.clip-width": 64,
}


def given(stage, base_folder, training_set, clip_file, out, *more):
    named = SMALL | {"base": base_folder, "data": training_set, "clip": clip_file, "out": out}
    flags = [word for name, value in named.items() for word in (f"--{name}", str(value))]
    return [stage, "--cpu", *flags, *map(str, more)]


@pytest.fixture(scope="module")
def chained(tmp_path_factory, base_folder, training_set, clip_file):
    """The folders of three runs, each from the checkpoint of the last."""
    folder, start, outs = tmp_path_factory.mktemp("runs"), [], []
    for stage in ("base", "id_clip", "id_embed"):
        out = folder / stage
        grid = ["--sample-every", "2"] if stage == "id_clip" else ["--sample-every", "0"]
        assert main(given(stage, base_folder, training_set, clip_file, out, *grid, *start)) == 0
        start = ["--start", out / CHECKPOINT]
        outs.append(out)
    return outs


@pytest.mark.long
def test_what_three_stages_make_draws_a_person_through_the_same_core(chained, photos, face_pack, clip_file):
    network, clip = HyperLoRA.load(chained[-1] / CHECKPOINT), ClipVision.load(clip_file)
    analyzer = FaceAnalyzer.load(face_pack)
    assert network.config.has_base and network.encoders.clip_vision == clip.encoder
    assert network.encoders.face == analyzer.embedder
    with torch.inference_mode():
        references = find_references(analyzer, [open_photo(photos["obama"])])
        identity, _ = encode_id(network, clip, references)
        lora = generate(network, identity, id_weight=0.8)
    assert lora.rank == 2 and lora.is_finite and lora.norm > 0


def test_each_stage_leaves_what_is_not_its_own(chained):
    base, id_clip, id_embed = (HyperLoRA.load(out / CHECKPOINT).state_dict() for out in chained)
    for before, after, prefix in (
        (base, id_clip, "base_"),
        (id_clip, id_embed, "id_bases"),
        (id_clip, id_embed, "base_"),
    ):
        same = [name for name in before if name.startswith(prefix)]
        assert same and all(torch.equal(before[name], after[name]) for name in same)
    assert any(not torch.equal(base[name], id_clip[name]) for name in base if name.startswith("id_bases"))
    assert any(not torch.equal(id_clip[name], id_embed[name]) for name in base if ".attn2." in name)


def test_a_run_notes_what_it_was_told_and_draws_on_the_way(chained):
    told = TrainConfig.load(chained[1] / CHECKPOINT / "config.json")
    assert told.stage == "id_clip" and told.steps == 2 and told.start.endswith(CHECKPOINT)
    assert json.loads((chained[1] / "config.json").read_text())["stage"] == "id_clip"
    assert [path.name for path in (chained[1] / "grids").iterdir()] == ["step-000002.png"]
    assert list((chained[1] / "log").iterdir()), "TensorBoard's"


@pytest.mark.long
def test_a_run_at_its_end_stays_there(chained, base_folder, training_set, clip_file):
    more = ["--sample-every", "0"]
    before = (chained[0] / CHECKPOINT / "resampler.safetensors").read_bytes()
    assert main(given("base", base_folder, training_set, clip_file, chained[0], *more)) == 0
    assert (chained[0] / CHECKPOINT / "resampler.safetensors").read_bytes() == before
    shutil.rmtree(chained[0] / CHECKPOINT)  # as where it was killed after its last state, before it wrote this
    assert main(given("base", base_folder, training_set, clip_file, chained[0], *more)) == 0
    assert (chained[0] / CHECKPOINT / "resampler.safetensors").read_bytes() == before


@pytest.mark.long
@pytest.mark.parametrize("flag", ["--data", "--clip", "--start"])
def test_a_run_does_not_go_on_with_what_has_changed_under_its_name(
    chained, base_folder, training_set, clip_file, tmp_path, caplog, flag
):
    own = {"--data": tmp_path / "set", "--clip": tmp_path / "clip", "--start": tmp_path / "start"}
    shutil.copytree(training_set, own["--data"])
    shutil.copytree(clip_file, own["--clip"]) if clip_file.is_dir() else shutil.copy(clip_file, own["--clip"])
    shutil.copytree(chained[0] / CHECKPOINT, own["--start"])
    files = own["--data"], own["--clip"], tmp_path / "run", "--start", own["--start"], "--sample-every", "0"
    line = given("id_clip", base_folder, *files)
    assert main(line) == 0 == main(line)
    if flag == "--data":
        for file in own["--data"].glob("shard-000001.*"):
            file.unlink()
    elif flag == "--clip":
        weights = load_file(own["--clip"])
        save_file({name: value + 0.01 for name, value in weights.items()}, own["--clip"])
    else:
        shutil.rmtree(own["--start"])
        shutil.copytree(chained[1] / CHECKPOINT, own["--start"])
    assert main(line) == 1
    assert f"began with another {flag}, or with what it held then" in caplog.text


@pytest.mark.long
def test_a_stage_that_was_forgotten_is_said(base_folder, training_set, clip_file, tmp_path, caplog):
    assert main(given("id_clip", base_folder, training_set, clip_file, tmp_path / "run", "--sample-every", "0")) == 0
    assert "the Base bases of a fresh HyperLoRA are zero" in caplog.text


@pytest.mark.long
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (["--data", "/nowhere"], "/nowhere is no training set"),
        (["--clip", "/nowhere.safetensors"], "/nowhere.safetensors"),
        (["--base", "/nowhere/at/all"], "there is no base model /nowhere/at/all"),
        (["--resolution", "60"], "resolution is 60: a multiple of 16 was expected"),
        (["--start", "/nowhere"], "/nowhere"),
        (["--shape.id-embed-dim", "99"], "holds face embeddings of 512 numbers"),
        (["--shape.clip-width", "32"], "32"),
        (["--samples-per-step", "3", "--batch", "2"], "samples_per_step is 3, which 1 processes cannot take"),
        (["--also-train", "bases"], "there is no group 'bases'"),
        (["--stage", "id_embed"], "the recipe id_clip has the stage id_clip"),
        (["--scenarios.0.no-id", "--scenarios.1.no-id"], "trains the ID-LoRA, which acts in none of the scenarios"),
        (["--mixed-precision", "fp16"], "fp16 needs a GPU"),
        (["--plan", "--gpus", "0"], "gpus is 0"),
        (["--gpus", "4"], "--gpus and --samples-per-second are for --plan: to train on several GPUs"),
        (["--samples-per-second", "4"], "--gpus and --samples-per-second are for --plan"),
        (["--plan", "--samples-per-second", "0"], "samples_per_second is 0"),
        (["--plan", "--resolution", "1000"], "resolution is 1000: a multiple of 64"),
        (
            ["--plan", "--gpus", "1", "--base", "somebody/sdxl"],
            "a plan loads nothing, so it knows nothing of the UNet of somebody/sdxl",
        ),
    ],
)
def test_wrong_things_are_told(tmp_path, base_folder, training_set, clip_file, caplog, wrong, sentence):
    assert main(given("id_clip", base_folder, training_set, clip_file, tmp_path / "run", *wrong)) == 1
    assert sentence in caplog.text and "Traceback" not in caplog.text


def test_a_lora_is_no_base_model(tmp_path, training_set, clip_file, caplog):
    lora = LoRA.from_matrices([("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", *torch.ones(2, 1, 1))], 1)
    lora.save(tmp_path / "lora.safetensors")
    assert main(given("base", tmp_path / "lora.safetensors", training_set, clip_file, tmp_path / "run")) == 1
    assert "lora.safetensors is a LoRA in kohya's format, no base model" in caplog.text


@pytest.mark.long
@pytest.mark.parametrize("start", [False, True], ids=["fresh", "stage 1"])
def test_id_bases_that_stay_zero_are_refused(chained, base_folder, training_set, clip_file, tmp_path, caplog, start):
    more = ["--start", chained[0] / CHECKPOINT] if start else []
    assert main(given("id_embed", base_folder, training_set, clip_file, tmp_path / "run", *more)) == 1
    assert "nothing could be learned. Give --start what the stage id_clip made" in caplog.text
    trained = ["--also-train", "id_bases"]
    assert main(given("id_embed", base_folder, training_set, clip_file, tmp_path / "run", *more, *trained)) == 0


@pytest.mark.long
def test_what_lies_in_the_folder_of_a_run_is_nobody_elses(base_folder, training_set, clip_file, tmp_path, caplog):
    precious = tmp_path / "run" / CHECKPOINT / "precious.txt"
    precious.parent.mkdir(parents=True)
    precious.touch()
    assert main(given("base", base_folder, training_set, clip_file, tmp_path / "run")) == 1
    assert "holds something else than a run of training" in caplog.text and precious.exists()
    busy = tmp_path / "busy"
    busy.mkdir()
    held = FileLock(busy / ".lock")
    held.acquire()
    assert main(given("base", base_folder, training_set, clip_file, busy)) == 1
    assert "another training is at work" in caplog.text
    held.release()
    assert main(given("base", base_folder, training_set, clip_file, busy)) == 0


@pytest.mark.long
def test_a_shape_that_the_start_does_not_have_is_said(chained, base_folder, training_set, clip_file, tmp_path, caplog):
    start = ["--start", chained[0] / CHECKPOINT, "--sample-every", "0"]
    assert main(given("id_clip", base_folder, training_set, clip_file, tmp_path / "plain", *start)) == 0
    assert "settles the shape" not in caplog.text
    for name, wanted in (("bases", 5), ("base-rank", 3)):
        out = tmp_path / name
        assert main(given("id_clip", base_folder, training_set, clip_file, out, *start, f"--shape.{name}", wanted)) == 0
        assert "settles the shape" in caplog.text
        made = HyperLoRA.load(out / CHECKPOINT).config
        assert (made.id_resampler.out_dim, made.base_rank) == (4, 2)
        caplog.clear()


def test_an_interrupt_before_the_first_step_is_no_traceback(monkeypatch, tmp_path, caplog):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("hyperlora_core.training.command.accelerator_for", interrupted)
    assert main(given("base", "base", "set", "clip", tmp_path)) == 143
    assert "stopped before its first step" in caplog.text


@pytest.mark.slow
def test_it_draws_in_half_precision_and_saves_when_a_terminal_interrupts_all(
    base_folder, training_set, clip_file, tmp_path
):
    """Ctrl-C reaches the workers that read ahead, too."""
    more = ["--mixed-precision", "bf16", "--workers", "2", "--steps", "500", "--sample-every", "1"]
    line = [sys.executable, "-m", "hyperlora_core.training"]
    line += given("id_clip", base_folder, training_set, clip_file, tmp_path / "run", *more)
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(line, stdout=log, stderr=log, env=dict(os.environ), start_new_session=True)
    try:
        deadline = time.monotonic() + 200
        while not (tmp_path / "run" / "grids" / "step-000001.png").exists():
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(100) == 143, (tmp_path / "log").read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert states(tmp_path / "run") and "Traceback" not in (tmp_path / "log").read_text()
