"""What an artist does with the nodes: connect, run, look, read an error, ask for help."""

import pytest
import requests
from PIL import Image

from demo import workflows
from demo.server import PACK_NAME
from demo.workflows import template
from tests.browser.seen import message, stands_on

CONNECT = """([from, output, to, input]) => {
    const { LiteGraph, app } = window;
    const source = LiteGraph.createNode(from), target = LiteGraph.createNode(to);
    app.rootGraph.add(source);
    app.rootGraph.add(target);
    const slot = target.inputs.findIndex(i => i.name === input);
    return source.connect(source.outputs.findIndex(o => o.name === output), target, slot) !== null;
}"""


def connects(page, *ends: str) -> bool:
    return page.page.evaluate(CONNECT, list(ends))


def small(page, name: str) -> None:
    """Open a template and make it quick to run."""
    page.load(template(name))
    page.set_widgets({"EmptyLatentImage": {"width": 128, "height": 128}, "KSampler": {"steps": 2}})


def test_the_lora_connects_with_ours_and_with_comfyuis_own_nodes(page):
    assert connects(page, "HyperLoRAGenerate", "lora", "HyperLoRAApply", "lora")
    assert connects(page, "HyperLoRAGenerate", "lora", "LoraModelLoader", "lora")
    assert connects(page, "HyperLoRAPortrait", "lora", "HyperLoRASave", "lora")
    assert connects(page, "HyperLoRAPortrait", "lora", "SaveLoRA", "lora")
    assert connects(page, "LoraModelLoader", "model", "HyperLoRAApply", "model")
    assert connects(page, "TrainLoraNode", "lora", "HyperLoRAApply", "lora")
    assert not connects(page, "HyperLoRAEncodeIdentity", "identity", "HyperLoRAApply", "lora")
    assert not connects(page, "HyperLoRADetectFaces", "faces", "HyperLoRAGenerate", "identity")


def test_a_slot_is_added_with_every_photo_and_taken_away_again(page):
    page.load(template("portrait_simple"))
    names = """() => window.app.rootGraph.nodes.find(n => n.type === "HyperLoRAPortrait").inputs
        .map(i => i.name).filter(n => n.startsWith("images."))"""
    assert page.page.evaluate(names) == ["images.image0", "images.image1"]
    page.page.evaluate(
        """() => {
            const photo = window.LiteGraph.createNode("LoadImage");
            const portrait = window.app.rootGraph.nodes.find(n => n.type === "HyperLoRAPortrait");
            window.app.rootGraph.add(photo);
            photo.connect(0, portrait, portrait.inputs.findIndex(i => i.name === "images.image1"));
        }"""
    )
    assert page.page.evaluate(names) == ["images.image0", "images.image1", "images.image2"]
    (portrait,) = [node for node in page.prompt().values() if node["class_type"] == "HyperLoRAPortrait"]
    assert {"images.image0", "images.image1"} <= portrait["inputs"].keys()
    assert "images.image2" not in portrait["inputs"]


def test_the_name_to_save_by_takes_values_of_other_nodes(page):
    """As in ComfyUI's own save nodes; dates are the server's to fill in, for prompts over the API have them too."""
    page.load(template("portrait_steps"))
    page.set_widgets({"KSampler": {"seed": 77}, "HyperLoRASave": {"filename_prefix": "%date:dd.MM%/%KSampler.seed%_a"}})
    (save,) = [node for node in page.prompt().values() if node["class_type"] == "HyperLoRASave"]
    assert save["inputs"]["filename_prefix"] == "%date:dd.MM%/77_a"


def test_a_bypassed_node_lets_the_model_through(page):
    for name, node in (("portrait_simple", "HyperLoRAPortrait"), ("portrait_steps", "HyperLoRAApply")):
        page.load(template(name))
        page.page.evaluate("type => { window.app.rootGraph.nodes.find(n => n.type === type).mode = 4; }", node)
        prompt = page.prompt()
        sampler, checkpoint = (workflows.node(prompt, kind) for kind in ("KSampler", "CheckpointLoaderSimple"))
        assert workflows.nodes(prompt, node) == []
        assert prompt[sampler]["inputs"]["model"] == [checkpoint, 0]


@pytest.mark.parametrize("either_page", [pytest.param("canvas", marks=pytest.mark.slow), "vue"], indirect=True)
def test_a_template_runs_and_shows_what_it_did(either_page, server, tmp_path):
    page = either_page
    requests.post(f"{server.url}/free", json={"free_memory": True}, timeout=30)  # nothing comes from ComfyUI's cache
    small(page, "portrait_steps_base")
    end = page.queue()
    assert end["type"] == "execution_success", end
    for node in ("HyperLoRAEncodeIdentity", "HyperLoRAEncodeBase", "SaveImage"):
        page.page.wait_for_function(
            """type => window.app.rootGraph.nodes.some(
                n => n.type === type && window.app.nodeOutputs[n.id]?.images?.length === 1)""",
            arg=node,
            timeout=10_000,
        )
    page.picture(tmp_path / "graph.png")
    assert page.errors == []


def test_what_a_node_found_out_is_read_on_it(either_page, server, tmp_path):
    page = either_page
    requests.post(f"{server.url}/free", json={"free_memory": True}, timeout=30)
    small(page, "keypoints_controlnet")
    for _ in range(2):  # once more: the panel is there already
        assert page.queue()["type"] == "execution_success"
        panel = page.page.locator(".hyperlora-text").filter(has_text="photo 1: keep. face ")
        panel.wait_for(timeout=10_000)
        assert panel.count() == 1 and "nothing has to be replaced" in panel.inner_text()
        stands_on(page, panel, "HyperLoRAPhotoReport")
    page.picture(tmp_path / "graph.png")
    prompt = page.prompt()
    assert prompt[workflows.node(prompt, "HyperLoRAPhotoReport")]["inputs"].keys() == {"faces"}
    assert page.errors == []


def test_a_failure_is_shown_with_our_sentence(page, server, tmp_path):
    Image.new("RGB", (64, 64), "gray").save(tmp_path / "blank.png")
    server.upload(tmp_path / "blank.png")
    small(page, "portrait_simple")
    page.set_widgets({"LoadImage": {"image": "blank.png"}})
    end = page.queue()
    assert end["type"] == "execution_error"
    assert end["detail"]["node_type"] == "HyperLoRAPortrait"
    assert end["detail"]["exception_message"].startswith("photo 1 of 1: no face was found")
    message(page, "photo 1 of 1: no face was found")


def test_a_photo_that_was_left_out_is_said(page, server, tmp_path):
    Image.new("RGB", (64, 64), "gray").save(tmp_path / "blank.png")
    server.upload(tmp_path / "blank.png")
    small(page, "portrait_simple")
    page.set_widgets({"LoadImage": {"image": "blank.png"}, "HyperLoRAPortrait": {"on_no_face": "bypass"}})
    assert page.queue()["type"] == "execution_success"
    for remark in ("left out photo 1 of 1: no face was found", "none is left: the model stays as it is"):
        message(page, remark)
    assert page.errors == []


def test_a_masks_misfit_is_said_while_the_picture_is_drawn(page):
    """Masks of two halves, side by side, over a photo that is cut to a tall one."""
    prompt = workflows.load("portrait_steps")
    apply, photo, sampler = (workflows.node(prompt, kind) for kind in ("HyperLoRAApply", "LoadImage", "KSampler"))
    inputs, checkpoint = prompt[apply]["inputs"], workflows.node(prompt, "CheckpointLoaderSimple")
    prompt[photo]["inputs"]["image"] = "photo.png"
    prompt |= {
        "90": workflows.new("SolidMask", value=0.0, width=128, height=128),
        "91": workflows.new("SolidMask", value=1.0, width=64, height=128),
        "92": workflows.new("MaskComposite", destination=["90", 0], source=["91", 0], x=0, y=0, operation="add"),
        "93": workflows.new("ImageScale", image=[photo, 0], upscale_method="area", width=64, height=128, crop="center"),
        "94": workflows.new("VAEEncode", pixels=["93", 0], vae=[checkpoint, 2]),
        apply: workflows.new("HyperLoRAApplyRegions", model=inputs["model"], strength=1.0),
    }
    prompt[apply]["inputs"] |= {"loras.lora0": inputs["lora"], "masks.mask0": ["92", 0]}
    prompt[sampler]["inputs"] |= {"steps": 2, "denoise": 0.5, "latent_image": ["94", 0]}
    page.load_api(prompt, "tall")
    assert page.queue()["type"] == "execution_success"
    message(page, "masks of 128 x 128 are stretched over a picture of 64 x 128")
    assert page.errors == []


def test_every_node_has_a_help_page(server):
    for node, info in server.object_info().items():
        if info["python_module"].endswith(PACK_NAME):
            page = requests.get(f"{server.url}/extensions/{PACK_NAME}/docs/{node}.md", timeout=30)
            assert page.ok and page.text.startswith(f"# {info['display_name']}\n"), node


def test_every_input_and_output_says_what_it_is(server):
    for node, info in server.object_info().items():
        if not info["python_module"].endswith(PACK_NAME):
            continue
        assert info["category"].partition("/")[0] == "HyperLoRA" and info["description"]
        assert bool(info["search_aliases"]) != bool(info.get("deprecated")), "search offers our own nodes"
        for name, spec in (info["input"]["required"] | info["input"].get("optional", {})).items():
            assert spec[1].get("tooltip"), f"{node}: {name}"


def test_a_help_page_is_read_beside_the_graph_with_its_picture(fresh_page, tmp_path):
    page = fresh_page
    small(page, "portrait_simple")
    page.page.evaluate(
        """() => {
            const { app } = window, vue = document.querySelector("#vue-app").__vue_app__;
            app.canvas.selectItems([app.rootGraph.nodes.find((node) => node.type === "HyperLoRAPortrait")]);
            vue.config.globalProperties.$pinia._s.get("rightSidePanel").openPanel("info");
        }"""
    )
    page.page.get_by_text("What goes wrong").wait_for(timeout=10_000)
    picture = page.page.locator("img[src*='docs/img/HyperLoRAPortrait']")
    picture.wait_for(timeout=10_000)
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 400
    page.page.screenshot(path=str(tmp_path / "help.png"))
    assert page.errors == []
