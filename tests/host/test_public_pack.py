"""The public pack's node ids: shared workflows run as they are, and its defects are gone."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from demo import workflows
from demo.server import PACK_NAME, PromptRejectedError
from tests.host.conftest import difference, failure, saved_picture
from tests.host.public_pack import RIGHT, steps, uni
from tests.support import models as demo


def test_a_shared_prompt_gives_the_portrait_that_ours_gives(plain, small, picture):
    """Equal up to rounding: the weight is multiplied in elsewhere."""
    assert difference(picture(uni(plain)), picture(small("portrait_simple"))) <= 1
    assert difference(picture(uni(plain, weight=0.0)), picture(plain)) == 0


def test_the_weight_goes_from_minus_3_to_3(plain, server, picture):
    pictures = [picture(uni(plain, weight=weight)) for weight in (-3.0, 0.0, 3.0)]
    assert difference(pictures[0], pictures[1]) > 5 and difference(pictures[2], pictures[1]) > 5
    with pytest.raises(PromptRejectedError, match="bigger than max"):
        server.run(uni(plain, weight=3.01))


def test_every_step_runs_and_equals_our_own_steps(plain, small, server):
    workflow = steps(plain)
    result = server.run(workflow)
    preview = saved_picture(server, workflow, result)
    ours = small(
        "portrait_steps_base",
        HyperLoRALoadModel={"model": "config_sized"},
        HyperLoRAGenerate={"id_weight": 0.8, "base_weight": 0.4},
    )
    expected = server.run(ours)
    assert difference(preview, saved_picture(server, ours, expected)) <= 1
    crop = workflows.node(ours, "HyperLoRAEncodeIdentity")
    pixels = [
        np.asarray(Image.open(_bytes(server, result.outputs["111"]["images"][0]))),
        np.asarray(Image.open(_bytes(server, expected.outputs[crop]["images"][0]))),
    ]
    assert np.array_equal(*pixels) and pixels[0].shape == (512, 512, 3)
    base = Image.open(_bytes(server, result.outputs["112"]["images"][0]))
    assert base.size != (512, 512), "the Base crop keeps the size it has in the photo"


def _bytes(server, image):
    return io.BytesIO(server.view(image))


def test_the_lora_is_saved_where_the_public_pack_saves_it(plain, server):
    result = server.run(steps(plain))
    (path,) = result.outputs["110"]["text"]
    assert Path(path).parent == server.output / "lora" and Path(path).name.startswith("id_lora_0")
    with safe_open(path, "pt") as file:
        assert file.metadata()["hyperlora.checkpoint"] == "config_sized"
        assert file.metadata()["ss_network_dim"] == "8"


@pytest.mark.parametrize("choice", ["clip", "arcface", "clip + arcface"])
@pytest.mark.parametrize(
    ("model", "right"), [("clip_alone", "clip"), ("face_alone", "arcface"), (demo.HYPER_LORA, "clip + arcface")]
)
def test_all_three_encoder_types_run_and_a_wrong_one_is_corrected(plain, server, model, right, choice):
    """The public pack knows one; the other two fail in it."""
    workflow = uni(plain, model, encoder_types=choice)
    workflow["101"]["inputs"]["dtype"] = "fp32"
    result = server.run(workflow)
    preview = saved_picture(server, workflow, result)
    if choice == right:
        assert "remarks" not in result.outputs.get("101", {})
    else:
        assert result.outputs["101"]["remarks"] == [
            f"encoder_types is '{choice}', but {model} was made for '{right}', which is used instead. Set "
            f"encoder_types to '{right}'"
        ]
    assert difference(preview, saved_picture(server, plain, server.run(plain))) > 0


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("resampler.dim", 1024),
        ("resampler.dim_head", 32),
        ("resampler.heads", 12),
        ("resampler.depth", 6),
        ("resampler.ff_mult", 8),
        ("id_embed_dim", 128),
        ("num_id_tokens", 4),
        ("hyper_dim", 128),
        ("lora_rank", 4),
        ("has_base_lora", False),
    ],
)
def test_a_config_that_contradicts_the_file_says_the_right_value(plain, server, name, wrong):
    error = failure(server, steps(plain, **{name: wrong}))
    assert error.node_type == "HyperLoRALoader"
    assert error.message == (
        f"HyperLoRA Config does not say what config_sized is. Set there: {name} {RIGHT[name]} instead of {wrong}. Load "
        "HyperLoRA needs no such numbers"
    )


def test_everything_wrong_in_a_config_is_said_at_once(plain, server):
    error = failure(server, steps(plain, num_id_tokens=4, lora_rank=4, hyper_dim=64))
    for part in ("num_id_tokens 16 instead of 4", "lora_rank 8 instead of 4", "hyper_dim 32 instead of 64"):
        assert part in error.message


def test_a_configs_encoder_types_are_corrected_too(plain, server):
    workflow = steps(plain, encoder_types="clip")
    assert "which is used instead" in server.run(workflow).outputs["102"]["remarks"][0]


def test_a_checkpoint_of_clip_alone_is_not_asked_for_face_numbers(plain, server):
    workflow = steps(plain, encoder_types="clip", id_embed_dim=128, num_id_tokens=4, has_base_lora=False)
    workflow["102"]["inputs"]["model"] = "config_sized_clip_alone"
    workflow[workflows.node(workflow, "KSampler")]["inputs"]["model"] = ["108", 0]
    for number in ("105", "107", "109", "112"):
        del workflow[number]
    assert saved_picture(server, workflow, server.run(workflow)).any()


@pytest.mark.parametrize("scales", ["1,1,1", "1,1,1,x", "", "1,1,1,0", "nan,1,1,1"])
def test_crop_scales_that_are_none(plain, server, scales):
    workflow = steps(plain)
    workflow["105"]["inputs"]["crop_scale_LRTB"] = scales
    error = failure(server, workflow)
    assert error.node_type == "HyperLoRABaseCond" and "four numbers" in error.message


def test_crop_scales_reach_the_crop(plain, server):
    sizes = []
    for scales in ("1,1,1,1", "0.5, 0.5, 0.5, 0.5"):
        workflow = steps(plain)
        workflow["105"]["inputs"]["crop_scale_LRTB"] = scales
        sizes.append(Image.open(_bytes(server, server.run(workflow).outputs["112"]["images"][0])).size)
    assert abs(sizes[0][0] / 2 - sizes[1][0]) <= 1


def test_faces_of_other_photos_are_refused(plain, server, uploaded):
    workflow = steps(plain)
    workflow["90"] = {"class_type": "LoadImage", "inputs": {"image": uploaded["astronaut"]}}
    workflow["104"]["inputs"]["images"] = ["90", 0]
    error = failure(server, workflow)
    assert error.node_type == "HyperLoRAIDCond"
    assert "the faces are of other photos: photo 1 was 910 x 1137 when its face was found, and now is" in error.message


def test_a_retouched_photo_of_the_same_size_is_taken(plain, server):
    workflow = steps(plain)
    workflow["90"] = {"class_type": "ImageInvert", "inputs": {"image": workflow["104"]["inputs"]["images"]}}
    workflow["105"]["inputs"]["images"] = ["90", 0]
    before = server.view(server.run(steps(plain)).outputs["112"]["images"][0])
    assert server.view(server.run(workflow).outputs["112"]["images"][0]) != before


def test_a_photo_without_a_face_is_named_and_may_be_skipped(plain, server, tmp_path, photos):
    with Image.open(photos["obama"]) as photo:
        photo.resize((300, 400)).save(tmp_path / "face.png")
    Image.new("RGB", (300, 400)).save(tmp_path / "black.png")
    for workflow, node in ((uni(plain), "102"), (steps(plain), "103")):
        for number, path in (("90", "black.png"), ("91", "face.png")):
            image = server.upload(tmp_path / path)
            workflow[number] = {"class_type": "LoadImage", "inputs": {"image": image}}
        workflow["92"] = {"class_type": "ImageBatch", "inputs": {"image1": ["90", 0], "image2": ["91", 0]}}
        for content in workflow.values():
            if "images" in content["inputs"] and content["class_type"].startswith("HyperLoRA"):
                content["inputs"]["images"] = ["92", 0]
        error = failure(server, workflow)
        assert error.message.startswith("photo 1 of 2: no face was found.")
        workflow[node]["inputs"]["on_no_face"] = "skip"
        assert server.run(workflow).outputs[node]["remarks"] == ["left out photo 1 of 2: no face was found"]


def test_of_several_faces_the_detectors_first_is_taken(plain, small, server, uploaded):
    """As by the public pack, so that a shared workflow draws the same person; our own nodes take the largest."""
    workflow = uni(plain)
    workflow[workflows.node(workflow, "LoadImage")]["inputs"]["image"] = uploaded["group"]
    drawn = {}
    for order in (None, "largest", "left to right"):
        if order is not None:
            workflow["102"]["inputs"]["order"] = order
        result = server.run(workflow)
        drawn[order or "detection order"] = saved_picture(server, workflow, result)
        sentence = (
            "photo 1 of 1 shows 6 faces: the detector's first is taken, as by the public pack. Set order to take "
        )
        remarks = result.outputs.get("102", {}).get("remarks", [])
        assert remarks == [f"{sentence}another"] * (order is None)
    for order, picture in drawn.items():
        ours = small("portrait_steps", "group", HyperLoRADetectFaces={"order": order})
        assert difference(saved_picture(server, ours, server.run(ours)), picture) <= 1
    assert difference(drawn["detection order"], drawn["largest"]) > 1
    del workflow["102"]["inputs"]["order"]
    workflow[workflows.node(workflow, "LoadImage")]["inputs"]["image"] = uploaded["obama"]
    assert "remarks" not in server.run(workflow).outputs.get("102", {})


def test_the_released_names_are_offered_even_where_the_folders_are_not(server):
    inputs = server.object_info("HyperLoRAUniLoader")["HyperLoRAUniLoader"]["input"]["required"]
    assert inputs["image_processor"][1]["options"] == ["clip_vit_large_14_processor"]
    assert inputs["image_encoder"][1]["options"] == ["clip_vit_large_14"]
    assert inputs["face_analyzer"][1]["options"][0] == "antelopev2"


def test_names_that_are_not_needed_may_be_any(plain, server):
    """Workflows of people who named their folders otherwise."""
    names = {"image_processor": "clip-vit-large-patch14", "image_encoder": "clip-vit-large-patch14"}
    remarks = server.run(uni(plain, **names)).outputs["101"]["remarks"]
    assert remarks == ["image_encoder 'clip-vit-large-patch14' is not there: the CLIP that fits is used instead"]
    workflow = steps(plain, **names)
    assert server.run(workflow).outputs["102"]["remarks"] == remarks


def test_a_base_photo_whose_face_is_covered_is_taken(plain, server, tmp_path, photos):
    with Image.open(photos["obama"]) as photo:
        Image.new("RGB", photo.size, "gray").save(tmp_path / "covered.png")
    workflow = steps(plain)
    workflow["90"] = {"class_type": "LoadImage", "inputs": {"image": server.upload(tmp_path / "covered.png")}}
    workflow["105"]["inputs"]["images"] = ["90", 0]
    server.run(workflow)
    workflow["104"]["inputs"]["images"] = ["90", 0]
    message = failure(server, workflow).message
    assert message.startswith("photo 1 of 1, as it is now: a face was found, but not again")


def test_they_are_deprecated_and_ours_are_not(server):
    ours = {n: i for n, i in server.object_info().items() if i["python_module"].endswith(PACK_NAME)}
    deprecated = {name for name, info in ours.items() if info.get("deprecated")}
    assert len(deprecated) == 11
    assert {ours[name]["category"] for name in deprecated} == {"HyperLoRA/public pack"}
    assert not any(ours[name].get("search_aliases") for name in deprecated)
