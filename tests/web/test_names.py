"""The names that web/ and nodes/ share: node ids, widgets, types, routes, events, results."""

import ast
import re
from collections.abc import Iterator

import pytest

from demo.server import PACK
from tests.nodes.contract import NODES, OPTIONS
from tools import locales

WEB = {path.name: path.read_text(encoding="utf-8") for path in (PACK / "web").glob("*.js")}
PYTHON = "\n".join(path.read_text(encoding="utf-8") for path in (PACK / "nodes").rglob("*.py"))

COMFYUI_WIDGETS = {"image", "ckpt_name", "unet_name"}
"""Widgets of ComfyUI's own nodes that web/ reads."""


def in_web(pattern: str) -> set[str]:
    """The first group of each match in web/."""
    return {match for text in WEB.values() for match in re.findall(pattern, text)}


def sockets(text: str) -> Iterator[tuple[str, str]]:
    """Name and type of each input or output of a contract."""
    for entry in re.split(r", (?=[\w.]+ [A-Z])", text):
        name, kind, *_ = entry.split(" ")
        yield name, kind


def inputs_of(node: str) -> dict[str, str]:
    return dict(sockets(NODES[node][0]))


def test_every_node_is_ours_by_its_id():
    assert all(node.startswith("HyperLoRA") for node in NODES)
    ids = in_web(r'comfyClass [!=]== "(\w+)"')
    assert ids and ids <= set(NODES)


def test_widgets_and_inputs_that_web_reads_are_there():
    names = in_web(r'\b(?:widgetOf|valueOf|inputOf)\(\w+, "(\w+)"\)')
    ours = {name for node in NODES for name in inputs_of(node)}
    assert len(names) > 8 and names - COMFYUI_WIDGETS <= ours


@pytest.mark.parametrize(
    ("widget", "nodes"),
    [
        ("picked", {"HyperLoRADetectFaces"}),
        ("identity_name", {"HyperLoRALoadIdentity"}),
        ("filename_prefix", {"HyperLoRASave", "HyperLoRASaveLoRA"}),
        ("name", {"HyperLoRASaveIdentity", "HyperLoRASaveSlider"}),
    ],
)
def test_a_widget_by_which_web_tells_nodes_is_theirs_alone(widget, nodes):
    assert in_web(rf'widgetOf\(node, "({widget})"\)')
    assert {node for node in NODES if widget in inputs_of(node)} == nodes


def test_widgets_of_the_face_picker_and_of_the_schedule():
    assert {"picked", "hyper_lora", "images"} <= inputs_of("HyperLoRADetectFaces").keys()
    assert {"face_model", "face_engine"} <= inputs_of("HyperLoRALoadModel").keys()
    widgets = re.findall(r'widgetOf\(node, "(\w+)"\)', WEB["schedule.js"])
    assert widgets == list(inputs_of("HyperLoRASchedule"))
    (points,) = re.findall(r'const POINTS = "(\w+)"', WEB["schedule.js"])
    assert OPTIONS["HyperLoRASchedule", "curve"][-1] == points


def test_the_hint_about_points_shows_the_default():
    (example,) = re.findall(r"write them as ([-\d.:, ]+)\"", WEB["schedule.js"])
    assert NODES["HyperLoRASchedule"][0].endswith(f"points STRING {example}")


def test_types_that_web_reads_are_those_of_nodes():
    types = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)*)"', WEB["graph.js"]))
    ours = {kind for contract in NODES.values() for text in contract if text for _, kind in sockets(text)}
    assert types and types <= {kind for joined in ours for kind in joined.split(",")}


def test_routes_are_those_that_nodes_answer():
    assert in_web(r'"(/hyperlora/[\w/]+)"') == set(re.findall(r'"(/hyperlora/[\w/]+)"', PYTHON))


def test_events_are_those_that_nodes_send():
    heard = in_web(r'addEventListener\(\s*"(hyperlora\.\w+)"')
    assert heard == set(re.findall(r'send_sync\(\s*"(hyperlora\.\w+)"', PYTHON))


def test_results_are_those_that_nodes_give():
    assert in_web(r"\.(hyperlora_\w+)") == set(re.findall(r'"(hyperlora_\w+)"', PYTHON))


def test_what_the_server_tells_about_the_pack():
    (fields,) = re.findall(r"export const about = \{(.*?)\};", WEB["about.js"])
    tree = ast.parse((PACK / "nodes" / "about.py").read_text(encoding="utf-8"))
    (answer,) = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    assert re.findall(r"(\w+): ", fields) == [key.value for key in answer.keys]


def test_settings_that_web_reads_are_listed():
    ids = in_web(r'setting\.get\("(HyperLoRA\.[\w.]+)"\)')
    assert ids and ids <= {setting["id"] for setting in locales.SETTINGS}


def test_commands_are_those_of_the_dialog_of_models():
    assert in_web(r'command\.execute\("([\w.]+)"\)') <= set(re.findall(r'\{ id: "([\w.]+)"', WEB["models.js"]))
