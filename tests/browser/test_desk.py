"""What an artist sees and does on the nodes, in both of the modes: faces picked, curves drawn, warnings, cards."""

import json

import pytest
import requests

from demo import workflows
from demo.workflows import template
from tests.browser.seen import message, stands_on
from tests.support.browser import eventually

PICKER = ".hyperlora-faces"


def picks(page) -> list[dict]:
    prompt = page.prompt()
    return json.loads(prompt[workflows.node(prompt, "HyperLoRADetectFaces")]["inputs"]["picked"])


def with_group(page, server, photos) -> None:
    """The single steps, with the photo of six people; the picker in sight."""
    requests.post(f"{server.url}/free", json={"free_memory": True}, timeout=30)  # nothing comes from ComfyUI's cache
    server.upload(photos["group"], "group.jpg")
    page.load(template("portrait_steps"))
    page.set_widgets({"LoadImage": {"image": "group.jpg"}, "EmptyLatentImage": {"width": 128, "height": 128}})
    page.set_widgets({"KSampler": {"steps": 2}})
    page.show("HyperLoRADetectFaces")
    page.page.locator(f"{PICKER} .hyperlora-face").nth(5).wait_for(timeout=60_000)
    stands_on(page, page.page.locator(PICKER), "HyperLoRADetectFaces")


def test_faces_are_picked_by_mouse_and_by_keyboard(either_page, server, photos, tmp_path):
    page = either_page
    with_group(page, server, photos)
    faces, status = page.page.locator(f"{PICKER} .hyperlora-face"), page.page.locator(f"{PICKER} [role=status]")
    assert faces.count() == 6 and picks(page) == []
    pressed = lambda: [faces.nth(i).get_attribute("aria-pressed") for i in range(6)]  # noqa: E731

    faces.nth(2).click()
    assert pressed().index("true") == 2 and pressed().count("true") == 1 and len(picks(page)) == 1
    faces.nth(4).click()
    assert pressed().index("true") == 4 and pressed().count("true") == 1, "a click picks this face alone"
    faces.nth(1).click(modifiers=["Shift"])
    assert [i for i, state in enumerate(pressed()) if state == "true"] == [1, 4]
    assert status.inner_text() == "Picked: 2"
    faces.nth(1).click(modifiers=["Shift"])
    assert len(picks(page)) == 1

    faces.nth(4).focus()
    page.page.keyboard.press("ArrowRight")
    page.page.keyboard.press("Enter")
    assert pressed().index("true") == 5
    page.page.keyboard.press("ArrowLeft")
    page.page.keyboard.press("Shift+Space")
    assert [i for i, state in enumerate(pressed()) if state == "true"] == [4, 5]
    page.page.keyboard.press("Delete")
    assert faces.count() == 6, "Delete takes no node away"
    page.picture(tmp_path / "picked.png")

    end = page.queue()
    assert end["type"] == "execution_success", end
    crops = page.page.evaluate(
        "() => window.app.nodeOutputs[window.app.rootGraph.nodes.find(n => n.type === 'HyperLoRAEncodeIdentity').id]"
    )
    assert len(crops["images"]) == 2 and crops["hyperlora_identity"][0]["photos"] == 2
    card = page.page.locator(".hyperlora-card").filter(has_text="Photos: 2")
    card.wait_for(timeout=10_000)
    stands_on(page, card, "HyperLoRAEncodeIdentity")
    page.picture(tmp_path / "ran.png")
    page.page.get_by_role("button", name="Clear").first.click()
    assert picks(page) == [] and pressed().count("true") == 0
    assert page.errors == []


def test_picks_survive_saving_copying_undo_and_a_reload(either_page, server, photos):
    page = either_page
    with_group(page, server, photos)
    page.page.locator(f"{PICKER} .hyperlora-face").nth(3).click()
    before, saved = picks(page), page.workflow()
    page.page.keyboard.press("Control+z")
    eventually(lambda: picks(page) == [])
    page.load(template("saved_lora"))
    page.load(saved)
    assert picks(page) == before
    face = page.page.locator(f"{PICKER} .hyperlora-face[aria-pressed=true]")
    face.wait_for(timeout=30_000)
    assert face.count() == 1
    copies = page.page.evaluate(
        """() => {
            const { canvas, rootGraph } = window.app, kind = "HyperLoRADetectFaces";
            canvas.select(rootGraph.nodes.find(n => n.type === kind));
            canvas.copyToClipboard();
            canvas.pasteFromClipboard();
            return rootGraph.nodes.filter(n => n.type === kind).map(
                n => n.widgets.find(w => w.name === "picked").value);
        }"""
    )
    assert [json.loads(copy) for copy in copies] == [before, before]
    assert page.errors == []


@pytest.mark.slow
def test_another_photo_under_a_pick_is_said_on_the_node_and_by_the_run(page, server, photos):
    with_group(page, server, photos)
    page.page.locator(f"{PICKER} .hyperlora-face").first.click()
    page.set_widgets({"LoadImage": {"image": "photo.png"}})
    page.page.locator(PICKER).get_by_text("A face was picked on another photo").wait_for(timeout=30_000)
    end = page.queue()
    assert end["type"] == "execution_error"
    assert end["detail"]["exception_message"].startswith("a face was picked on another photo")
    message(page, "a face was picked on another photo")


@pytest.mark.slow
def test_photos_that_come_from_no_file_are_picked_on_after_a_run(either_page, server, photos):
    page = either_page
    with_group(page, server, photos)
    page.page.evaluate(
        """() => {
            const { app, LiteGraph } = window, kind = type => app.rootGraph.nodes.find(n => n.type === type);
            const flip = LiteGraph.createNode("ImageScaleBy"), faces = kind("HyperLoRADetectFaces");
            app.rootGraph.add(flip);
            flip.widgets.find(w => w.name === "scale_by").value = 0.5;
            kind("LoadImage").connect(0, flip, 0);
            flip.connect(0, faces, faces.inputs.findIndex(i => i.name === "images.image0"));
        }"""
    )
    page.page.locator(PICKER).get_by_text("Run once to see the faces here").wait_for(timeout=10_000)
    assert page.queue()["type"] == "execution_success"
    faces = page.page.locator(f"{PICKER} .hyperlora-face")
    faces.nth(5).wait_for(timeout=10_000)
    faces.nth(3).click()
    (pick,) = picks(page)
    assert page.queue()["type"] == "execution_success"
    assert faces.nth(3).get_attribute("aria-pressed") == "true" and picks(page) == [pick]
    assert page.errors == []


def test_a_schedule_is_drawn_and_its_points_are_moved(either_page, tmp_path):
    page = either_page
    page.load(template("schedule"))
    page.show("HyperLoRASchedule")

    def values() -> dict:
        prompt = page.prompt()
        return prompt[workflows.node(prompt, "HyperLoRASchedule")]["inputs"]

    page.set_widgets({"HyperLoRASchedule": {"curve": "rise", "start_percent": 0.2, "end_percent": 1.0}})
    handles = page.page.locator(".hyperlora-handle")
    eventually(lambda: handles.count() == 5)
    stands_on(page, page.page.locator(".hyperlora-schedule"), "HyperLoRASchedule")
    handles.nth(4).focus()
    page.page.keyboard.press("Shift+ArrowDown")
    assert (values()["curve"], values()["points"]) == ("points", "0.2: 0, 0.4: 0.25, 0.6: 0.5, 0.8: 0.75, 1: 0.9")
    page.page.keyboard.press("Delete")
    assert handles.count() == 4
    box = page.page.locator(".hyperlora-curve").bounding_box()
    first = handles.first.bounding_box()
    page.page.mouse.move(first["x"] + first["width"] / 2, first["y"] + first["height"] / 2)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.5 * box["height"], steps=4)
    page.page.mouse.up()
    x, y = (float(number) for number in values()["points"].split(",")[0].split(":"))
    assert abs(x - 0.1) < 0.02 and abs(y - 0.5) < 0.03
    page.page.mouse.dblclick(box["x"] + 0.95 * box["width"], box["y"] + 0.2 * box["height"])
    assert handles.count() == 5
    page.set_widgets({"HyperLoRASchedule": {"points": "nonsense"}})
    page.page.get_by_text("The points cannot be read").wait_for(timeout=10_000)
    page.picture(tmp_path / "schedule.png")
    assert page.errors == []


def test_a_prompt_without_the_trigger_words_is_said_and_mended(either_page, tmp_path):
    page = either_page
    page.load(template("portrait_simple"))
    warnings = page.page.locator(".hyperlora-warnings")
    encoders = """text => { const node = window.app.rootGraph.nodes.find(
        n => n.type === "CLIPTextEncode" && /trigger/.test(n.title)); const w = node.widgets[0];
        if (text !== null) w.value = text; return w.value; }"""
    original = page.page.evaluate(encoders, None)
    page.page.evaluate(encoders, "a portrait in a garden")
    page.show("HyperLoRAPortrait")
    warnings.wait_for(timeout=10_000)
    page.page.evaluate(encoders, original)
    warnings.wait_for(state="detached", timeout=10_000)  # for the template's prompt has them
    page.page.evaluate(encoders, "a portrait in a garden")
    warnings.get_by_text("The prompt lacks the trigger words: fcsks fxhks fhyks").wait_for(timeout=10_000)
    stands_on(page, warnings, "HyperLoRAPortrait")
    page.picture(tmp_path / "warned.png")
    warnings.get_by_role("button", name="Insert").click()
    assert page.page.evaluate(encoders, None) == "fcsks fxhks fhyks, a portrait in a garden"
    warnings.wait_for(state="detached", timeout=10_000)
    page.set_widgets({"CheckpointLoaderSimple": {"ckpt_name": "arienmixxlAsian_v40.safetensors"}})
    warnings.get_by_text("arienmixxlAsian_v40.safetensors is known not to work").wait_for(timeout=10_000)
    stands_on(page, warnings, "HyperLoRAPortrait")
    assert page.errors == []


WARNED = """node => {
    const lacking = (each) => each.element?.textContent.includes("The prompt lacks the trigger words");
    return window.app.rootGraph.nodes.some(n => n.type === node && n.widgets?.some(lacking)); }"""
PROMPTS = """texts => window.app.rootGraph.nodes.filter(n => n.type === "CLIPTextEncode").map((n, i) => {
    const before = n.widgets[0].value;
    n.widgets[0].value = texts ? texts[i] : "a garden";
    return before; })"""
HOOKED = """() => { const { LiteGraph } = window, graph = window.app.rootGraph;
    const hook = LiteGraph.createNode("HyperLoRACreateHook"), put = LiteGraph.createNode("ConditioningSetProperties");
    [hook, put].forEach(n => graph.add(n));
    const encoder = graph.nodes.find(n => n.type === "CLIPTextEncode" && /trigger/.test(n.title));
    hook.connect(0, put, put.findInputSlot("hooks")); encoder.connect(0, put, put.findInputSlot("cond_NEW")); }"""


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("faces_refine", "HyperLoRARefineFaces"),
        ("sample_until_alike", "HyperLoRASampleUntilAlike"),
        ("people_regions", "HyperLoRAApplyRegions"),
        ("people_prompts", "HyperLoRAPersonForPrompt"),
        ("portrait_simple", "HyperLoRACreateHook"),
    ],
)
def test_every_node_by_which_a_lora_takes_effect_says_that_trigger_words_lack(page, name, node):
    page.load(template(name))
    if node == "HyperLoRACreateHook":
        page.page.evaluate(HOOKED)
    original = page.page.evaluate(PROMPTS, None)
    page.page.wait_for_function(WARNED, arg=node, timeout=10_000)
    page.page.evaluate(PROMPTS, original)
    page.page.wait_for_function(f"node => !({WARNED})(node)", arg=node, timeout=10_000)  # the template's have them
    assert page.errors == []


def test_a_checkpoint_that_is_not_there_leads_to_the_dialog_of_models(either_page, tmp_path):
    page = either_page
    absent = template("portrait_simple")
    loader = next(node for node in absent["nodes"] if node["type"] == "HyperLoRALoadModel")
    loader["widgets_values"][0] = "sdxl_hyper_id_lora_v1_edit"
    page.load(absent)
    warnings = page.page.locator(".hyperlora-warnings")
    warnings.get_by_text("There is no HyperLoRA of this name.").wait_for(timeout=10_000)
    page.show("HyperLoRALoadModel")
    stands_on(page, warnings, "HyperLoRALoadModel")
    page.picture(tmp_path / "absent.png")
    warnings.get_by_role("button", name="HyperLoRA models").click()
    page.page.get_by_role("dialog").get_by_text("HyperLoRA, edit").first.wait_for(timeout=10_000)
    page.page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.set_widgets({"HyperLoRALoadModel": {"model": "sdxl_hyper_id_lora_v1_fidelity"}})
    warnings.wait_for(state="detached", timeout=10_000)
    assert page.errors == []


@pytest.mark.slow
def test_a_connection_that_breaks_is_said_and_what_was_asked_comes_with_it(either_fresh_page, server, photos):
    page = either_fresh_page
    with_group(page, server, photos)
    faces, status = page.page.locator(f"{PICKER} .hyperlora-face"), page.page.locator(f"{PICKER} [role=status]")
    faces.nth(1).click()
    before = picks(page)
    page.page.context.set_offline(True)
    server.upload(photos["biden"], "other.jpg")
    page.set_widgets({"LoadImage": {"image": "other.jpg"}})
    status.get_by_text("Failed to fetch").wait_for(timeout=20_000)
    page.page.evaluate("() => window.app.extensionManager.command.execute('HyperLoRA.Models')")
    page.page.get_by_role("dialog").get_by_text("Failed to fetch").wait_for(timeout=20_000)
    page.page.get_by_role("dialog").get_by_role("button", name="Close").click()
    assert picks(page) == before, "nothing is lost"

    page.page.context.set_offline(False)
    page.page.wait_for_function(
        "faces => document.querySelectorAll(faces).length === 1", arg=f"{PICKER} .hyperlora-face", timeout=30_000
    )
    page.set_widgets({"LoadImage": {"image": "group.jpg"}})
    faces.nth(5).wait_for(timeout=30_000)
    assert picks(page) == before and status.inner_text() == "Picked: 1"
    ours = [error for error in page.errors if "ERR_INTERNET_DISCONNECTED" not in error and "WebSocket" not in error]
    assert ours == []


def test_a_kept_person_is_seen_before_a_run(either_page, tmp_path):
    page = either_page
    page.load(template("identity_load"))
    page.show("HyperLoRALoadIdentity")
    card = page.page.locator(".hyperlora-card")
    card.get_by_text("Photos: 1").wait_for(timeout=10_000)
    stands_on(page, card, "HyperLoRALoadIdentity")
    assert "Made with 'hyperlora_demo'" in card.inner_text()
    page.picture(tmp_path / "card.png")
    with page.page.expect_response(lambda response: "/hyperlora/identity" in response.url, timeout=10_000):
        page.set_widgets({"HyperLoRALoadIdentity": {"identity_name": "anna_00001_.safetensors"}})
    page.drawn()
    assert card.count() == 1 and page.errors == []


def test_nodes_say_at_what_they_are_and_carry_the_score(either_page, server):
    page = either_page
    requests.post(f"{server.url}/free", json={"free_memory": True}, timeout=30)  # nothing comes from ComfyUI's cache
    page.load(template("likeness"))
    page.set_widgets({"EmptyLatentImage": {"width": 128, "height": 128}, "KSampler": {"steps": 1}})
    page.page.evaluate(
        """() => {
            window.badgesSeen = [];
            for (const node of window.app.rootGraph.nodes) {  // whoever sets a badge has its node drawn again
                const drawAgain = node.setDirtyCanvas;
                node.setDirtyCanvas = function (...args) {
                    window.badgesSeen.push(...Object.values(this.hyperloraBadges ?? {}));
                    return drawAgain?.apply(this, args);
                };
            }
        }"""
    )
    assert page.queue()["type"] == "execution_success"
    for badge in ("Making the LoRA …", "Judging …", "no face"):
        page.page.wait_for_function("badge => window.badgesSeen.includes(badge)", arg=badge, timeout=10_000)
    page.page.wait_for_function(
        "() => !window.app.rootGraph.nodes.some((node) => node.hyperloraBadges?.stage)", timeout=10_000
    )
    assert page.errors == []
