"""A report's page in a real browser, without a network."""

from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.support.browser import chromium


@dataclass(frozen=True)
class Look:
    """What a page shows.

    Attributes:
        text: of it all.
        widths: natural widths of its pictures that are loaded, 0 for broken ones.
        images: how many pictures it has.
        asked: URLs that it asked for, beside its own file and data.
        said: on the console, and in dialogs.
        overflow: pixels by which it is wider than the window.
        outside: elements that stick out of the window to the right.
    """

    text: str
    widths: list[int]
    images: int
    asked: list[str]
    said: list[str]
    overflow: int
    outside: int


def look(path: Path, width: int, scrolling: str = "") -> Look:
    """Open a page.

    Args:
        path: of its file.
        width: of the window.
        scrolling: CSS selector of what may be wider than the window, for it scrolls within.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        asked, said = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.goto(path.as_uri())
        overflow = page.evaluate("document.documentElement.scrollWidth") - width
        widths = page.evaluate("[...document.images].filter(one => one.complete).map(one => one.naturalWidth)")
        images = page.evaluate("document.images.length")
        text = page.evaluate("document.body.innerText")
        outside = page.evaluate(
            "scrolling => [...document.querySelectorAll('body *')].filter(one => !(scrolling && one.closest(scrolling))"
            " && one.getBoundingClientRect().right > innerWidth + 1).length",
            scrolling,
        )
        browser.close()
    beyond = [url for url in asked if not url.startswith(("file:", "data:"))]
    return Look(text, widths, images, beyond, said, overflow, outside)
