"""What goes wrong, over the API: the message says what and what to do, and the server goes on."""

import os
from pathlib import Path

import pytest

from demo import workflows
from tests.host.conftest import failure


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nan", "picture 1 of the batch holds NaN"),
        ("empty", r"a picture without a pixel was given: the batch's shape is (1, 0, 64, 3)"),
        ("no batch", r"a picture without a pixel was given: the batch's shape is (0, 64, 64, 3)"),
        ("channels", "got (1, 64, 64, 7)"),
    ],
)
def test_pictures_with_a_fault(server, small, fault, message):
    workflow = small("portrait_simple")
    photo = workflows.node(workflow, "LoadImage")
    workflow[photo] = {"class_type": "TestFaultyImage", "inputs": {"fault": fault}}
    error = failure(server, workflow)
    assert error.node_type == "HyperLoRAPortrait"
    assert message in error.message


def test_base_parts_asked_for_where_there_are_none(server, small):
    simple = small(
        "portrait_simple", HyperLoRALoadModel={"model": "without_base"}, HyperLoRAPortrait={"base_weight": 0.4}
    )
    assert "this HyperLoRA has no Base parts and makes an ID-LoRA only: set it to 0" in failure(server, simple).message
    steps = failure(server, small("portrait_steps_base", HyperLoRALoadModel={"model": "without_base"}))
    assert steps.node_type == "HyperLoRAEncodeBase"
    assert "this HyperLoRA (without_base) has no Base parts" in steps.message


def test_an_identity_of_another_checkpoint(server, small):
    workflow = small("portrait_steps")
    load = workflows.node(workflow, "HyperLoRALoadModel")
    workflow["81"] = {
        "class_type": "HyperLoRALoadModel",
        "inputs": workflow[load]["inputs"] | {"model": "without_base"},
    }
    workflow[workflows.node(workflow, "HyperLoRAGenerate")]["inputs"]["hyper_lora"] = ["81", 0]
    message = failure(server, workflow).message
    assert "this identity was made by the HyperLoRA 'hyperlora_demo' (" in message and "'without_base' (" in message


def test_best_match_without_a_reference(server, small):
    error = failure(server, small("portrait_steps", HyperLoRADetectFaces={"order": "best match"}))
    assert "the order 'best match' needs a reference" in error.message


def test_names_out_of_the_output_folder_are_refused(server, small):
    error = failure(server, small("portrait_steps", HyperLoRASave={"filename_prefix": "../../escaped"}))
    assert "outside the output folder" in error.message
    assert not Path(server.output, "..", "escaped_00001_.safetensors").exists()


def test_a_read_only_folder_is_named(server, small):
    folder = server.output / "loras" / "locked"
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        (folder / "person").touch()
        prefix = "locked/person/below_a_file"
    else:
        folder.chmod(0o500)
        prefix = "locked/person"
    error = failure(server, small("portrait_steps", HyperLoRASave={"filename_prefix": prefix}))
    assert "locked" in error.message
