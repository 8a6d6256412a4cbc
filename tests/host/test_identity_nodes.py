"""Identities kept, mixed and blended, and sliders, on the real server."""

import base64
import copy
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from demo import workflows
from demo.server import PromptRejectedError
from tests.host.conftest import difference, failure
from tests.support.models import IDENTITY, STYLE_LORA

ENCODE = {"remove_background": True, "grayscale": False}


@pytest.fixture(scope="module")
def kept_folder(server) -> Path:
    """The server's folder of identities and sliders."""
    return server.base / "models" / "hyper_lora"


@pytest.fixture
def person(small, uploaded):
    """A workflow that encodes photos, each by a node ``e.NAME``; further nodes by keyword."""

    def make(*photos: str, **inputs: dict) -> workflows.Workflow:
        workflow = small("identity_load")
        loader = workflows.node(workflow, "HyperLoRALoadIdentity")
        del workflow[loader]
        model = workflows.node(workflow, "HyperLoRALoadModel")
        for name in photos:
            workflow[f"p.{name}"] = workflows.new("LoadImage", image=uploaded[name])
            widgets = {"images.image0": [f"p.{name}", 0], "order": "largest", "index": 0, "on_no_face": "error"}
            workflow[f"d.{name}"] = workflows.new("HyperLoRADetectFaces", hyper_lora=[model, 0], **widgets)
            workflow[f"e.{name}"] = workflows.new(
                "HyperLoRAEncodeIdentity", hyper_lora=[model, 0], faces=[f"d.{name}", 0], **ENCODE
            )
        workflow |= inputs
        source = next(iter(inputs)) if inputs else f"e.{photos[0]}"
        workflow[workflows.node(workflow, "HyperLoRAGenerate")]["inputs"]["identity"] = [source, 0]
        return workflow

    return make


def mix(*people: str, **widgets) -> dict:
    inputs = {f"identities.identity{i}": [f"e.{name}", 0] for i, name in enumerate(people)}
    return workflows.new(
        "HyperLoRAMixPhotos", **{"weights": "", "outliers": "keep", "least_agreement": 0.4} | widgets, **inputs
    )


def blend(a: str, b: str, **widgets) -> dict:
    inputs = {"amount": 0.5, "method": "linear"} | widgets
    return workflows.new("HyperLoRABlend", identity_a=[f"e.{a}", 0], identity_b=[f"e.{b}", 0], **inputs)


def test_a_kept_person_draws_the_same_picture(small, uploaded, server, picture, kept_folder):
    workflow = small("identity_save", HyperLoRASaveIdentity={"name": "friends/anna"})
    for number, photo in zip(workflows.nodes(workflow, "LoadImage"), ("obama", "obama2", "obama3"), strict=True):
        workflow[number]["inputs"]["image"] = uploaded[photo]
    direct = picture(workflow)
    (file,) = (kept_folder / "identities" / "friends").iterdir()
    assert file.name == "anna_00001_.safetensors" and file.stat().st_size < 1 << 20
    options = server.object_info("HyperLoRALoadIdentity")["HyperLoRALoadIdentity"]["input"]["required"]
    assert {"friends/anna_00001_.safetensors", IDENTITY} <= set(options["identity_name"][1]["options"])
    from_file = small("identity_load", HyperLoRALoadIdentity={"identity_name": "friends/anna_00001_.safetensors"})
    assert difference(picture(from_file), direct) == 0
    models = server.object_info("HyperLoRALoadModel")["HyperLoRALoadModel"]["input"]["required"]["model"][1]["options"]
    assert not any("anna" in name or "identities" in name for name in models)


def test_a_number_is_added_unless_it_is_to_be_replaced(person, server, kept_folder):
    for overwrite in (True, False, True, False):
        save = workflows.new("HyperLoRASaveIdentity", identity=["e.obama", 0], name="again", overwrite=overwrite)
        server.run(person("obama") | {"save": save})
    names = sorted(path.name for path in (kept_folder / "identities").glob("again*"))
    assert names == ["again.safetensors", "again_00001_.safetensors", "again_00002_.safetensors"]


def test_single_photos_mixed_are_photos_together(person, picture, small, server):
    together = picture(person("obama", "obama2", m=mix("obama", "obama2")))
    weighed = picture(person("obama", "obama2", m=mix("obama", "obama2", weights="2; 2")))
    obama_alone = picture(person("obama", "obama2", m=mix("obama", "obama2", weights="1, 0")))
    assert difference(together, weighed) <= 1
    assert difference(obama_alone, picture(person("obama"))) <= 1 < difference(obama_alone, together)


def test_somebody_else_is_dropped_and_it_is_said(person, picture, server):
    names = ("obama", "biden", "obama2", "obama3")
    workflow = person(*names, m=mix(*names, outliers="drop"))
    workflow["report"] = workflows.new("PreviewAny", source=["m", 1])
    result = server.run(workflow)
    (remark,) = result.outputs["m"]["remarks"]
    assert remark.startswith("dropped photo 2 of 4")
    assert "photo 2: agreement" in result.outputs["report"]["text"][0]
    alone = person("obama", "obama2", "obama3", m=mix("obama", "obama2", "obama3"))
    assert difference(picture(workflow), picture(alone)) <= 1


@pytest.mark.slow
def test_a_blend_goes_from_one_person_to_the_other(person, picture):
    ends = [picture(person(name)) for name in ("obama", "biden")]
    for method in ("linear", "spherical"):
        blends = [
            picture(person("obama", "biden", b=blend("obama", "biden", amount=amount, method=method)))
            for amount in (0.0, 1.0, 0.5)
        ]
        assert difference(blends[0], ends[0]) <= 1 and difference(blends[1], ends[1]) <= 1
        assert min(difference(blends[2], end) for end in ends) > 2


def test_blocks_keep_a_blend_and_scale_a_lora(person, picture, small):
    blocks = workflows.new("HyperLoRABlocks", down=0.0, mid=0.0, up=0.0, attn1=1.0, attn2=1.0, more="")
    unchanged = person("obama", "biden", b=blend("obama", "biden", amount=1.0, blocks=["k", 0]), k=blocks)
    assert difference(picture(unchanged), picture(person("obama"))) <= 1

    workflow = person("obama")
    apply = workflow[workflows.node(workflow, "HyperLoRAApply")]["inputs"]
    plain, base = picture(workflow), copy.deepcopy(workflow)
    base[workflows.node(base, "HyperLoRAApply")]["inputs"]["strength"] = 0.0
    scaled = workflows.new("HyperLoRAScaleBlocks", lora=apply["lora"], blocks=["k", 0])
    workflow |= {"k": blocks, "s": scaled}
    apply["lora"] = ["s", 0]
    assert difference(picture(workflow), picture(base)) == 0, "every block at 0"
    workflow["k"] = workflows.new(
        "HyperLoRABlocks", down=1.0, mid=1.0, up=1.0, attn1=1.0, attn2=1.0, more="attn2.to_v = 0.5"
    )
    assert difference(picture(workflow), plain) > 0
    workflow["k"]["inputs"]["more"] = ""
    assert difference(picture(workflow), plain) == 0


def _slider(small, uploaded: dict[str, str], more: str, less: str, strength: float) -> workflows.Workflow:
    workflow = small("slider")
    for number, photo in zip(workflows.nodes(workflow, "LoadImage"), ("astronaut", more, less), strict=True):
        workflow[number] = {"class_type": "LoadImage", "inputs": {"image": uploaded[photo]}}
    *_, last = workflows.nodes(workflow, "HyperLoRAApply")
    workflow[last]["inputs"]["strength"] = strength
    return workflow


def test_a_slider_turns_both_ways_and_round(small, uploaded, picture):
    up, down, turned, off = (
        picture(_slider(small, uploaded, more, less, strength))
        for more, less, strength in (
            ("obama", "biden", 0.5),
            ("obama", "biden", -0.5),
            ("biden", "obama", 0.5),
            ("obama", "biden", 0.0),
        )
    )
    assert difference(down, turned) <= 1
    assert min(difference(up, down), difference(up, off), difference(down, off)) > 2


def test_a_kept_slider_is_the_slider(small, uploaded, picture, kept_folder):
    workflow = _slider(small, uploaded, "obama", "biden", 0.5)
    workflow[workflows.node(workflow, "HyperLoRASaveSlider")]["inputs"] |= {"name": "smile", "overwrite": True}
    direct = picture(workflow)
    assert (kept_folder / "sliders" / "smile.safetensors").exists()
    generate = workflows.node(workflow, "HyperLoRAGenerateSlider")
    workflow["load"] = workflows.new("HyperLoRALoadSlider", slider_name="smile.safetensors")
    workflow[generate]["inputs"]["slider"] = ["load", 0]
    assert difference(picture(workflow), direct) == 0


@pytest.mark.parametrize(
    ("widgets", "sentence"),
    [
        ({"weights": "much"}, "'much' cannot be read: numbers were expected"),
        ({"weights": "1, 2"}, "2 weights (1, 2) were given for 1 photos"),
        ({"weights": "0"}, "not all of them 0"),
    ],
)
def test_weights_that_cannot_be_are_told(person, server, widgets, sentence):
    error = failure(server, person("obama", m=mix("obama", **widgets)))
    assert error.node_type == "HyperLoRAMixPhotos" and sentence in error.message


def test_people_of_two_checkpoints_are_told(person, server):
    workflow = person(
        "obama", b=workflows.new("HyperLoRABlend", identity_a=["e.obama", 0], amount=0.5, method="linear")
    )
    load = workflow[workflows.node(workflow, "HyperLoRALoadModel")]["inputs"]
    workflow["other"] = workflows.new("HyperLoRALoadModel", **load | {"model": "without_base"})
    workflow["e2"] = workflows.new("HyperLoRAEncodeIdentity", hyper_lora=["other", 0], faces=["d.obama", 0], **ENCODE)
    workflow["b"]["inputs"]["identity_b"] = ["e2", 0]
    message = failure(server, workflow).message
    assert "made by two HyperLoRAs, 'hyperlora_demo' (" in message and "'without_base' (" in message


def test_sides_of_a_slider_that_do_not_fit_are_told(small, uploaded, server):
    workflow = _slider(small, uploaded, "obama", "obama", 0.5)
    assert "two sides of this slider are the same" in failure(server, workflow).message
    make = workflow[workflows.node(workflow, "HyperLoRAMakeSlider")]["inputs"]
    make["more.more1"] = make["less.less0"]
    assert "2 identities are connected to 'more' and 1 to 'less'" in failure(server, workflow).message


def test_blocks_that_cannot_be_are_told(person, server):
    for more, sentence in (("up 0.5", "'up 0.5' cannot be read"), ("up.7 = 1", "nothing is in the block 'up.7'")):
        blocks = workflows.new("HyperLoRABlocks", down=1.0, mid=1.0, up=1.0, attn1=1.0, attn2=1.0, more=more)
        workflow = person("obama", "biden", b=blend("obama", "biden", blocks=["k", 0]), k=blocks)
        assert sentence in failure(server, workflow).message


def test_files_that_are_no_identity_are_told(person, small, server, kept_folder, models):
    folder = kept_folder / "identities"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "page.safetensors").write_text("<html>404</html>")
    shutil.copy(models / "loras" / STYLE_LORA, folder / "lora.safetensors")
    for name, sentence in (("page", "is a web page, not a model"), ("lora", "not an identity but a LoRA in kohya")):
        workflow = small("identity_load", HyperLoRALoadIdentity={"identity_name": f"{name}.safetensors"})
        assert sentence in failure(server, workflow).message
    with pytest.raises(PromptRejectedError, match="value_not_in_list"):
        server.run(small("identity_load", HyperLoRALoadIdentity={"identity_name": "../../secret.safetensors"}))


def test_names_out_of_the_folder_are_refused(person, server, kept_folder):
    save = workflows.new("HyperLoRASaveIdentity", identity=["e.obama", 0], name="../../escaped", overwrite=True)
    assert "outside the output folder" in failure(server, person("obama") | {"save": save}).message
    assert not list(kept_folder.parent.rglob("escaped*"))


def test_without_a_face_nothing_is_kept_and_the_queue_goes_on(person, server, picture, kept_folder):
    workflow = person("obama") | {
        "blank": workflows.new("EmptyImage", width=64, height=64, batch_size=1, color=0),
        "save": workflows.new("HyperLoRASaveIdentity", identity=["e.obama", 0], name="nobody", overwrite=True),
    }
    workflow["d.obama"]["inputs"] |= {"images.image0": ["blank", 0], "on_no_face": "bypass"}
    assert "nothing was saved" in server.run(workflow).outputs["save"]["remarks"][0]
    assert not list(kept_folder.rglob("nobody*"))


def test_the_card_of_a_kept_person_is_there_before_a_run(person, server, kept_folder):
    address = f"{server.url}/hyperlora/identity"
    save = workflows.new("HyperLoRASaveIdentity", identity=["e.obama", 0], name="carded", overwrite=True)
    shown_card = server.run(person("obama", save=save)).outputs["save"]["hyperlora_identity"][0]
    card = requests.post(address, json={"name": "carded.safetensors"}, timeout=30).json()
    assert {key: card[key] for key in ("photos", "checkpoint", "agreement", "parts")} == {
        key: shown_card[key] for key in ("photos", "checkpoint", "agreement", "parts")
    }
    kind, _, content = card["thumbnail"].partition(",")
    assert kind == "data:image/png;base64"
    pictures = (base64.b64decode(content), server.view(shown_card["thumbnail"]))
    from_file, from_node = (Image.open(BytesIO(png)).convert("RGB") for png in pictures)
    assert np.abs(np.asarray(from_file, float) - np.asarray(from_node, float)).mean() < 3, "the file keeps it as a JPEG"

    (kept_folder / "identities" / "page.safetensors").write_text("<html>404</html>")
    for body, sentence in (
        ({"name": "../../secret.safetensors"}, "is in none of"),
        ({"name": "page.safetensors"}, "is a web page, not a model"),
        ({}, "was expected"),
        ([1], "was expected"),
    ):
        answer = requests.post(address, json=body, timeout=30)
        assert answer.status_code == 400 and sentence in answer.json()["error"]
    foreign = requests.post(address, json={"name": IDENTITY}, headers={"Origin": "http://evil.example"}, timeout=30)
    assert foreign.status_code == 403
