"""The fault table: what users of ten identity packs complain of, tested on the real server.

Every numbered complaint has at least one test.
"""

import io
import json
import re
import time
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from demo import workflows
from demo.server import PACK_NAME, PromptRejectedError
from tests.host.conftest import failure, forget
from tests.host.public_pack import uni
from tests.nodes.contract import NODES

COMPLAINTS = 23
ROWS: dict[int, str] = {}


def complaint(number: int, text: str) -> Callable:
    """Mark a test as the row of a complaint in the table."""

    def mark(test):
        ROWS.setdefault(number, text)
        return test

    return mark


def batch(workflow: workflows.Workflow, node_id: str, images: list[str], slot: str = "images.image0") -> None:
    """Give a node a batch of photos, as frames of an animation come."""
    previous = None
    for i, name in enumerate(images):
        workflow[f"9{i}"] = {"class_type": "LoadImage", "inputs": {"image": name}}
        link = [f"9{i}", 0]
        if previous is not None:
            number = f"8{i}"
            workflow[number] = {"class_type": "ImageBatch", "inputs": {"image1": previous, "image2": link}}
            link = [number, 0]
        previous = link
    workflow[workflows.node(workflow, node_id)]["inputs"][slot] = previous


@pytest.fixture(scope="module")
def blank(server, tmp_path_factory) -> str:
    """A picture without a face."""
    path = tmp_path_factory.mktemp("blank") / "blank.png"
    Image.new("RGB", (200, 150), "gray").save(path)
    return server.upload(path)


@complaint(1, "a missing insightface kills the whole pack")
@complaint(6, "downloads into hidden caches, and fails offline")
def test_without_insightface_faces_are_found_and_nothing_is_downloaded(bare_server, small):
    server, home = bare_server
    log = server.log.read_text()
    assert PACK_NAME in log and "IMPORT FAILED" not in log
    ours = {name for name, info in server.object_info().items() if info["python_module"].endswith(PACK_NAME)}
    assert ours == set(NODES)
    workflow = small("portrait_steps", HyperLoRALoadModel={"model": "face_alone"})
    outputs = server.run(workflow).outputs[workflows.node(workflow, "HyperLoRADetectFaces")]
    assert outputs["hyperlora_found_by"] == ["torch on cpu"] and len(outputs["hyperlora_faces"][0]["faces"]) == 1
    assert not [path for path in home.rglob("*") if path.suffix in (".onnx", ".zip", ".safetensors", ".bin")]


def test_one_encoder_alone_runs_without_the_other(bare_server, plain):
    """A checkpoint that reads face embeddings alone works without CLIP."""
    bare, _ = bare_server
    workflow = uni(plain, "face_alone", encoder_types="arcface")
    outputs = bare.run(workflow).outputs[workflows.node(workflow, "HyperLoRAUniGenerateIDLoRA")]
    assert outputs["hyperlora_found_by"] == ["torch on cpu"] and "remarks" not in outputs


@complaint(2, "'InsightFace must be provided': wires for every part of the stack")
def test_one_loader_brings_the_whole_stack(server, small, picture):
    simple = small("portrait_simple")
    ours = [node["class_type"] for node in simple.values() if node["class_type"].startswith("HyperLoRA")]
    assert sorted(ours) == ["HyperLoRALoadModel", "HyperLoRAPortrait"]
    picture(simple)


@complaint(3, "assert 'detection' in self.models: a nested or incomplete antelopev2")
def test_a_nested_pack_works_and_what_an_incomplete_one_lacks_is_listed(server, small, picture):
    nested = picture(small("portrait_simple", HyperLoRALoadModel={"face_model": "nested"}))
    assert (nested == picture(small("portrait_simple"))).all()
    error = failure(server, small("portrait_simple", HyperLoRALoadModel={"face_model": "incomplete"}))
    assert (
        "lack 106 landmarks (antelopev2: 2d106det.onnx); found: glintr100.onnx, scrfd_10g_bnkps.onnx" in error.message
    )


@complaint(4, "model not found, whatever it is named and wherever it lies")
def test_the_folders_that_were_searched_are_listed(bare_server, small):
    server, _ = bare_server
    error = failure(server, small("portrait_simple"))
    assert error.node_type == "HyperLoRALoadModel"
    assert "no CLIP vision model of width 64 was found. Put its .safetensors file into one of: " in error.message
    assert str(server.base / "models" / "clip_vision") in error.message
    assert "Found there: somebodys_clip.safetensors (no CLIP vision model)" in error.message
    with pytest.raises(PromptRejectedError, match="sdxl_hyper_id_lora_v1_fidelity"):
        server.run(small("portrait_simple", HyperLoRALoadModel={"model": "sdxl_hyper_id_lora_v1_fidelity"}))


@complaint(5, "a missing config, an LFS stub, a corrupt file")
def test_every_file_is_looked_at_before_it_is_used(server, small):
    """``test_wrong_files.py`` has each of them; all fail in the node that loads the model, before any sampling."""
    for name in ("without_json", "lfs", "cut_short"):
        since = time.monotonic()
        error = failure(server, small("portrait_simple", HyperLoRALoadModel={"model": name}))
        assert error.node_type == "HyperLoRALoadModel" and time.monotonic() - since < 20


@complaint(7, "no face: torch.cat of an empty list, or silence")
@pytest.mark.parametrize("name", ["portrait_simple", "portrait_steps"])
def test_a_photo_without_a_face(server, small, picture, uploaded, blank, name):
    node = "HyperLoRAPortrait" if name == "portrait_simple" else "HyperLoRADetectFaces"

    def workflow(policy, *images):
        filled = small(name, **{node: {"on_no_face": policy}})
        batch(filled, node, list(images))
        return filled

    error = failure(server, workflow("error", uploaded["obama"], blank))
    assert error.node_type == node
    assert error.message.startswith("photo 2 of 2: no face was found. Use a photo that shows the face")
    alone = picture(workflow("error", uploaded["obama"]))
    assert (picture(workflow("skip", uploaded["obama"], blank)) == alone).all()
    assert (
        "the face was found in none of the 1 photos, so none is left"
        in failure(server, workflow("skip", blank)).message
    )


@complaint(7, "no face: torch.cat of an empty list, or silence")
@pytest.mark.parametrize("name", ["portrait_simple", "portrait_steps"])
def test_bypass_lets_the_model_through_and_says_so(server, small, picture, uploaded, blank, name):
    node = "HyperLoRAPortrait" if name == "portrait_simple" else "HyperLoRADetectFaces"
    bypassed = small(name, **{node: {"on_no_face": "bypass"}, "LoadImage": {"image": blank}})
    plain = small("portrait_simple", HyperLoRAPortrait={"id_weight": 0.0})
    result = server.run(bypassed)
    (image,) = result.outputs[workflows.node(bypassed, "SaveImage")]["images"]
    pixels = np.asarray(Image.open(io.BytesIO(server.view(image))).convert("RGB"))
    assert (pixels == picture(plain)).all()
    assert result.outputs[workflows.node(bypassed, node)]["remarks"] == [
        "left out photo 1 of 1: no face was found",
        "the face was found in none of the 1 photos, so none is left: the model stays as it is",
    ]
    for save in workflows.nodes(bypassed, "HyperLoRASave"):
        (remark,) = result.outputs[save]["remarks"]
        assert remark.startswith("nothing was saved: this LoRA is empty")


@complaint(8, "one animation frame without a face aborts everything")
def test_a_frame_without_a_face_is_left_out_by_number(server, small, uploaded, blank, photos, tmp_path):
    with Image.open(photos["obama"]) as photo:
        photo.resize((300, 400)).save(tmp_path / "frame.png")
    Image.new("RGB", (300, 400)).save(tmp_path / "black.png")
    frame, black = server.upload(tmp_path / "frame.png"), server.upload(tmp_path / "black.png")
    workflow = small("portrait_simple", HyperLoRAPortrait={"on_no_face": "skip"})
    batch(workflow, "HyperLoRAPortrait", [frame, black, frame])
    result = server.run(workflow)
    output = result.outputs[workflows.node(workflow, "HyperLoRAPortrait")]
    assert len(output["images"]) == 2
    assert output["remarks"] == ["left out photo 2 of 3: no face was found"]


@complaint(9, "the wrong face of a group photo")
def test_the_face_is_chosen_and_one_that_is_not_there_is_named(server, small):
    error = failure(server, small("portrait_steps", "group", HyperLoRADetectFaces={"index": 9}))
    assert "photo 1 of 1: face 9 was asked for, but only 6 found: the first is 0" in error.message
    crops = []
    for index in (0, 5):
        choice = {"order": "left to right", "index": index}
        workflow = small("portrait_steps", "group", HyperLoRADetectFaces=choice)
        crops.append(server.run(workflow).outputs[workflows.node(workflow, "HyperLoRAEncodeIdentity")]["images"][0])
    assert server.view(crops[0]) != server.view(crops[1])


@complaint(10, "two people merge into one")
def test_photos_of_two_people_given_as_one_are_remarked_upon(server, small, uploaded):
    workflow = small("portrait_simple")
    inputs = workflow[workflows.node(workflow, "HyperLoRAPortrait")]["inputs"]
    workflow["80"] = {"class_type": "LoadImage", "inputs": {"image": uploaded["biden"]}}
    inputs["images.image1"] = ["80", 0]
    (remark,) = server.run(workflow).outputs[workflows.node(workflow, "HyperLoRAPortrait")]["remarks"]
    assert re.fullmatch(r"photo 1 and photo 2 may show two people: their likeness is -?0\.\d\d, of at most 1", remark)
    workflow["80"]["inputs"]["image"] = uploaded["obama2"]
    assert "remarks" not in server.run(workflow).outputs[workflows.node(workflow, "HyperLoRAPortrait")]


@complaint(11, "the LoRA changes the whole picture, not the face alone")
def test_a_late_start_keeps_the_composition(small, picture, uploaded):
    """With ComfyUI's own nodes: the first steps on the base model, the last on the person's."""
    workflow = small("portrait_simple", KSampler={"steps": 4})
    full = picture(workflow)
    base = picture(small("portrait_simple", KSampler={"steps": 4}, HyperLoRAPortrait={"id_weight": 0.0}))
    sampler = workflows.node(workflow, "KSampler")
    sampler_inputs = dict(workflow[sampler]["inputs"])
    shared = {key: sampler_inputs[key] for key in ("steps", "cfg", "sampler_name", "scheduler", "positive", "negative")}
    portrait = workflow[workflows.node(workflow, "HyperLoRAPortrait")]["inputs"]

    def stage(model, latent, start, end, noise):
        turns = {"add_noise": noise, "return_with_leftover_noise": "enable" if end < 4 else "disable"}
        steps = {"start_at_step": start, "end_at_step": end, "noise_seed": sampler_inputs["seed"]}
        inputs = shared | turns | steps | {"model": model, "latent_image": latent}
        return {"class_type": "KSamplerAdvanced", "inputs": inputs}

    workflow["70"] = stage(portrait["model"], sampler_inputs["latent_image"], 0, 3, "enable")
    workflow[sampler] = stage(sampler_inputs["model"], ["70", 0], 3, 4, "disable")
    late = picture(workflow)

    def far(pixels):
        return np.abs(pixels.astype(float) - base).mean()

    assert 0 < far(late) < far(full)


@complaint(12, "memory that is never freed")
def test_comfyui_frees_all_that_we_loaded(server, small):
    ours = {"IDProjector", "Resampler", "Bases", "ClipTower"}
    look = {"class_type": "TestLoadedModels", "inputs": {"nonce": 0}}
    workflow = small("portrait_simple")
    # Within the run, when the picture is there: older releases forget a run's models with the next prompt.
    size = {"class_type": "GetImageSize", "inputs": {"image": [workflows.node(workflow, "VAEDecode"), 0]}}
    workflow |= {"size": size, "look": look | {"inputs": {"nonce": ["size", 0]}}}
    forget(server)
    assert ours <= set(server.run(workflow).outputs["look"]["text"])
    forget(server)
    assert not ours & set(server.run({"1": look}).outputs["1"]["text"])


@complaint(13, "the identity survives a bypass")
def test_nothing_of_the_person_stays_in_the_model(small, picture):
    plain = small("portrait_simple", HyperLoRAPortrait={"id_weight": 0.0})
    before = picture(plain)
    assert (picture(small("portrait_simple")) != before).any()
    assert (picture(small("portrait_simple", HyperLoRAPortrait={"id_weight": 0.0})) == before).all()


@complaint(14, "half a minute of reloading for every new photo")
def test_face_models_are_loaded_once_a_process(server, small, picture, uploaded):
    for name in ("obama", "biden", "astronaut"):
        picture(small("portrait_simple", name))
    assert (
        len(
            re.findall(r"Faces are found with .*/insightface/models/antelopev2 by torch on cpu", server.log.read_text())
        )
        == 1
    )


@complaint(15, "CUDA is chosen and the CPU runs")
def test_faces_are_found_on_comfyuis_device_and_the_node_says_by_what(server, small):
    for engine, by in (("auto", "torch on cpu"), ("onnxruntime", "onnxruntime on CPU")):
        workflow = small("portrait_simple", HyperLoRALoadModel={"face_engine": engine})
        outputs = server.run(workflow).outputs[workflows.node(workflow, "HyperLoRAPortrait")]
        assert outputs["hyperlora_found_by"] == [by]


@complaint(16, "mat1 and mat2: a LoRA on the wrong base model")
def test_a_base_model_that_does_not_fit_is_refused_with_its_name(server, small):
    error = failure(server, small("portrait_simple", HyperLoRALoadModel={"model": "for_another_base"}))
    assert "this LoRA does not fit the base model: " in error.message
    assert "112 of its 120 targets fit Segmind Vega (down_blocks.3.attentions.1." in error.message


@complaint(17, "Half and BFloat16 do not go together")
@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_every_dtype_runs(server, small, picture, dtype):
    assert (
        picture(small("portrait_simple", HyperLoRALoadModel={"dtype": dtype})) == picture(small("portrait_simple"))
    ).all()
    assert f"computes in fp32: the CPU is a hundred times slower in {dtype}" in server.log.read_text()


@complaint(18, "another strength loads the model again")
def test_another_strength_runs_nothing_that_does_not_depend_on_it(server, small):
    workflow = small("portrait_steps")
    server.run(workflow)
    workflow[workflows.node(workflow, "HyperLoRAApply")]["inputs"]["strength"] = 0.37
    kinds = {workflow[number]["class_type"] for number in server.run(workflow).seconds}
    assert "HyperLoRAApply" in kinds
    assert not kinds & {
        "CheckpointLoaderSimple",
        "HyperLoRALoadModel",
        "HyperLoRADetectFaces",
        "HyperLoRAEncodeIdentity",
    }


@complaint(19, "an identity can be neither saved nor mixed")
def test_several_photos_are_one_lora_file(server, small, uploaded):
    workflow = small("portrait_steps", HyperLoRASave={"filename_prefix": "mixed/one"})
    batch(workflow, "HyperLoRADetectFaces", [uploaded["obama"], uploaded["obama2"]])
    server.run(workflow)
    loras = server.object_info("LoraLoaderModelOnly")["LoraLoaderModelOnly"]["input"]["required"]["lora_name"]
    assert "mixed/one_00001_.safetensors" in json.dumps(loras)
    with safe_open(server.output / "loras" / "mixed" / "one_00001_.safetensors", "pt") as file:
        assert len(file.metadata()["hyperlora.photos_sha256"].split()) == 2


@complaint(20, "forgotten trigger words, and no effect")
@complaint(22, "what was exported, and with which rank and alpha")
def test_the_file_says_trigger_words_rank_and_alpha(server, small):
    workflow = small("portrait_steps", HyperLoRASave={"filename_prefix": "said/one"})
    server.run(workflow)
    with safe_open(server.output / "loras" / "said" / "one_00001_.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["modelspec.trigger_phrase"] == "fcsks fxhks fhyks"
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("8", "4")
    assert metadata["ss_base_model_version"] == "sdxl_base_v1-0"
    info = server.object_info("HyperLoRALoadModel")["HyperLoRALoadModel"]
    assert info["output_name"][1] == "trigger_words" and info["output"][1] == "STRING"
    for name in ("portrait_simple", "portrait_steps"):
        assert "fcsks fxhks fhyks" in json.dumps(workflows.load(name))


@complaint(21, "updates break workflows, and examples need other packs")
def test_examples_need_nothing_but_stock_nodes_and_ours(server):
    info = server.object_info()
    for path in (workflows.FOLDER / "api").glob("*.json"):
        for node in workflows.load(path.stem).values():
            module = info[node["class_type"]]["python_module"]
            assert module.endswith(PACK_NAME) or not module.startswith("custom_nodes"), node["class_type"]


@pytest.mark.slow
@complaint(23, "the same seed gives another picture")
def test_the_same_prompt_gives_the_same_picture_in_a_server_that_forgot_everything(server, small, picture):
    first = picture(small("portrait_simple"))
    forget(server)
    assert (picture(small("portrait_simple")) == first).all()


def test_every_complaint_has_its_row():
    assert sorted(ROWS) == list(range(1, COMPLAINTS + 1))
