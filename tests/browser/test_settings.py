"""The pack's settings in ComfyUI's own dialog."""

import json

from tests.support.browser import eventually

SETTING = "HyperLoRA.Cache.Size"


def test_the_size_of_the_cache_is_chosen_in_the_dialog_and_saved_for_the_server(page, server):
    def saved() -> int:
        return json.loads((server.base / "user" / "default" / "comfy.settings.json").read_text()).get(SETTING)

    get = f"() => window.app.extensionManager.setting.get('{SETTING}')"
    assert page.page.evaluate(get) == 512
    page.page.evaluate("() => window.app.extensionManager.command.execute('Comfy.ShowSettingsDialog')")
    page.page.get_by_placeholder("Search Settings").first.fill("HyperLoRA")
    page.page.get_by_text("Keep faces and LoRAs for the next prompts (MB)").first.wait_for()
    assert page.errors == []
    try:
        page.page.evaluate(f"() => window.app.extensionManager.setting.set('{SETTING}', 64)")
        eventually(lambda: saved() == 64)
    finally:
        page.page.evaluate(f"() => window.app.extensionManager.setting.set('{SETTING}', 512)")
        eventually(lambda: saved() == 512)
