"""Every input of every node, given a value of a wrong type over the API: the node's error names the input.

ComfyUI compares the declared types of links alone: literals in place of a link pass, and so do nodes of the type "any".
"""

import pytest

from demo import workflows
from demo.server import PACK_NAME, ExecutionError, PromptRejectedError
from tests.host.conftest import failure

WIDGETS = ("INT", "FLOAT", "BOOLEAN", "STRING", "COMBO")
LONG = "a" * 100_000
NAMES = (LONG, "../x", "/etc/passwd", "a\0b", "\ud800", "%date:")
KINDS = ("nothing", "number", "text", "list", "dict", "tensor", "object", "class")
FIT = {"tensor": ("IMAGE", "MASK")}  # socket types that a value fits

Inputs = dict[str, tuple[str, dict, bool]]
"""Name in a prompt -> type, options, whether it is required."""


def inputs_of(info: dict) -> Inputs:
    by_name: Inputs = {}
    for group, inputs in info["input"].items():
        for name, (kind, *options) in inputs.items():
            details = options[0] if options else {}
            if kind == "COMFY_AUTOGROW_V3":
                template = details["template"]
                (socket,) = [spec for sockets in template["input"].values() for spec in sockets.values()]
                by_name[f"{name}.{template['prefix']}0"] = (socket[0], {}, template["min"] > 0)
            elif group != "hidden":
                by_name[name] = ("COMBO" if isinstance(kind, list) else kind, details, group == "required")
    return by_name


def default(kind: str, options: dict) -> object:
    if "default" in options:
        return options["default"]
    return options["options"][0] if kind == "COMBO" else {"INT": 1, "FLOAT": 1.0, "BOOLEAN": True, "STRING": ""}[kind]


@pytest.fixture(scope="module")
def ours(server) -> dict[str, Inputs]:
    """The inputs of each of our nodes, without nodes whose list of files is empty."""
    nodes = {n: info for n, info in server.object_info().items() if info["python_module"].endswith(PACK_NAME)}
    assert len(nodes) == 40
    by_node = {name: inputs_of(info) for name, info in nodes.items()}
    return {
        name: inputs
        for name, inputs in by_node.items()
        if all(kind != "COMBO" or options["options"] for kind, options, _ in inputs.values())
    }


def prompt_of(node: str, inputs: Inputs, sockets: object) -> workflows.Workflow:
    """A prompt of one node: the same value on all its sockets, defaults in its widgets."""
    values = {
        name: default(kind, options) if kind in WIDGETS else sockets for name, (kind, options, _) in inputs.items()
    }
    return {
        "2": {"class_type": node, "inputs": values},
        "3": {"class_type": "PreviewAny", "inputs": {"source": ["2", 0]}},
    }


def sockets_of(inputs: Inputs, kind: str) -> set[str]:
    """The sockets that the error has to name."""
    return {
        name.rpartition(".")[2]
        for name, (type_, _, required) in inputs.items()
        if type_ not in (*WIDGETS, *FIT.get(kind, ())) and (required or kind != "nothing")
    }


def check(error: ExecutionError, node: str, names: set[str]) -> None:
    assert error.node_type == node and error.exception_type.endswith("HyperLoRAError"), (node, error.message[:300])
    assert all(f"{name} was given " in error.message for name in names), (node, error.message)
    assert len(error.message) < 300 * len(names) + 100, (node, error.message[:1000])


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_belong_on_a_socket_is_named(server, ours, kind):
    for node, inputs in ours.items():
        names = sockets_of(inputs, kind)
        if names:
            prompt = prompt_of(node, inputs, ["1", 0])
            prompt["1"] = {"class_type": "TestAnything", "inputs": {"kind": kind}}
            check(failure(server, prompt), node, names)


@pytest.mark.parametrize(
    ("literal", "kind"),
    [("text", "text"), (5, "number"), (True, "number"), (None, "nothing"), ({"a": 1}, "dict"), ([5], "link")],
    ids=str,
)
def test_a_literal_in_place_of_a_link_is_named(server, ours, literal, kind):
    """ComfyUI refuses a list that is no link, and passes on anything else."""
    for node, inputs in ours.items():
        if names := sockets_of(inputs, kind):
            try:
                check(failure(server, prompt_of(node, inputs, literal)), node, names)
            except PromptRejectedError as error:
                assert kind == "link", (node, str(error))


def test_what_comes_from_a_wire_into_a_widget_is_named(server, small):
    """Nodes of the type "any" reach widgets too, past the limits and the choices that ComfyUI checks."""
    for name, kind, sentence in (
        ("order", "text", "order was given 'xxx"),
        ("order", "number", "order was given 7.5 where a text is needed"),
        ("index", "number", "index was given 7.5 where a whole number is needed"),
        ("index", "object", "index was given a _Foreign of "),
    ):
        workflow = small("portrait_steps", HyperLoRADetectFaces={name: ["90", 0]})
        workflow["90"] = {"class_type": "TestAnything", "inputs": {"kind": kind}}
        error = failure(server, workflow)
        assert error.node_type == "HyperLoRADetectFaces" and sentence in error.message, error.message


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:12])
def test_names_that_no_menu_offers_are_refused_without_a_traceback(server, ours, name):
    for node, inputs in ours.items():
        for combo, (kind, _, _) in inputs.items():
            if kind != "COMBO":
                continue
            prompt = prompt_of(node, inputs, "nothing of the kind")
            prompt["2"]["inputs"][combo] = name
            try:
                server.run(prompt)
            except PromptRejectedError as error:
                assert "not in" in str(error) or "value_not_in_list" in str(error), (node, combo, str(error)[:300])
            except ExecutionError as error:
                assert error.exception_type.endswith("HyperLoRAError"), (node, combo, error.message[:300])
                assert len(error.message) < 2000, (node, combo)
            else:
                assert combo in ("image_processor", "image_encoder"), (node, combo)  # any name is taken for them


TEXTS = (
    ("portrait_steps", "HyperLoRADetectFaces", "picked"),
    ("identity_save", "HyperLoRAMixPhotos", "weights"),
    ("people_blend", "HyperLoRABlocks", "more"),
    ("schedule", "HyperLoRASchedule", "points"),
)


@pytest.mark.parametrize(("template", "node", "text"), TEXTS, ids=lambda content: str(content))
def test_texts_that_cannot_be_read_are_quoted_in_part(server, small, template, node, text):
    for name in NAMES:
        workflow = small(template, **{node: {text: name}})
        if node == "HyperLoRASchedule":
            workflow[workflows.node(workflow, node)]["inputs"]["curve"] = "points"
        number = workflows.node(workflow, node)
        alone = {
            key: content
            for key, content in workflow.items()
            if content["class_type"] not in ("SaveImage", "HyperLoRASave")
        }
        alone["99"] = {"class_type": "PreviewAny", "inputs": {"source": [number, 0]}}
        if not name and text != "points":  # an empty text is no error there
            server.run(alone)
            continue
        error = failure(server, alone)
        assert error.node_type == node and error.exception_type.endswith("HyperLoRAError"), error.message[:300]
        assert len(error.message) < 1000, error.message[:1200]
