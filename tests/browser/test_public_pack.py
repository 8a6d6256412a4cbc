"""Workflows shared by users of the public pack, in the real editor: they load, mean what they meant, and run."""

import copy

import pytest
import torch

from demo import workflows
from demo.server import ComfyServer
from tests.browser import public_workflows
from tests.browser.seen import message, search
from tests.host.test_two_packs import PUBLIC_PACK
from tests.nodes.contract import NODES
from tests.support import models as demo
from tests.support.browser import front_end

RELEASED, CHECKPOINT = "sdxl_hyper_id_lora_v1_fidelity", "RealVisXL_V4.0.safetensors"


@pytest.fixture(scope="module")
def shared(server, models) -> dict[str, dict]:
    """The workflows, and a checkpoint whose sizes the widgets of Config can say."""
    shape, generator = demo.Shape(bases=32, heads=4, depth=4), torch.Generator().manual_seed(5)
    demo.make_hyper_lora(server.models / "hyper_lora" / "config_sized", generator, shape, demo.demo_encoders(models))
    return {
        "simple": public_workflows.workflow(public_workflows.simple("photo.png", CHECKPOINT, RELEASED)),
        "advanced": public_workflows.workflow(public_workflows.advanced("photo.png", CHECKPOINT, "config_sized")),
    }


@pytest.mark.parametrize("name", [pytest.param("simple", marks=pytest.mark.slow), "advanced"])
def test_a_shared_workflow_loads_means_what_it_meant_and_survives_a_round_trip(either_page, shared, name):
    page = either_page
    for file in (shared[name], public_workflows.with_widget_sockets(copy.deepcopy(shared[name]))):
        assert page.missing(file) == {"nodes": [], "models": [], "media": []}
        page.load(file)
        _means_what_it_meant(page.prompt(), name)
    before, saved = page.prompt(), page.workflow()
    page.load(workflows.template("saved_lora"))
    page.load(saved)
    assert page.prompt() == before
    assert page.errors == []


def _means_what_it_meant(prompt: dict[str, dict], name: str) -> None:
    inputs = {node["class_type"]: node["inputs"] for node in prompt.values()}
    if name == "simple":
        assert inputs["HyperLoRAUniLoader"] == {
            "image_processor": "clip_vit_large_14_processor",
            "image_encoder": "clip_vit_large_14",
            "encoder_types": "clip + arcface",
            "face_analyzer": "antelopev2",
            "model": RELEASED,
            "dtype": "fp32",
            "other_encoders": "refuse",
        }
        generate = inputs["HyperLoRAUniGenerateIDLoRA"]
        assert (generate["grayscale"], generate["remove_background"], generate["on_no_face"]) == (True, False, "error")
        assert inputs["HyperLoRAApplyLoRA"]["weight"] == 0.9
        assert inputs["HyperLoRASaveLoRA"]["filename_prefix"] == "lora/shared"
    else:
        config = inputs["HyperLoRAConfig"]
        resampler = [config[f"resampler.{key}"] for key in ("dim", "dim_head", "heads", "depth", "ff_mult")]
        assert resampler == [192, 64, 4, 4, 4]
        sizes = ("encoder_types", "face_analyzer", "id_embed_dim", "num_id_tokens", "hyper_dim", "lora_rank")
        assert [config[key] for key in sizes] == ["clip + arcface", "antelopev2", 512, 16, 32, 8]
        assert config["has_base_lora"] is True
        assert inputs["HyperLoRALoader"]["model"] == "config_sized" and inputs["HyperLoRALoader"]["dtype"] == "fp32"
        base = inputs["HyperLoRABaseCond"]
        assert (base["crop"], base["crop_scale_LRTB"], base["safe_crop"]) == (False, "1,1,2,1.5", False)
        weights = [node["inputs"]["weight"] for node in prompt.values() if node["class_type"] == "HyperLoRAApplyLoRA"]
        assert sorted(weights) == [-1.25, 0.4]


@pytest.mark.parametrize("name", ["simple", pytest.param("advanced", marks=pytest.mark.slow)])
def test_a_shared_workflow_runs_unchanged(page, shared, name):
    page.load(shared[name])
    end = page.queue(timeout=90)
    assert end["type"] == "execution_success", end
    assert page.errors == []


def test_search_offers_ours_and_not_the_deprecated(page):
    """The editor hides deprecated nodes unless the user asks for them."""
    deprecated = page.page.evaluate(
        """() => Object.fromEntries(Object.entries(window.LiteGraph.registered_node_types)
            .filter(([name]) => name.startsWith("HyperLoRA"))
            .map(([name, type]) => [name, Boolean(type.nodeData?.deprecated)]))"""
    )
    assert sum(deprecated.values()) == 11 and set(deprecated) == set(NODES)
    search(page, "hyperlora")
    page.page.get_by_text("HyperLoRA Portrait", exact=True).first.wait_for(timeout=10_000)
    text = page.page.locator("body").inner_text()
    page.page.keyboard.press("Escape")
    assert "(public pack)" not in text


@pytest.mark.slow
def test_the_public_pack_beside_ours_is_said_in_the_editor(models, browser, tmp_path):
    pack = tmp_path / "custom_nodes" / "the_public_pack"
    pack.mkdir(parents=True)
    (pack / "__init__.py").write_text(PUBLIC_PACK)
    with ComfyServer(tmp_path, models) as server, front_end(server, browser=browser) as page:
        toast = message(page, "Two packs have the HyperLoRA nodes")
        assert f"Remove {pack}" in toast.inner_text()
        assert page.errors == []


def test_alone_nothing_is_said(fresh_page):
    page = fresh_page
    notices = "async () => (await import('/extensions/ComfyUI-HyperLoRA/about.js')).about"
    about = page.page.evaluate(notices)
    assert about["trigger_words"] and about["notices"] == [], "the server answered, and has nothing to say"
    page.drawn()
    assert page.page.get_by_role("alert").filter(has_text="HyperLoRA").count() == 0
