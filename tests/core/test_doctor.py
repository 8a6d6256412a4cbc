"""``hyperlora doctor``: what it tells, and what it must not."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hyperlora_core import LoRA, cli
from hyperlora_core.doctor.summary import without_paths
from hyperlora_core.errors import DOCTOR, MissingPackageError
from tests.support import wrong_files

PERSON = "anna_secretname"
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def home(tmp_path, monkeypatch, golden_checkpoint) -> Path:
    """A user's home with a ComfyUI in it: whole models, broken ones, and files that people are named by."""
    home = tmp_path / "home" / "karl_privat"
    comfyui = home / "my pictures" / "ComfyUI"
    models = comfyui / "models"
    (comfyui / "custom_nodes").mkdir(parents=True)
    (comfyui / "main.py").touch()
    (comfyui / "comfyui_version.py").write_text('__version__ = "0.99.1"\n')
    shutil.copytree(golden_checkpoint, models / "hyper_lora" / "whole")
    spoil = wrong_files.with_part("resampler.safetensors", wrong_files.LFS)
    spoil(models / "hyper_lora" / "pointers", golden_checkpoint)
    (models / "hyper_lora" / f"{PERSON}.safetensors").write_bytes(wrong_files.made_lora())
    for folder in ("loras", "hyper_lora/identities"):
        (models / folder).mkdir(parents=True)
        for number in range(3):
            (models / folder / f"{PERSON}_{number}.safetensors").touch()
    (models / "hyper_lora" / "._whole.safetensors").touch()
    (models / "clip_vision").mkdir()
    (models / "clip_vision" / "page.safetensors").write_bytes(wrong_files.HTML)
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def doctor(home, capsys) -> Callable[..., str]:
    """What the command prints."""

    def run(*arguments: str) -> str:
        assert cli.main(["doctor", "--comfyui", str(home / "my pictures" / "ComfyUI"), *arguments]) == 0
        return capsys.readouterr().out

    return run


def test_versions_models_and_what_is_wrong_with_each_are_told(doctor):
    said = doctor()
    assert re.search(r"ComfyUI +0\.99\.1\n", said)
    assert re.search(rf"torch +{re.escape(torch.__version__.partition('+')[0])}", said)
    assert re.search(r"Python +\d+\.\d+\.\d+ on \w+", said) and re.search(r"memory +\d+ MB", said)
    assert "hyper_lora/whole is a HyperLoRA checkpoint" in said and re.search(r"fingerprint +[0-9a-f]{64}", said)
    assert "hyper_lora/pointers/resampler.safetensors is a Git LFS pointer, not the file itself" in said
    assert "clip_vision/page.safetensors is a web page, not a model" in said
    for kind, missing in (("insightface", True), ("clip_vision", True), ("hyper_lora", False)):
        assert bool(re.search(rf"{kind}, missing +nothing that can be used was found", said)) == missing
    assert "`hyperlora download faces`" in said


def test_no_person_and_no_path_is_told(home, doctor):
    said = doctor()
    assert re.search(r"identities +3\n", said) and re.search(r"LoRAs +3\n", said)
    assert "hyper_lora, misplaced" in said and "._whole" not in said
    for secret in (PERSON, "karl_privat", "my pictures", str(home)):
        assert secret not in said


def test_paths_are_told_where_they_are_asked_for_and_still_no_person(home, doctor):
    said = doctor("--paths")
    assert str(home / "my pictures" / "ComfyUI" / "models" / "hyper_lora" / "whole") in said
    assert PERSON not in said


def test_a_file_of_another_kind_is_told_and_does_not_count(home, doctor):
    models = home / "my pictures" / "ComfyUI" / "models" / "hyper_lora"
    shutil.rmtree(models / "whole")
    (models / "adapter.safetensors").write_bytes(wrong_files.tensors("image_proj.proj.weight"))
    said = doctor()
    assert "hyper_lora/adapter.safetensors is an IP-Adapter" in said
    assert re.search(r"hyper_lora, missing +nothing that can be used was found", said)


def test_it_is_json_too(doctor):
    page = json.loads(doctor("--json"))
    assert page["Versions"]["ComfyUI"] == ["0.99.1"] and page["Kept by the user, not named here"]["LoRAs"] == ["3"]


def test_packs_that_come_between_are_named_and_others_counted(home, doctor):
    nodes = home / "my pictures" / "ComfyUI" / "custom_nodes"
    for name, source in {
        "other_hyperlora/nodes.py": 'NODE_CLASS_MAPPINGS = {\n    "HyperLoRAConfig": object,\n}',
        "an_adapter/deep/patch.py": "model.set_model_attn2_replace(patch, 'input', 4)",
        "harmless/__init__.py": "NODE_CLASS_MAPPINGS = {'Harmless': object}",
        "harmless/.venv/torch_like.py": "model.set_model_attn2_replace",
        "switched_off.disabled/nodes.py": "model.set_model_attn2_replace",
    }.items():
        (nodes / name).parent.mkdir(parents=True)
        (nodes / name).write_text(source)
    (nodes / "gone").symlink_to(nodes / "nowhere")
    said = doctor()
    assert re.search(r"an_adapter +patches the UNet's attention\n", said)
    assert re.search(r"other_hyperlora +answers to HyperLoRA's node ids\n", said)
    assert "3 beside this one; by their sources 2 may come between" in said
    assert "harmless" not in said and "switched_off" not in said


@pytest.mark.long
def test_an_onnxruntime_that_is_half_installed_is_named(home, tmp_path):
    """What `pip uninstall onnxruntime` leaves where onnxruntime-gpu was put over it."""
    about = tmp_path / "site" / "onnxruntime_gpu-1.99.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.99.0\n")
    empty = "import sys, types\nsys.modules['onnxruntime'] = types.ModuleType('onnxruntime')\n"
    (tmp_path / "site" / "sitecustomize.py").write_text(empty)
    command = [sys.executable, "-m", "hyperlora_core.cli", "doctor", "--comfyui", str(home / "my pictures" / "ComfyUI")]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert re.search(r"onnxruntime-gpu +1\.99\.0\n", ended.stdout) and ended.stderr == ""
    assert "onnxruntime is half installed: its folder is there and empty" in ended.stdout
    assert "(pip has onnxruntime 1" in ended.stdout and "pip uninstall -y onnxruntime onnxruntime-gpu" in ended.stdout


def test_a_folder_that_is_none_is_named(tmp_path, caplog):
    assert cli.main(["doctor", "--comfyui", str(tmp_path)]) == 1
    assert cli.main(["doctor", "--models", str(tmp_path / "nowhere")]) == 1
    assert "is no ComfyUI: it lacks main.py" in caplog.text and "nowhere is no folder" in caplog.text


def test_a_path_below_a_home_is_cut_whatever_it_is_of(tmp_path):
    lines = {
        "lies in /home/karl/secret/place/x.bin, as": "lies in ~/…, as",
        r"C:\Users\Karl Maier\AI\my models: is": r"~\…: is",
        "/Users/karl: no": "~: no",
        "/data/ComfyUI/models/a.onnx": "ComfyUI/models/a.onnx",
    }
    page = without_paths({"A": {"b": list(lines)}}, {Path("/data/ComfyUI"): "ComfyUI"})
    assert page["A"]["b"] == list(lines.values())


def test_errors_about_the_environment_point_to_it():
    for text in ("this needs scipy: pip install scipy", "it is the wrong build."):
        error = MissingPackageError(text)
        said = f"{text.rstrip('.')}. {DOCTOR}"
        assert str(error) == said == str(pickle.loads(pickle.dumps(error)))


def test_a_lora_is_personal_whatever_made_it():
    from hyperlora_core.files import kinds

    matrix = torch.ones(4, 4)
    lora = LoRA.from_matrices([("mid_block.attentions.0.transformer_blocks.0.attn1.to_q", matrix, matrix)], alpha=4.0)
    assert kinds.recognise_names({key: tuple(value.shape) for key, value in lora.items()}).is_personal
    assert kinds.IDENTITY.is_personal and kinds.SLIDER.is_personal and not kinds.HYPERLORA.is_personal
