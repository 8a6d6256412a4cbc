"""The documents' commands that need a server."""

import json
import shutil

import pytest
from PIL import Image

from demo import sdxl
from tests.documents import reading
from tests.documents.test_runs import block_with, typed
from tests.documents.workplace import workplace
from tests.evaluation.towers import clip_folder
from tests.support.models import HYPER_LORA

ADDRESS = "http://127.0.0.1:8188"


@pytest.fixture
def place(models, face_pack, photos, small, tmp_path):
    """The folder that a reader types in, with a small workflow in place of the template."""
    workplace(tmp_path, models, face_pack, photos)
    folder = tmp_path / "example_workflows" / "api"
    folder.mkdir(parents=True)
    (folder / "portrait_simple.json").write_text(json.dumps(small("portrait_simple")))
    return tmp_path


def test_the_client_of_the_document_draws_a_picture(server, place, monkeypatch):
    (block,) = [block for block in reading.blocks("docs/COMMAND_LINE.md", "python") if "ComfyClient(" in block.text]
    assert ADDRESS in block.text
    monkeypatch.chdir(place)
    exec(compile("\n" * block.line + block.text.replace(ADDRESS, server.url), block.document, "exec"), {})
    (drawn,) = place.glob("*.png")
    assert Image.open(drawn).size == (128, 128)


def test_the_batch_of_the_readme_draws_people_prompts_and_seeds(server, place):
    script = block_with("README.md", "hyperlora batch")
    more = " --server http://other:8188"
    assert block_with("docs/COMMAND_LINE.md", "hyperlora batch").replace(more, "") == script
    typed(script.replace(ADDRESS, server.url).replace("--seeds 1-4", "--seeds 1-2"), place)
    drawn = [json.loads(line) for line in (place / "portraits" / "manifest.jsonl").read_text().splitlines()]
    finished = {
        (entry["person"], entry["prompt"].partition(", ")[2], entry["seed"])
        for entry in drawn
        if entry["state"] == "done"
    }
    people, prompts = ("anna", "ben"), ("in a garden", "at sea")
    assert {(person, prompt.rpartition(", ")[2], seed) for person, prompt, seed in finished} == {
        (person, prompt, seed) for person in people for prompt in prompts for seed in (1, 2)
    }


@pytest.mark.slow
def test_the_evaluation_of_its_document_writes_a_report(server, place, models, face_pack):
    """By another protocol alone: two prompts of one step each, and the methods that can be had here."""
    folder = place / "ComfyUI" / "models"
    for target, name in (
        (clip_folder(place / "tower"), "open_clip/vit_large_patch14_clip_224.openai"),
        (face_pack, "insightface/models/antelopev2"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(target)
    shutil.copy(next(face_pack.glob("glintr100.onnx")), place / "judge.onnx")
    prompts = [
        {"name": "headshot", "text": "headshot portrait photo of a person", "group": "headshot"},
        {"name": "hat", "text": "portrait photo of a person wearing a straw hat", "group": "editable"},
    ]
    (place / "protocol.json").write_text(json.dumps({"prompts": prompts, "headshots": [1], "seeds": [1], "steps": 1}))
    script = block_with("docs/EVALUATION.md", "hyperlora evaluate").replace(ADDRESS, server.url)
    (fetches,) = [line for line in script.splitlines() if line.startswith("hyperlora download")]
    script = script.replace(f"{fetches}\n", "").replace("/path/to/ComfyUI", str(place / "ComfyUI"))
    script = script.replace("CurricularFace_Backbone.pth", "judge.onnx")
    script = script.replace("HelloWorldXL.safetensors", sdxl.CHECKPOINT).rstrip()
    script += f" --protocol protocol.json --size 64 --methods hyperlora-id,none --set hyperlora-id.model={HYPER_LORA}"
    typed(script, place)
    report = (place / "evaluation" / "report.md").read_text()
    assert "HyperLoRA ID" in report and "judge.onnx" in report
    assert (place / "evaluation" / "report.html").is_file()
