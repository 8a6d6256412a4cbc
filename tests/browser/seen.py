"""Whether what is there for Playwright is there for an artist: on its node, or in a message that is read."""

from playwright.sync_api import Locator

from tests.support.browser import FrontEnd

_STANDS = """([element, type]) => {
    const { app, LiteGraph } = window, node = app.rootGraph.nodes.find(n => n.type === type);
    const { scale, offset } = app.canvas.ds, canvas = app.canvas.canvas.getBoundingClientRect();
    const [x, y, width, height] = node.boundingRect;
    const drawn = {
        left: canvas.left + (x + offset[0]) * scale, right: canvas.left + (x + width + offset[0]) * scale,
        top: canvas.top + (y + offset[1]) * scale, bottom: canvas.top + (y + height + offset[1]) * scale,
    };
    const card = LiteGraph.vueNodesMode && document.querySelector(`.lg-node[data-node-id="${node.id}"]`);
    const place = card ? card.getBoundingClientRect() : drawn, box = element.getBoundingClientRect();
    const round = ({ left, top, right, bottom }) => [left, top, right, bottom].map(Math.round);
    const within = box.left >= place.left - 2 && box.right <= place.right + 2
        && box.top >= place.top - 2 && box.bottom <= place.bottom + 2;
    const wide = box.width > 0.7 * (place.right - place.left) && box.height > 20 * scale;
    return within && wide ? "" : `the panel is at ${round(box)}, its ${type} at ${round(place)}`;
}"""


def stands_on(page: FrontEnd, panel: Locator, node: str) -> None:
    """Assert that a panel fills the width of the first node of a class, and nothing beside the node.

    It moves there at one of the next frames: it has sixty, a second.
    """
    wrong = ""
    for _ in range(20):
        wrong = page.page.evaluate(_STANDS, [panel.element_handle(), node])
        if not wrong:
            return
        page.drawn()
    raise AssertionError(wrong)


def message(page: FrontEnd, text: str) -> Locator:
    """Wait for a message in the corner that has a text. (Newer front ends say it to screen readers once more.)"""
    alert = page.page.get_by_role("alert").filter(has_text=text).first
    alert.wait_for(timeout=10_000)
    return alert


def search(page: FrontEnd, words: str) -> Locator:
    """Open ComfyUI's search for nodes and type something; its field. (It is another dialog in newer front ends.)"""
    page.page.evaluate("() => window.app.extensionManager.command.execute('Workspace.SearchBox.Toggle')")
    field = page.page.get_by_role("combobox").or_(page.page.get_by_placeholder("Search for nodes")).first
    field.fill(words)
    return field
