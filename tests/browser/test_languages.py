"""The pack in the languages of ComfyUI's front end: nodes, options, settings, menu and messages."""

import pytest

from demo.workflows import template
from tests.browser.seen import stands_on
from tests.support.browser import front_end
from tools.locales import LANGUAGES, words

OFFERED = [language for language in LANGUAGES if language != "de"]  # which ComfyUI's front end has not yet
IN_SHORT = ("zh",)
TIP = "Drag the points, or use the arrow keys. Double-click adds one, Delete removes it."
OPTION = """([node, widget]) => {
    const { widgets } = window.app.rootGraph.nodes.find(({ comfyClass }) => comfyClass === node);
    const { label, value, _displayValue } = widgets.find(({ name }) => name === widget);
    return [label, value, _displayValue];
}"""


@pytest.mark.parametrize("vue", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["canvas", "vue"])
@pytest.mark.parametrize(
    "language", [pytest.param(name, marks=() if name in IN_SHORT else pytest.mark.slow) for name in OFFERED]
)
def test_all_that_is_ours_follows_the_language(server, browser, language, vue, tmp_path):
    translations = words(language)
    say = lambda text: translations.get(text, text)  # noqa: E731
    settings = {"Comfy.Locale": language, "Comfy.VueNodes.Enabled": vue}
    with front_end(server, settings, browser=browser) as page:
        page.load(template("schedule"))
        page.show("HyperLoRASchedule")
        panel = page.page.locator(".hyperlora-schedule")
        panel.get_by_text(say(TIP)).wait_for(timeout=10_000)
        stands_on(page, panel, "HyperLoRASchedule")
        label = "points" if say("points") == "points" else f"points · {say('points')}"
        assert page.page.evaluate(OPTION, ["HyperLoRASchedule", "curve"]) == [say("curve"), "points", label]
        if vue:
            page.page.locator("[data-node-id]").get_by_text(label).first.wait_for(timeout=10_000)
        title = page.page.evaluate("() => window.LiteGraph.createNode('HyperLoRADetectFaces').title")
        assert title == say("HyperLoRA Detect Faces")
        page.picture(tmp_path / "node.png")
        assert page.prompt() and page.workflow()["nodes"], "words are labels: what is saved and queued has none"
        assert say("curve") == "curve" or say("curve") not in str(page.prompt())

        page.page.evaluate("() => window.app.extensionManager.command.execute('Comfy.ShowSettingsDialog')")
        page.page.locator("input[placeholder]").first.fill("HyperLoRA")
        page.page.get_by_text(say("Keep faces and LoRAs for the next prompts (MB)")).first.wait_for(timeout=10_000)
        page.picture(tmp_path / "settings.png")
        assert page.errors == []


@pytest.mark.slow
def test_what_stands_on_the_nodes_changes_with_the_setting(fresh_page):
    page = fresh_page
    page.load(template("schedule"))
    page.show("HyperLoRASchedule")
    panel = page.page.locator(".hyperlora-schedule")
    panel.get_by_text(TIP).wait_for(timeout=10_000)
    for language in ("ja", "en"):
        page.page.evaluate("language => window.app.extensionManager.setting.set('Comfy.Locale', language)", language)
        panel.get_by_text(words(language).get(TIP, TIP)).wait_for(timeout=10_000)  # the workflow is opened anew
        page.show("HyperLoRASchedule")
        stands_on(page, panel, "HyperLoRASchedule")
    assert page.errors == []
