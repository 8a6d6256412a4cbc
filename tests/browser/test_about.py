"""What a report of a bug needs, on the page About of the pack's settings."""

import pytest


@pytest.mark.slow
def test_the_report_is_seen_and_copied(fresh_page, server, tmp_path):
    page = fresh_page
    page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.page.evaluate("() => window.app.extensionManager.command.execute('Comfy.ShowSettingsDialog')")
    page.page.get_by_placeholder("Search Settings").first.fill("What a report of a bug needs")
    show = page.page.get_by_role("button", name="Show report")
    show.wait_for(timeout=20_000)
    copy = page.page.get_by_role("button", name="Copy report")
    assert copy.is_disabled()
    show.click()
    report = page.page.locator(".hyperlora-report")
    report.get_by_text("HyperLoRA checkpoint").wait_for(timeout=60_000)
    box = report.bounding_box()
    assert box["width"] > 200 and box["height"] > 100
    page.page.screenshot(path=str(tmp_path / "about.png"))
    text = report.inner_text()
    assert "ComfyUI" in text and "CPUExecutionProvider" in text and str(server.base) not in text
    copy.click()
    page.page.get_by_text("Copied", exact=True).wait_for(timeout=10_000)
    assert page.page.evaluate("() => navigator.clipboard.readText()").strip() == text.strip()
    assert page.errors == []
