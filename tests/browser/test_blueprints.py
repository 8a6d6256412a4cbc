"""The subgraph blueprints, as they are found in the list of nodes and run."""

import json

import pytest
import requests

from demo.server import PACK_NAME
from tests.browser.seen import search
from tools.blueprints import BLUEPRINTS, FOLDER

_OFFERED = """() => window.document.querySelector("#vue-app").__vue_app__.config.globalProperties.$pinia
    ._s.get("nodeDef").nodeDefs.filter((node) => node.category.startsWith("Subgraph Blueprints"))
    .map((node) => [node.display_name, node.category, node.description])"""

_JOIN = """(name) => {
    const { rootGraph } = window.app, made = (type) => {
        const node = window.LiteGraph.createNode(type);
        rootGraph.add(node);
        return node;
    };
    const portrait = rootGraph.nodes.find((node) => node.title === name), photo = made("LoadImage");
    const preview = made("PreviewImage");
    photo.pos = [portrait.pos[0] - 400, portrait.pos[1]];
    preview.pos = [portrait.pos[0] + 450, portrait.pos[1]];
    photo.widgets.find((widget) => widget.name === "image").value = "photo.png";
    photo.connect(0, portrait, portrait.inputs.findIndex((slot) => slot.type === "IMAGE"));
    portrait.connect(portrait.outputs.findIndex((slot) => slot.type === "IMAGE"), preview, 0);
    for (const [label, value] of [["width", 128], ["height", 128], ["steps", 1]]) {
        const widget = portrait.widgets.find((each) => (each.label ?? each.name) === label);
        widget.value = value;
    }
    return portrait.widgets.map((each) => each.label ?? each.name);
}"""


def test_there_is_a_file_for_each():
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == sorted(BLUEPRINTS)


@pytest.mark.parametrize(
    "name", [name if not place else pytest.param(name, marks=pytest.mark.slow) for place, name in enumerate(BLUEPRINTS)]
)
def test_a_blueprint_is_found_and_runs(either_page, server, name, tmp_path):
    page = either_page
    subgraphs = requests.get(f"{server.url}/global_subgraphs", timeout=30).json().values()
    assert [entry["name"] for entry in subgraphs if entry["info"]["node_pack"].endswith(PACK_NAME)].count(name) == 1
    offered = {widgets: [category, description] for widgets, category, description in page.page.evaluate(_OFFERED)}
    assert offered[name][0].startswith("Subgraph Blueprints") and "trigger words" in offered[name][1]

    page.load({"nodes": [], "links": [], "version": 0.4})
    field = search(page, name)
    page.page.get_by_text(name, exact=True).first.wait_for(timeout=10_000)
    field.press("Enter")
    page.page.wait_for_function("name => window.app.rootGraph.nodes.some((node) => node.title === name)", arg=name)
    page.page.mouse.click(1000, 800)
    widgets = page.page.evaluate(_JOIN, name)
    assert {"prompt", "negative_prompt", "id_weight", "width", "height", "seed", "ckpt_name", "hyper_lora"} <= set(
        widgets
    )

    prompt = page.prompt()
    values = json.dumps(prompt)
    assert '"width": 128' in values and "fcsks fxhks fhyks" in values
    end = page.queue()
    assert end["type"] == "execution_success", end
    page.picture(tmp_path / "blueprint.png")
    assert page.errors == []
