"""The subgraph blueprints: the two main ways as one node each, made out of the templates by ComfyUI's own front end.

``make templates`` runs it: ``subgraphs/X.json``, which ComfyUI offers under Subgraph Blueprints.
"""

import json
import logging
import re
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

from demo.server import PACK, ComfyServer
from demo.workflows import template
from tests.support.browser import FrontEnd, front_end

from .templates import photos_that_stand_for, real_names

FOLDER = PACK / "subgraphs"

# Name -> the template, what it is, and the node whose id_weight is shown outside.
BLUEPRINTS: dict[str, dict[str, str]] = {
    "HyperLoRA Portrait from a Photo": {
        "template": "portrait_simple",
        "description": "A photo of a person in, a portrait out. Begin the prompt with the trigger words.",
        "weighed": "HyperLoRA Portrait",
    },
    "HyperLoRA Portrait in Steps": {
        "template": "portrait_steps",
        "description": "A photo of a person in, a portrait and the person's LoRA out; inside are all single steps, "
        "with the face to be picked. Begin the prompt with the trigger words.",
        "weighed": "HyperLoRA Generate LoRA",
    },
}
# Widgets that are shown outside: the node, its widget, the name there.
_WIDGETS = [
    ("Prompt: begin with the trigger words", "text", "prompt"),
    ("Negative prompt", "text", "negative_prompt"),
    ("Size", "width", "width"),
    ("Size", "height", "height"),
    ("KSampler", "seed", "seed"),
    ("KSampler", "steps", "steps"),
    ("Load Checkpoint", "ckpt_name", "ckpt_name"),
    ("Load HyperLoRA", "model", "hyper_lora"),
]

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_CONVERT = """([name, description, widgets]) => {
    const { app } = window, graph = app.rootGraph;
    const outside = ["LoadImage", "SaveImage", "HyperLoRASave", "MarkdownNote"];
    const groups = graph.groups.filter((group) => !["Photos", "Portrait"].includes(group.title));
    const inner = graph.nodes.filter((node) => !outside.includes(node.type));
    const { subgraph, node } = graph.convertToSubgraph(new Set([...inner, ...groups]));
    for (const [title, widget, shown] of widgets) {
        const owner = subgraph.nodes.find((each) => each.title === title);
        const slot = owner.inputs.find((each) => each.widget?.name === widget);
        const link = slot.link == null ? null : subgraph.getLink(slot.link);
        let input = link && subgraph.inputs.find((each) => each.linkIds.includes(link.id));
        if (!input) {
            input = subgraph.addInput(shown, slot.type);
            input.connect(slot, owner);
        }
        subgraph.renameInput(input, shown);
    }
    subgraph.renameInput(subgraph.inputs.find((each) => each.type === "IMAGE"), "photo");
    subgraph.renameOutput(subgraph.outputs.find((each) => each.type === "IMAGE"), "image");
    node.title = subgraph.name = name;
    subgraph.description = description;
    node.setSize([340, node.computeSize()[1]]);
    const { nodes, subgraphs } = app.canvas._serializeItems([node]);
    return {
        revision: 0, last_node_id: node.id, last_link_id: 0, nodes, links: [], version: 0.4,
        definitions: { subgraphs },
        extra: {
            BlueprintDescription: description,
            BlueprintSearchAliases: ["hyperlora", "face", "identity", "portrait"],
        },
    };
}"""


def blueprint(page: FrontEnd, name: str) -> dict[str, Any]:
    """One blueprint as its file has it.

    Args:
        page: the front end, on a server that has what the templates name.
        name: of ``BLUEPRINTS``.
    """
    plan = BLUEPRINTS[name]
    page.load(template(plan["template"]))
    graph = page.page.evaluate(
        _CONVERT, [name, plan["description"], [(plan["weighed"], "id_weight", "id_weight"), *_WIDGETS]]
    )
    (subgraph,) = graph["definitions"]["subgraphs"]
    subgraph["category"] = "HyperLoRA"
    return json.loads(_with_lasting_ids(json.dumps(graph), name, subgraph["id"]))


def _with_lasting_ids(text: str, name: str, own: str) -> str:
    """A blueprint whose ids are the same whenever it is made: its own, and those that the front end drew by lot."""
    drawn = [uuid_text for uuid_text in dict.fromkeys(_UUID.findall(text)) if uuid_text != own]
    lasting = {uuid_text: uuid.uuid5(uuid.NAMESPACE_URL, f"hyperlora/{name}/{i}") for i, uuid_text in enumerate(drawn)}
    lasting[own] = uuid.uuid5(uuid.NAMESPACE_URL, f"hyperlora/{name}")
    return _UUID.sub(lambda uuid_text: str(lasting[uuid_text[0]]), text)


def main() -> int:
    """Make all blueprints."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        with ComfyServer(base, real_names(base / "real_names")) as server:
            photos_that_stand_for(server, base)
            for name in BLUEPRINTS:
                with front_end(server) as page:
                    content = blueprint(page, name)
                (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
                logging.info("subgraphs/%s.json", name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
