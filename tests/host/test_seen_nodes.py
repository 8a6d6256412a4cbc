"""Photo Report, Face Keypoints and Refine Faces, on the real server."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from demo import workflows
from tests.host.conftest import failure


def pictures(server, images: list[dict]) -> list[np.ndarray]:
    return [np.asarray(Image.open(io.BytesIO(server.view(image))).convert("RGB")).astype(int) for image in images]


@pytest.fixture
def look_at(small, uploaded):
    """A workflow of Detect Faces on photos, and a node ``look`` that takes the faces."""

    def make(kind: str, *photos: str, **inputs) -> workflows.Workflow:
        steps = small("portrait_steps")
        loader = workflows.node(steps, "HyperLoRALoadModel")
        workflow = {"model": steps[loader]}
        workflow |= {name: workflows.new("LoadImage", image=uploaded[name]) for name in photos}
        slots = {f"images.image{i}": [name, 0] for i, name in enumerate(photos)}
        widgets = {"order": "largest", "index": 0, "on_no_face": "error"}
        workflow["faces"] = workflows.new("HyperLoRADetectFaces", hyper_lora=["model", 0], **widgets, **slots)
        workflow["look"] = workflows.new(kind, faces=["faces", 0], **inputs)
        return workflow

    return make


def test_photos_are_reported_on(look_at, server):
    workflow = look_at("HyperLoRAPhotoReport", "obama", "biden", "obama2", "obama3")
    result = server.run(workflow).outputs["look"]
    *photos, all_together = result["text"][0].splitlines()
    assert [line.split(".")[0] for line in photos] == [
        "photo 1: keep",
        "photo 2: replace",
        "photo 3: keep",
        "photo 4: keep",
    ]
    assert "looks like somebody else than the others" in photos[1]
    assert all_together == "replace photo 2" and len(result["images"]) == 4


def test_keypoints_come_at_the_portraits_size(look_at, server):
    for fit in ("whole photo", "fill"):
        workflow = look_at(
            "HyperLoRAFaceKeypoints", "group", "obama", width=768, height=512, fit=fit, every_face=fit == "fill"
        )
        workflow["save"] = workflows.new("PreviewImage", images=["look", 0])
        group, obama = pictures(server, server.run(workflow).outputs["save"]["images"])
        assert group.shape == obama.shape == (512, 768, 3)
        noses = {}
        for name, picture in (("group", group), ("obama", obama)):
            blue = (picture[..., 2] > 128) & (picture[..., :2].max(axis=-1) < 64)
            noses[name] = blue.sum() / (math.pi * 10**2)  # of small faces, mouths lie over noses
        assert noses["obama"] == pytest.approx(1, abs=0.1)
        assert 3 < noses["group"] < 6.2 if fit == "fill" else 0.5 < noses["group"] < 1.1


def refining(small, uploaded, photo: str, **inputs) -> workflows.Workflow:
    workflow = small("faces_refine", HyperLoRARefineFaces={"steps": 1, "size": 256, **inputs})
    workflow[workflows.node(workflow, "LoadImage")]["inputs"]["image"] = uploaded[photo]
    return workflow


def refined(server, workflow: workflows.Workflow) -> tuple[np.ndarray, list[str]]:
    result = server.run(workflow)
    (picture,) = pictures(server, result.outputs[workflows.node(workflow, "SaveImage")]["images"])
    return picture, result.outputs[workflows.node(workflow, "HyperLoRARefineFaces")]["text"][0].splitlines()


def test_faces_are_drawn_again_each_as_its_person_and_nothing_else(small, uploaded, server):
    preview = {
        "photo": workflows.new("LoadImage", image=uploaded["group"]),
        "show": workflows.new("PreviewImage", images=["photo", 0]),
    }
    (before,) = pictures(server, server.run(preview).outputs["show"]["images"])
    workflow = refining(small, uploaded, "group", denoise=1.0, steps=2)
    first, second = workflows.nodes(workflow, "HyperLoRAGenerate")
    changes = {}
    for weights in ((6.0, 0.5), (6.0, -6.0)):
        for number, weight in zip((first, second), weights, strict=True):
            workflow[number]["inputs"]["id_weight"] = weight
        changes[weights], lines = refined(server, workflow)
    assert lines == [
        f"picture 1, face {face}: " + (f"person {face}" if face < 3 else "nobody's, as it was") for face in range(1, 7)
    ]
    drawn, without_second = changes.values()
    assert drawn.shape == before.shape
    changed = np.abs(drawn - before).max(axis=-1) > 0
    assert 0.005 < changed.mean() < 0.06
    columns = np.nonzero(np.abs(drawn - without_second).max(axis=-1).max(axis=0) > 0)[0]
    own = np.nonzero(changed.max(axis=0))[0]
    assert columns.min() > own.min() + 100 and columns.max() <= own.max()  # the second person's face alone


def test_a_face_goes_to_whom_it_is_like(small, uploaded, server):
    workflow = refining(small, uploaded, "group", assignment="by likeness", least_likeness=-1.0)
    node_id = workflows.node(workflow, "HyperLoRARefineFaces")
    _, lines = refined(server, workflow)
    drawn = [line for line in lines if "person" in line]
    assert len(drawn) == 2 and all("likeness" in line and line.endswith("before") for line in drawn)
    workflow[node_id]["inputs"]["least_likeness"] = 0.9
    result = server.run(workflow)
    assert result.outputs[node_id]["remarks"] == [
        "no face on picture 1 of 1 is like a person connected: it stays as it is"
    ]
    workflow[node_id]["inputs"].pop("identities.identity1")
    assert failure(server, workflow).message.startswith("1 identities are connected for 2 LoRAs")


def test_a_picture_without_a_face_stays_and_that_is_said(small, uploaded, server):
    workflow = refining(small, uploaded, "group")
    node_id = workflows.node(workflow, "HyperLoRARefineFaces")
    workflow["blank"] = workflows.new("EmptyImage", width=200, height=136, batch_size=2, color=0x336699)
    workflow[node_id]["inputs"]["images"] = ["blank", 0]
    result = server.run(workflow)
    assert result.outputs[node_id]["remarks"] == [
        f"no face was found on picture {number} of 2: it stays as it is" for number in (1, 2)
    ]
    for picture in pictures(server, result.outputs[workflows.node(workflow, "SaveImage")]["images"]):
        assert (picture == (0x33, 0x66, 0x99)).all()
    workflow[node_id]["inputs"]["on_no_face"] = "error"
    assert failure(server, workflow).message.startswith("no face was found on picture 1 of 2: set on_no_face to skip")
