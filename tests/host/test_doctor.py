"""The report for bug reports, over the API of a server that has every kind of wrong file."""

import re
from pathlib import Path

import pytest
import requests

from tests.support import wrong_files


@pytest.fixture(scope="module")
def report(server) -> dict:
    identities = server.base / "models" / "hyper_lora" / "identities"
    for folder in (identities, server.base / "output" / "loras"):
        folder.mkdir(parents=True, exist_ok=True)  # tests before may have saved there
        (folder / "anna_secretname.safetensors").touch()
    answer = requests.get(f"{server.url}/hyperlora/doctor", timeout=300)
    assert answer.status_code == 200
    return answer.json()


def test_it_tells_versions_device_settings_and_how_comfyui_was_started(report):
    page, text = report["page"], report["text"]
    assert page["Versions"]["ComfyUI"][0].count(".") == 2 and page["Versions"]["comfyui-frontend-package"]
    assert page["ComfyUI"]["device"] == ["cpu"] and "--cpu" in page["ComfyUI"]["started with"][0]
    assert re.search(r"\d+ MB, \d+ MB of it free", page["ComfyUI"]["memory"][0])
    assert page["ComfyUI"]["attention"][0].endswith("of comfy.ldm.modules.attention")
    assert "CPUExecutionProvider" in page["Faces"]["providers"][0]
    assert page["Settings"]["what finds faces"] == ["auto"]
    assert all(value in text for section in page.values() for lines in section.values() for value in lines)


def test_each_model_is_told_and_what_is_wrong_with_it(report):
    models = report["page"]["Models"]
    assert any(line.startswith("fingerprint") for line in models["hyper_lora/hyperlora_demo"])
    assert any(line.startswith("sha256") for line in models["insightface/antelopev2"])
    for row in wrong_files.CHECKPOINTS:
        lines = models.get(f"hyper_lora/{row.name}", [])
        assert not any(line.startswith("fingerprint") for line in lines), row.name
    assert "is a Git LFS pointer" in models["hyper_lora/lfs"][0]
    assert "is a web page, not a model" in models["clip_vision/wrong_page.safetensors"][0]
    assert "is still packed" in models["insightface/zip_beside"][0]
    assert "hyper_lora, misplaced" in models and "hyper_lora, missing" not in models


def test_no_person_and_no_path_is_told(report, server, models_with_faults, models):
    files = report["page"]["Kept by the user, not named here"]
    roots = [server.base / "models", models_with_faults, models]
    identities = {path.name for root in roots for path in (root / "hyper_lora" / "identities").rglob("*.safetensors")}
    loras = list((server.base / "output" / "loras").rglob("*.safetensors"))
    assert files["identities"] == [str(len(identities))] and files["LoRAs that were saved here"] == [str(len(loras))]
    assert identities and loras
    places = [server.base, models_with_faults, models, models.resolve(), Path.home()]
    for secret in ("anna_secretname", "person_00001_", "kohya.safetensors", *map(str, places)):
        assert secret not in report["text"].replace("~", ""), secret
