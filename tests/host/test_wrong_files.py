"""Every kind of wrong file, and encoders other than a checkpoint was trained with, on the real server."""

import re

import pytest

from tests.host.conftest import failure
from tests.support import models as demo
from tests.support import wrong_files


@pytest.mark.parametrize("row", wrong_files.CHECKPOINTS, ids=lambda row: row.name)
def test_a_wrong_checkpoint_is_named(server, small, row):
    error = failure(server, small("portrait_simple", HyperLoRALoadModel={"model": row.name}))
    assert error.node_type == "HyperLoRALoadModel"
    assert row.message in error.message and row.name.partition("/")[0] in error.message


@pytest.mark.parametrize("row", wrong_files.CLIPS, ids=lambda row: row.name)
def test_a_wrong_clip_is_named(server, small, row):
    error = failure(server, small("portrait_simple", HyperLoRALoadModel={"clip_vision": row.name}))
    assert error.node_type == "HyperLoRALoadModel"
    assert row.message in error.message and row.name in error.message


@pytest.mark.parametrize("row", [row for row in wrong_files.FACES if row.name != "no_models"], ids=lambda row: row.name)
def test_wrong_face_models_are_named(server, small, row):
    error = failure(server, small("portrait_simple", HyperLoRALoadModel={"face_model": row.name}))
    assert row.message in error.message and row.name in error.message


def test_a_checkpoint_nested_in_itself_is_found_and_works(server, small, picture):
    assert (picture(small("portrait_simple", HyperLoRALoadModel={"model": "self_nested"})) > 0).any()


def test_buffalo_l_is_refused_by_name_where_the_checkpoint_says_nothing(server, small, picture):
    choice = {"model": "says_nothing", "face_model": "buffalo_l"}
    error = failure(server, small("portrait_simple", HyperLoRALoadModel=choice))
    assert "was trained with the face embedder antelopev2's glintr100 (4ab1d6435d)" in error.message
    assert "buffalo_l/w600k_r50.onnx (" in error.message and "set other_encoders to 'allow'" in error.message
    picture(small("portrait_simple", HyperLoRALoadModel=choice | {"other_encoders": "allow"}))
    assert "it is used all the same, for other_encoders is 'allow'" in server.log.read_text()


def test_another_face_embedder_of_the_same_size_runs_only_if_allowed(small, picture):
    allowed = {"face_model": "other_embedder", "other_encoders": "allow"}
    assert (picture(small("portrait_simple", HyperLoRALoadModel=allowed)) == picture(small("portrait_simple"))).all()


def test_another_clip_of_the_same_size_is_refused(server, small, picture):
    choice = {"clip_vision": "another_of_that_size.safetensors"}
    message = failure(server, small("portrait_simple", HyperLoRALoadModel=choice)).message
    assert "was trained with the CLIP vision model ViT 64 wide, patch 32 at 224 (" in message
    picture(small("portrait_simple", HyperLoRALoadModel=choice | {"other_encoders": "allow"}))


def test_auto_takes_the_clip_that_the_checkpoint_notes(server, small, picture):
    """There are two CLIPs of the same size, and only one is the noted one."""
    picture(small("portrait_simple", HyperLoRALoadModel={"clip_vision": "auto"}))
    assert re.findall(r"HyperLoRA uses the CLIP vision model (.*)", server.log.read_text())[-1].endswith(
        demo.CLIP_VISION
    )


def test_an_embedder_that_nobody_knows_is_used_with_a_warning(server, small, picture):
    picture(small("portrait_simple", HyperLoRALoadModel={"model": "says_nothing"}))
    assert "The face embedder antelopev2/glintr100.onnx is not known; this HyperLoRA takes antelopev2's glintr100" in (
        server.log.read_text()
    )
