"""The nodes' schemas hold to the contract with shared workflows (see ``contract``)."""

import inspect
import sys

import pytest

from tests.nodes.contract import GROWING, NODES, OPTIONS, RANGES
from tools import schemas


def inputs(info: dict) -> dict:
    """Inputs in the order of the node's sockets and widgets."""
    return info["input"]["required"] | info["input"].get("optional", {})


def test_every_node_is_in_the_contract(object_info):
    assert set(object_info) == set(NODES)


@pytest.mark.parametrize("node", NODES)
def test_sockets_and_widgets_are_as_shared_workflows_know_them(object_info, node):
    info = object_info[node]
    actual = ", ".join(
        " ".join(str(part) for part in (name, kind, details.get("default")) if part is not None)
        for name, (kind, details) in inputs(info).items()
    )
    outputs = ", ".join(f"{name} {kind}" for name, kind in zip(info["output_name"], info["output"], strict=True))
    assert (actual, outputs) == NODES[node]


@pytest.mark.parametrize(("node", "name"), OPTIONS)
def test_choices_are_as_shared_workflows_know_them(object_info, node, name):
    assert inputs(object_info[node])[name][1]["options"] == OPTIONS[node, name]


@pytest.mark.parametrize("node", RANGES)
def test_ranges_are_as_shared_workflows_need_them(object_info, node):
    widgets = inputs(object_info[node])
    actual = {name: tuple(widgets[name][1][key] for key in ("min", "max", "step")) for name in RANGES[node]}
    assert actual == RANGES[node]


def test_photos_are_named_as_api_prompts_name_them(object_info):
    for node in ("HyperLoRAPortrait", "HyperLoRADetectFaces"):
        template = inputs(object_info[node])["images"][1]["template"]
        assert (template["prefix"], template["min"], template["max"]) == ("image", 1, 16)


def test_growing_inputs_are_named_as_api_prompts_name_them(object_info):
    for node, names in GROWING.items():
        for name, prefix in names.items():
            template = inputs(object_info[node])[name][1]["template"]
            assert (template["prefix"], template["min"], template["max"]) == (prefix, 1, 16)


@pytest.mark.parametrize("node", NODES)
def test_a_default_stands_in_the_schema_alone(node):
    """ComfyUI passes every required input, and those that are optional are filled in by the schema's default."""
    node_class = schemas.node_classes()[node]
    parameters = inspect.signature(node_class.execute).parameters
    with_default = {
        entry.id for entry in node_class.define_schema().inputs if getattr(entry, "default", None) is not None
    }
    twice = {
        name for name in with_default & parameters.keys() if parameters[name].default is not inspect.Parameter.empty
    }
    # what a new node does about a photo without a face is a setting; an API prompt that does not say it gets an error
    assert twice <= ({"on_no_face"} if node in ("HyperLoRAFaceAttr", "HyperLoRAUniGenerateIDLoRA") else set())


def test_an_optional_input_that_a_prompt_lacks_has_the_schemas_default():
    schemas.node_classes()
    from comfy_api.latest import io

    executed = {}

    class Node(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            optional = io.Int.Input("optional", default=7, optional=True)
            return io.Schema(node_id="Node", inputs=[io.Int.Input("required", default=3), optional])

        @classmethod
        def execute(cls, required: int, optional: int):
            executed.update(required=required, optional=optional)

    node = sys.modules["hyperlora_pack.nodes.carried"].checked(Node)
    node.execute(required=1)
    assert executed == {"required": 1, "optional": 7}
    node.execute(required=1, optional=2)
    assert executed == {"required": 1, "optional": 2}
