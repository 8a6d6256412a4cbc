"""Where models are found: ComfyUI's own folders, extra_model_paths.yaml, and the public pack's places."""

import re
import shutil

import numpy as np
import pytest

from demo import sdxl
from demo.server import ComfyServer
from tests.host.conftest import saved_picture
from tests.host.public_pack import uni
from tests.support import models as demo

RELEASED = "sdxl_hyper_id_lora_v1_fidelity"


@pytest.fixture(scope="module")
def public_pack_server(models, photos, tmp_path_factory):
    """A ComfyUI whose own ``models`` folder is laid out as the public pack wants it, without extra paths."""
    base = tmp_path_factory.mktemp("public_pack")
    folder = base / "models"
    clip = folder / "hyper_lora" / "clip_vit" / "clip_vit_large_14"
    clip.mkdir(parents=True)
    (folder / "hyper_lora" / "clip_processor" / "clip_vit_large_14_processor").mkdir(parents=True)
    (folder / "hyper_lora" / "clip_processor" / "clip_vit_large_14_processor" / "preprocessor_config.json").touch()
    (folder / "hyper_lora" / "clip_processor" / "loop").symlink_to("loop")  # must not keep ComfyUI from starting
    (clip / "model.safetensors").symlink_to(models / "clip_vision" / demo.CLIP_VISION)
    shutil.copytree(models / "hyper_lora" / demo.HYPER_LORA, folder / "hyper_lora" / "hyper_lora" / RELEASED)
    for name in (  # what file managers and stopped programs leave; none of it may be offered
        "hyper_lora/._one_file.safetensors",
        "hyper_lora/.one_file.safetensors",
        "hyper_lora/.one_file.safetensors.0123abcd.part",
        f"hyper_lora/__MACOSX/{RELEASED}/resampler.safetensors",
        f"hyper_lora/hyper_lora/.{RELEASED}.part/hyper_lora_modules.json",
        "hyper_lora/clip_vit/clip_vit_large_14/._model.safetensors",
        "hyper_lora/clip_vit/__MACOSX/clip_vit_large_14/model.safetensors",
        "hyper_lora/clip_processor/.other/preprocessor_config.json",
        "hyper_lora/clip_processor/clip_vit_large_14_processor/Thumbs.db",
        "hyper_lora/identities/._anna.safetensors",
        "hyper_lora/identities/__MACOSX/anna.safetensors",
        "clip_vision/._clip.safetensors",
        "face_embedders/._ir50.onnx",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"not a model")
    (folder / "insightface").symlink_to(models / "insightface")
    (folder / "checkpoints").symlink_to(models / "checkpoints")
    with ComfyServer(base) as server:
        server.upload(photos["obama"])
        yield server


def choices_of(inputs, name) -> list[str]:
    return next(group[name][1]["options"] for group in inputs.values() if name in group)


def options(server: ComfyServer, name: str) -> list[str]:
    """The choices of the load node's combo."""
    return server.object_info("HyperLoRALoadModel")["HyperLoRALoadModel"]["input"]["required"][name][1]["options"]


def test_models_in_the_public_packs_places_are_found_and_work(public_pack_server, small, portrait_picture):
    server = public_pack_server
    assert options(server, "model") == [RELEASED]
    assert options(server, "clip_vision") == ["auto", "hyper_lora/clip_vit/clip_vit_large_14"]
    assert options(server, "face_model") == ["auto", "antelopev2"]
    for node, name in (("HyperLoRALoadIdentity", "identity_name"), ("HyperLoRAScore", "id_model")):
        offered = server.object_info(node)[node]["input"]
        assert not any("anna" in choice or "ir50" in choice for choice in choices_of(offered, name))
    workflow = small("portrait_simple", HyperLoRALoadModel={"model": RELEASED})
    assert np.array_equal(saved_picture(server, workflow, server.run(workflow)), portrait_picture)


def test_a_shared_workflow_runs_with_the_files_in_the_public_packs_places(public_pack_server, plain, portrait_picture):
    server = public_pack_server
    inputs = server.object_info("HyperLoRAUniLoader")["HyperLoRAUniLoader"]["input"]["required"]
    assert inputs["image_processor"][1]["options"] == ["clip_vit_large_14_processor"]
    assert inputs["image_encoder"][1]["options"] == ["clip_vit_large_14"]
    assert inputs["model"][1]["options"] == [RELEASED]
    workflow = uni(plain, RELEASED)
    picture = saved_picture(server, workflow, server.run(workflow))
    assert np.abs(picture.astype(int) - portrait_picture).max() <= 1


@pytest.fixture
def portrait_picture(small, picture) -> np.ndarray:
    """The same portrait out of ComfyUI's own folders, by extra_model_paths.yaml."""
    return picture(small("portrait_simple"))


def test_models_of_extra_model_paths_are_found(server):
    assert demo.HYPER_LORA in options(server, "model")
    assert demo.CLIP_VISION in options(server, "clip_vision")
    assert {"auto", "antelopev2", "buffalo_l", "nested", "zipped", "zip_beside"} <= set(options(server, "face_model"))
    assert not {"nested/nested", "inswapper_128", "."} & set(options(server, "face_model"))
    assert {"self_nested", "one_file.safetensors", "lfs", "ip-adapter.bin"} <= set(options(server, "model"))
    assert not {"self_nested/self_nested"} & set(options(server, "model"))
    checkpoints = server.object_info("CheckpointLoaderSimple")["CheckpointLoaderSimple"]["input"]["required"]
    assert sdxl.CHECKPOINT in str(checkpoints["ckpt_name"])


def test_a_checkpoint_that_arrives_is_listed_without_a_restart(server, models_with_faults, models, small, picture):
    late = models_with_faults / "hyper_lora" / "people" / "arrived_late"
    assert "people/arrived_late" not in options(server, "model")
    shutil.copytree(models / "hyper_lora" / demo.HYPER_LORA, late)
    assert "people/arrived_late" in options(server, "model")
    same = picture(small("portrait_simple", HyperLoRALoadModel={"model": "people/arrived_late"}))
    assert np.array_equal(same, picture(small("portrait_simple")))
    shutil.rmtree(late)


def test_a_checkpoint_that_was_replaced_is_loaded_again(server, models_with_faults, models, small, picture):
    """Under the same name, without a restart, though nothing in the prompt changed."""
    folder = models_with_faults / "hyper_lora" / "replaced"
    shutil.copytree(models / "hyper_lora" / demo.HYPER_LORA, folder)
    workflow = small("portrait_simple", HyperLoRALoadModel={"model": "replaced"})
    first = picture(workflow)
    shutil.rmtree(folder)
    shutil.copytree(models_with_faults / "hyper_lora" / "without_base", folder)
    assert not np.array_equal(picture(workflow), first)
    assert np.array_equal(
        picture(workflow), picture(small("portrait_simple", HyperLoRALoadModel={"model": "without_base"}))
    )
    shutil.rmtree(folder)


def test_files_that_lie_loose_in_the_models_folder_are_a_checkpoint(server, models_with_faults, models, small, picture):
    root = models_with_faults / "hyper_lora"
    links = [root / file.name for file in (models / "hyper_lora" / demo.HYPER_LORA).iterdir()]
    for link in links:
        link.symlink_to(models / "hyper_lora" / demo.HYPER_LORA / link.name)
    assert "." in options(server, "model") and "one_file.safetensors" in options(server, "model")
    assert "resampler.safetensors" not in options(server, "model")
    loose = picture(small("portrait_simple", HyperLoRALoadModel={"model": "."}))
    assert np.array_equal(loose, picture(small("portrait_simple")))
    for link in links:
        link.unlink()


def test_the_one_file_gives_the_portrait_that_the_folder_gives(small, picture):
    from_file = picture(small("portrait_simple", HyperLoRALoadModel={"model": "one_file.safetensors"}))
    assert np.array_equal(from_file, picture(small("portrait_simple")))


def test_a_zip_left_beside_the_models_it_held_changes_nothing(server, models_with_faults, face_pack, small, picture):
    pack = models_with_faults / "insightface" / "models" / "zip_left"
    pack.mkdir()
    for file in face_pack.iterdir():
        (pack / file.name).symlink_to(file)
    (pack / "zip_left.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    with_zip = picture(small("portrait_simple", HyperLoRALoadModel={"face_model": "zip_left"}))
    assert np.array_equal(with_zip, picture(small("portrait_simple")))
    shutil.rmtree(pack)


def test_the_log_says_which_models_are_in_use_and_what_runs_them(server, small, picture):
    picture(small("portrait_simple"))
    log = server.log.read_text()
    assert "HyperLoRA uses the CLIP vision model" in log
    assert re.search(r"Faces are found with .*antelopev2 by torch on cpu", log)
