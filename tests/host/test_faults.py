"""What goes wrong, over the API: the message says what and what to do, and the server goes on."""

import contextlib
import os
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from demo import workflows
from demo.server import ComfyServer, ExecutionError, PromptRejectedError, ServerError


@pytest.fixture(scope="module")
def blank(server, tmp_path_factory) -> str:
    """A picture without a face."""
    path = tmp_path_factory.mktemp("blank") / "blank.png"
    Image.new("RGB", (200, 150), "gray").save(path)
    return server.upload(path)


def failure(server: ComfyServer, workflow: workflows.Workflow) -> ExecutionError:
    with pytest.raises(ExecutionError) as caught:
        server.run(workflow)
    return caught.value


def with_second_photo(workflow: workflows.Workflow, node_id: str, image: str) -> workflows.Workflow:
    workflow["80"] = {"class_type": "LoadImage", "inputs": {"image": image}}
    workflow[workflows.node(workflow, node_id)]["inputs"]["images.image1"] = ["80", 0]
    return workflow


@pytest.mark.parametrize("name", ["portrait_simple", "portrait_steps"])
def test_a_photo_without_a_face_is_named(server, small, blank, name):
    node = "HyperLoRAPortrait" if name == "portrait_simple" else "HyperLoRADetectFaces"
    error = failure(server, with_second_photo(small(name), node, blank))
    assert error.node_type == node
    assert error.message.startswith("photo 2 of 2: no face was found. Use a photo that shows the face")


@pytest.mark.parametrize("name", ["portrait_simple", "portrait_steps"])
def test_a_photo_without_a_face_is_skipped_on_request(server, small, blank, picture, name):
    node = "HyperLoRAPortrait" if name == "portrait_simple" else "HyperLoRADetectFaces"
    skipping = small(name, **{node: {"on_no_face": "skip"}})
    alone = picture(skipping)
    assert (picture(with_second_photo(skipping, node, blank)) == alone).all()


def test_skipping_with_nothing_left(server, small, blank):
    workflow = small("portrait_simple", HyperLoRAPortrait={"on_no_face": "skip"}, LoadImage={"image": blank})
    error = failure(server, workflow)
    assert "no face was found in any of the 1 photos, so none is left" in error.message


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


def test_a_base_model_that_does_not_fit(server, small):
    error = failure(server, small("portrait_simple", HyperLoRALoadModel={"model": "for_another_base"}))
    assert "this LoRA does not fit the base model: " in error.message
    assert " of its 120 targets fit Segmind Vega (down_blocks.1.attentions.7" in error.message


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


@pytest.mark.parametrize(
    ("pack", "message"),
    [
        ("corrupt", "glintr100.onnx cannot be read"),
        ("incomplete", "lack 106 landmarks (antelopev2: 2d106det.onnx)"),
    ],
)
def test_face_models_that_are_broken(server, small, pack, message):
    error = failure(server, small("portrait_simple", HyperLoRALoadModel={"face_model": pack}))
    assert error.node_type == "HyperLoRAPortrait"
    assert message in error.message


def test_face_models_nested_in_their_own_folder_are_found(picture, small):
    nested = picture(small("portrait_simple", HyperLoRALoadModel={"face_model": "nested/nested"}))
    assert (nested == picture(small("portrait_simple"))).all()


def test_a_provider_that_is_not_there(server, small):
    error = failure(server, small("portrait_simple", HyperLoRALoadModel={"provider": "CUDA"}))
    assert "the provider CUDA was asked for" in error.message
    assert "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu" in error.message


def test_a_model_that_is_not_there_is_refused_before_anything_runs(server, small):
    with pytest.raises(PromptRejectedError, match="sdxl_hyper_id_lora_v1_fidelity"):
        server.run(small("portrait_simple", HyperLoRALoadModel={"model": "sdxl_hyper_id_lora_v1_fidelity"}))


def test_a_face_that_is_not_there(server, small):
    error = failure(server, small("portrait_steps", HyperLoRADetectFaces={"index": 3}))
    assert "face 3 was asked for, but only 1 found" in error.message
    error = failure(server, small("portrait_steps", HyperLoRADetectFaces={"order": "best match"}))
    assert "the order 'best match' needs a reference" in error.message


def test_an_interrupt_interrupts(server, small, picture):
    workflow = small("portrait_simple")
    portrait = workflows.node(workflow, "HyperLoRAPortrait")
    photo = workflow[portrait]["inputs"]["images.image0"]
    workflow["82"] = {"class_type": "RepeatImageBatch", "inputs": {"image": photo, "amount": 200}}
    workflow[portrait]["inputs"]["images.image0"] = ["82", 0]
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


@pytest.fixture(scope="module")
def server_without(models_with_faults, photos, tmp_path_factory):
    """A ComfyUI in which packages are not installed; it has the photo of the workflows."""
    with contextlib.ExitStack() as servers:

        def start(*packages: str) -> ComfyServer:
            blocker = tmp_path_factory.mktemp("blocker")
            names = " = ".join(f"sys.modules[{name!r}]" for name in packages)
            (blocker / "sitecustomize.py").write_text(f"import sys\n{names} = None\n")
            base, environment = tmp_path_factory.mktemp("bare"), {"PYTHONPATH": str(blocker)}
            server = servers.enter_context(ComfyServer(base, models_with_faults, environment=environment))
            server.upload(photos["obama"])
            return server

        yield start


def test_without_its_packages_the_pack_loads_and_the_node_that_needs_one_says_so(server_without, small):
    server = server_without("insightface", "open_clip")
    log = server.log.read_text()
    assert "ComfyUI-HyperLoRA" in log and "IMPORT FAILED" not in log
    assert sum(name.startswith("HyperLoRA") for name in server.object_info()) == 8
    error = failure(server, small("portrait_steps"))
    assert error.node_type == "HyperLoRADetectFaces"
    assert "finding faces needs insightface" in error.message
    assert "pip install 'insightface>=2.1,<3'" in error.message


def test_without_open_clip_faces_are_found_and_encoding_says_so(server_without, small):
    server = server_without("open_clip")
    ran = []
    with pytest.raises(ExecutionError) as caught:
        server.run(small("portrait_steps"), lambda event: ran.append((event["type"], event["data"].get("node"))))
    assert ("executed", workflows.node(small("portrait_steps"), "HyperLoRADetectFaces")) in ran
    assert caught.value.node_type == "HyperLoRAEncodeIdentity"
    assert "open_clip, which runs CLIP, cannot be imported" in caught.value.message
    assert 'pip install "open_clip_torch>=3.3,<4"' in caught.value.message


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
