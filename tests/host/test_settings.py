"""The pack's settings, as ComfyUI's dialog saves them, on the server that has to honour them."""

from collections.abc import Iterator

import pytest
import requests

from demo import workflows
from demo.server import ComfyServer
from tests.support import models


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ComfyServer]:
    """A server of this file's own, because settings stay."""
    with ComfyServer(tmp_path_factory.mktemp("settings"), models.demo_models()) as server:
        yield server


@pytest.fixture
def choose(server):
    def choose(key: str, value: object) -> None:
        requests.post(f"{server.url}/settings/HyperLoRA.{key}", json=value, timeout=30).raise_for_status()

    yield choose
    for key, value in (("Faces.Engine", "auto"), ("Faces.OnNoFace", "error"), ("Licences.Accepted", False)):
        choose(key, value)


def found_by(server, workflow: workflows.Workflow) -> str:
    """What the badge of the node that finds faces says."""
    (text,) = server.run(workflow).outputs[workflows.node(workflow, "HyperLoRAPortrait")]["hyperlora_found_by"]
    return text


@pytest.mark.slow
def test_the_face_engine_is_taken_where_a_node_says_auto(server, choose, photos):
    plain = workflows.fill(
        models.with_demo_models(workflows.load("portrait_simple")),
        {
            "LoadImage": {"image": server.upload(photos["obama"])},
            "EmptyLatentImage": {"width": 64, "height": 64},
            "KSampler": {"steps": 1},
        },
    )
    assert found_by(server, plain) == "torch on cpu"
    choose("Faces.Engine", "onnxruntime")
    assert found_by(server, plain) == "onnxruntime on CPU"
    explicit = plain | {
        number: node | {"inputs": node["inputs"] | {"face_engine": "torch"}}
        for number, node in plain.items()
        if node["class_type"] == "HyperLoRALoadModel"
    }
    assert found_by(server, explicit) == "torch on cpu"
    choose("Faces.Engine", "a horse")
    assert found_by(server, plain) == "torch on cpu"
    assert "The setting HyperLoRA.Faces.Engine cannot be used (a horse): auto is" in server.log.read_text()


@pytest.mark.slow
def test_new_nodes_have_the_chosen_policy(server, choose):
    def default(node: str) -> str:
        return server.object_info(node)[node]["input"]["required"]["on_no_face"][1]["default"]

    assert default("HyperLoRADetectFaces") == default("HyperLoRAPortrait") == "error"
    choose("Faces.OnNoFace", "skip")
    assert default("HyperLoRADetectFaces") == default("HyperLoRAPortrait") == "skip"


def test_licences_accepted_once_are_asked_for_no_more(server, choose):
    def begin() -> requests.Response:
        return requests.post(f"{server.url}/hyperlora/download", json={"name": "clip"}, timeout=30)

    assert begin().status_code == 400
    choose("Licences.Accepted", True)
    assert begin().status_code == 202, "the hub is out of reach here, which is said later"
