"""Faults over the API: the message says what is wrong and what to do, and the server goes on."""

import os
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from demo import workflows
from demo.server import ServerError
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


SAVES = {
    "HyperLoRASave": ("filename_prefix", {"dtype": "fp16"}),
    "HyperLoRASaveLoRA": ("filename_prefix", {}),
    "HyperLoRASaveIdentity": ("name", {"overwrite": False}),
}


def saving(small, node: str, name: str):
    """A workflow without any node that saves except the given one, with its name filled in."""
    workflow = small("portrait_steps")
    workflow["95"] = {"class_type": node, "inputs": {SAVES[node][0]: name, **SAVES[node][1]}}
    kind, of = "HyperLoRAGenerate", "lora"
    if node == "HyperLoRASaveIdentity":
        kind, of = "HyperLoRAEncodeIdentity", "identity"
    workflow["95"]["inputs"][of] = [workflows.node(workflow, kind), 0]
    savers = ("HyperLoRASave", "SaveImage")
    return {
        number: content for number, content in workflow.items() if number == "95" or content["class_type"] not in savers
    }


@pytest.mark.parametrize("node", SAVES)
def test_a_name_may_hold_the_date(server, small, node):
    """Over the API too, where ComfyUI's editor does not fill it in."""
    workflow = saving(small, node, "%date:yyyy-MM-dd%/anna_%width%_%year%_%date:d.M.yy%")
    before = datetime.now()
    (path,) = server.run(workflow).outputs["95"]["text"]
    days = {before, datetime.now()}  # two at midnight
    names = {f"{day:%Y-%m-%d}/anna_0_{day:%Y}_{day.day}.{day.month}.{day:%y}_00001_.safetensors" for day in days}
    assert "/".join(Path(path).parts[-2:]) in names and Path(path).is_file()


@pytest.mark.parametrize("node", SAVES)
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("../../escaped", "'../../escaped' would be saved outside the output folder "),
        ("/tmp/escaped", "'/tmp/escaped' would be saved outside the output folder "),
        ("a" * 100_000, "a name of 100000 bytes is too long, 1000 are the most"),
        ("a" * 300, "a name of 300 bytes is too long, 200 are the most"),
        ("a/" * 2000 + "anna", "a name of 4004 bytes is too long, 1000 are the most"),
        ("people/..", "'people/..' is no name that a file can have: end it with one, as in people/anna"),
        ("people/.anna", "a file named 'people/.anna' would be hidden"),
        ("anna\0", "is no name that a file can have"),
        ("anna\ud800", "is no name that a file can have"),
    ],
    ids=["above", "absolute", "longest", "long", "deep", "folder", "hidden", "zero", "no text"],
)
def test_a_name_that_no_file_can_have_is_named(server, small, node, name, sentence):
    error = failure(server, saving(small, node, name))
    assert error.node_type == node and sentence in error.message and len(error.message) < 600
    assert error.exception_type.endswith("HyperLoRAError")


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


def test_an_interrupt_interrupts(server, small, picture):
    workflow = small("portrait_simple")
    portrait = workflows.node(workflow, "HyperLoRAPortrait")
    photo = workflow[portrait]["inputs"]["images.image0"]
    workflow["82"] = {"class_type": "RepeatImageBatch", "inputs": {"image": photo, "amount": 200}}
    workflow[portrait]["inputs"]["images.image0"] = ["82", 0]
    workflow[portrait]["inputs"]["on_no_face"] = "bypass"
    detecting = threading.Event()

    def on_event(event):
        if event["type"] == "progress" and event["data"]["node"] == portrait and event["data"]["value"] > 2:
            detecting.set()

    def interrupt():
        if detecting.wait(120):
            server.interrupt()

    threading.Thread(target=interrupt, daemon=True).start()
    since = time.monotonic()
    with pytest.raises(ServerError, match="the prompt was interrupted"):
        server.run(workflow, on_event)
    assert detecting.is_set() and time.monotonic() - since < 60
    picture(small("portrait_simple"))
