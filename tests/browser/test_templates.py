"""The example workflows as the templates that artists open."""

import pytest
import requests
from PIL import Image

from demo import workflows
from demo.server import PACK_NAME
from demo.workflows import template
from tests.nodes.contract import NODES
from tools import templates

NAMES = sorted(path.stem for path in (workflows.FOLDER / "api").glob("*.json"))


def test_every_example_has_a_template_a_picture_and_an_api_copy():
    stems = {suffix: sorted(path.stem for path in workflows.FOLDER.glob(f"*.{suffix}")) for suffix in ("json", "jpg")}
    assert stems == {"json": NAMES, "jpg": NAMES}
    assert sorted(templates.NOTES) == NAMES


def test_templates_use_stock_nodes_and_ours_only(server):
    ours = {node for node, info in server.object_info().items() if info["python_module"].endswith(PACK_NAME)}
    stock = {node for node, info in server.object_info().items() if not info["python_module"].startswith("custom")}
    for name in NAMES:
        used = {node["type"] for node in template(name)["nodes"]} - {"MarkdownNote"}
        assert used <= ours | stock
    assert ours == set(NODES)


def test_the_server_offers_the_templates(server):
    assert sorted(requests.get(f"{server.url}/workflow_templates", timeout=30).json()[PACK_NAME]) == NAMES
    for name in NAMES:
        base = f"{server.url}/api/workflow_templates/{PACK_NAME}/{name}"
        assert requests.get(f"{base}.json", timeout=30).json() == template(name)
        assert requests.get(f"{base}.jpg", timeout=30).headers["Content-Type"] == "image/jpeg"
        with Image.open(workflows.FOLDER / f"{name}.jpg") as picture:
            assert picture.width == 960 and picture.height > 300


def test_each_template_loads_and_is_its_api_copy(page):
    for name in NAMES:
        page.load(template(name))
        prompt = page.prompt()
        for number in workflows.nodes(prompt, "PreviewAny"):  # older front ends send what it shows, too
            prompt[number]["inputs"] = {"source": prompt[number]["inputs"]["source"]}
        assert prompt == workflows.load(name), name
        assert page.missing(template(name)) == {"nodes": [], "models": [], "media": []}, name
        assert page.errors == [], name


def test_widget_values_survive_a_round_trip(page):
    page.load(template("portrait_steps_base"))
    changes = {
        "HyperLoRADetectFaces": {"order": "left to right", "index": 2, "on_no_face": "skip"},
        "HyperLoRAEncodeIdentity": {"remove_background": False, "grayscale": True},
        "HyperLoRAEncodeBase": {"crop": False, "scale_left": 1.5, "scale_bottom": 2.25, "safe_crop": False},
        "HyperLoRAGenerate": {"id_weight": 0.65, "base_weight": -0.3},
        "HyperLoRAApply": {"strength": 1.25},
        "HyperLoRASave": {"filename_prefix": "people/anna", "dtype": "fp32"},
        "HyperLoRALoadModel": {"face_engine": "torch", "dtype": "fp32", "face_model": "antelopev2"},
    }
    page.set_widgets(changes)
    expected = workflows.fill(workflows.load("portrait_steps_base"), changes)
    assert page.prompt() == expected
    saved = page.workflow()
    page.load(template("saved_lora"))
    page.load(saved)
    assert page.prompt() == expected
    assert page.errors == []


def test_a_template_whose_files_are_absent_says_which(page):
    if page.version < (1, 47):
        pytest.skip("how this front end shows what is absent is not read here")
    absent = template("portrait_simple")
    for node in absent["nodes"]:
        if node["type"] == "LoadImage":
            node["widgets_values"][0] = "nobody.png"
        if node["type"] == "CheckpointLoaderSimple":
            node["widgets_values"][0] = "nothing.safetensors"
    missing = page.missing(absent)
    assert missing["nodes"] == []
    assert "nobody.png" in str(missing["media"]) and "nothing.safetensors" in str(missing["models"])


# Sizes at which a template runs in seconds; with the real ones the demo models would take minutes.
SMALL = {
    "EmptyLatentImage": {"width": 128, "height": 128},
    "KSampler": {"steps": 1},
    "HyperLoRASampleUntilAlike": {"steps": 1, "seeds": 2, "enough": -1.0},
    "HyperLoRARefineFaces": {"steps": 1, "size": 512},
}


# The demo models draw noise, on which no face can be judged: what an artist is told then.
NO_FACE = {"sample_until_alike": "so none can be the best"}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_template_runs(either_page, name, tmp_path):
    page = either_page
    page.load(template(name))
    assert page.prompt() == workflows.load(name)
    page.set_widgets(SMALL)
    end = page.queue()
    if name in NO_FACE:
        assert NO_FACE[name] in end["detail"]["exception_message"]
    else:
        assert end["type"] == "execution_success", end["detail"]
    page.picture(tmp_path / f"{name}.png")
    assert page.errors == []
