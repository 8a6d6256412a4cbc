"""A real Chromium on ComfyUI's front end: for the templates and for the tests."""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Browser, Page, sync_playwright

from demo.cache import SetupError
from demo.server import ComfyServer

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# What ComfyUI's own front end says on every page; none of it is the pack's.
_HARMLESS = re.compile(
    r"user\.css|userdata|legacy (queue|history)|open_maskeditor is deprecated|graph accessed before initiali"
    r"|favicon\.ico|api\.comfy\.org|huggingface\.co"
    r"|surely_absent"  # a file that FrontEnd.missing asks for
    r"|/docs/\w+/\w+\.md"  # a help page in the language, before the one that is there
)

_READY = """() => window.app?.extensionManager && window.app.graph && window.app.vueAppReady && window.LiteGraph
    && Object.keys(window.LiteGraph.registered_node_types).length > 100
    && !document.getElementById("splash-loader")"""

SETTINGS: dict[str, Any] = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasMenu": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.RightSidePanel.IsOpen": False,
    "Comfy.Locale": "en",
}


def chromium() -> str:
    """The browser to run: ``$CHROMIUM``, else the first on PATH.

    Raises:
        SetupError: there is none.
    """
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    for name in names:
        path = shutil.which(name) if name else None
        if path:
            return path
    raise SetupError("Chromium was not found: sudo apt-get install chromium, or set CHROMIUM=/path/to/chromium")


@contextmanager
def launched() -> Iterator[Browser]:
    """A running Chromium without any page.

    While it runs, this thread can neither start a second one nor call ``asyncio.run``, which Playwright forbids.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def front_end(
    server: ComfyServer,
    settings: Mapping[str, Any] | None = None,
    size: tuple[int, int] = (1600, 1000),
    browser: Browser | None = None,
) -> Iterator["FrontEnd"]:
    """ComfyUI's front end in a fresh profile: no cookies, no storage.

    Args:
        server: a running server.
        settings: of the front end, beside ``SETTINGS``. The server keeps them, so each call sets all that it needs.
        size: of the window, in pixels.
        browser: the Chromium to open it in; one is launched for it where none is given.
    """
    if browser is None:
        with launched() as own, front_end(server, settings, size, own) as page:
            yield page
        return
    for key, value in (SETTINGS | {"Comfy.VueNodes.Enabled": False} | dict(settings or {})).items():
        requests.post(f"{server.url}/settings/{key}", json=value, timeout=30).raise_for_status()
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    try:
        yield FrontEnd(context.new_page(), server.url)
    finally:
        context.close()


def eventually(holds: Callable[[], object], seconds: float = 20) -> None:
    """Wait until something holds.

    Args:
        holds: asked ten times a second.
        seconds: to wait at most.

    Raises:
        AssertionError: it did not hold in time.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"it did not come to hold within {seconds:g} s"
        time.sleep(0.1)


class FrontEnd:
    """One page of the front end.

    Attributes:
        page: Playwright's page.
        errors: what the console reported as an error, and exceptions, but for what ComfyUI's front end always says.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._hear)
        page.goto(url)
        page.wait_for_function(_READY, timeout=120_000)

    def _hear(self, message: Any) -> None:
        text = f"{message.text} {message.location.get('url', '')}"
        if message.type == "error" and not _HARMLESS.search(text):
            self.errors.append(text)

    def load(self, workflow: Mapping[str, Any]) -> None:
        """Open a workflow in the UI format, and wait until it is drawn."""
        self.page.evaluate("workflow => window.app.loadGraphData(workflow)", dict(workflow))
        self.drawn()

    def load_api(self, prompt: Mapping[str, Any], name: str) -> None:
        """Open a workflow in the API format, and wait until it is drawn."""
        self.page.evaluate("([prompt, name]) => window.app.loadApiJson(prompt, name)", [dict(prompt), name])
        self.drawn()

    def drawn(self) -> None:
        """Wait until what was changed is on the screen, with the images that belong to it."""
        self.page.evaluate(_FRAMES)
        self.page.wait_for_function("() => [...document.images].every(image => image.complete)")

    def blank(self) -> bool:
        """Close dialogs and messages and open an empty workflow, for another test; whether nothing else is left."""
        self.page.bring_to_front()
        clean = self.page.evaluate(_BLANK)
        self.errors.clear()
        return clean

    def workflow(self) -> dict[str, Any]:
        """The open workflow in the UI format."""
        return self.page.evaluate("() => JSON.parse(JSON.stringify(window.app.rootGraph.serialize()))")

    def prompt(self) -> dict[str, Any]:
        """The open workflow in the API format, as the front end would queue it."""
        return self.page.evaluate("async () => JSON.parse(JSON.stringify((await window.app.graphToPrompt()).output))")

    @property
    def version(self) -> tuple[int, ...]:
        """Of the front end."""
        return tuple(map(int, self.page.evaluate("window.__COMFYUI_FRONTEND_VERSION__").split(".")))

    def missing(self, workflow: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Open a workflow in the UI format; what the front end misses of it: "nodes", "models" and "media".

        It looks for files after loading and does not tell when it is done. So one of each kind that is missing for
        sure goes with the workflow, and what it found when it has found these is all. Front ends before 1.47 show
        missing files in another way: of those only "nodes" is read.
        """
        if self.version < (1, 47):
            self.load(workflow)
            return self.page.evaluate(_MISSING)
        number = max((node["id"] for node in workflow["nodes"]), default=0)
        absent = [
            {"id": number + i, "type": kind, "pos": [0, 0], "size": [300, 300], "widgets_values": values}
            for i, (kind, values) in enumerate(_ABSENT.items(), 1)
        ]
        self.load({**workflow, "nodes": [*workflow["nodes"], *absent]})
        names = [values[0] for values in _ABSENT.values()]
        self.page.wait_for_function(
            f"names => {{ const text = JSON.stringify(({_MISSING})()); return names.every(n => text.includes(n)); }}",
            arg=names,
            timeout=10_000,
        )
        missing = self.page.evaluate(_MISSING)
        return {
            kind: [entry for entry in entries if not any(name in str(entry) for name in names)]
            for kind, entries in missing.items()
        }

    def set_widgets(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Set widgets of every node of a class, as a user would: node class -> widget -> value."""
        self.page.evaluate(_SET_WIDGETS, {node: dict(widgets) for node, widgets in values.items()})

    def show(self, node: str) -> None:
        """Bring the first node of a class into the middle of the window, at its own size."""
        self.page.evaluate(_SHOW, node)
        self.drawn()

    def queue(self, timeout: float = 300) -> dict[str, Any]:
        """Press the Run button and wait for the end.

        Returns:
            "type", one of ``execution_success``, ``execution_error`` and ``execution_interrupted``, and "detail".
        """
        self.page.evaluate(_LISTEN)
        self.page.get_by_test_id("queue-button").click()
        self.page.wait_for_function("() => window.hyperloraEnd", timeout=timeout * 1000)
        return self.page.evaluate("() => window.hyperloraEnd")

    def picture(self, path: Path, margin: float = 40) -> None:
        """Fit the graph into the window, and save a screenshot of it."""
        box = self.page.evaluate(_FIT, margin)
        self.drawn()
        self.page.screenshot(path=str(path), clip=box)


# Vue renders before a frame and the canvas draws in it: the third begins when both are done.
_FRAMES = """async () => {
    for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
}"""

_BLANK = """async () => {
    const { app } = window, vue = document.querySelector("#vue-app").__vue_app__;
    const dialogs = vue.config.globalProperties.$pinia._s.get("dialog");
    for (const { key } of [...dialogs?.dialogStack ?? []]) dialogs.closeDialog({ key });
    app.extensionManager.toast.removeAll?.();
    await app.loadGraphData({ nodes: [], links: [], version: 0.4 });
    app.nodeOutputs = {};
    for (let frame = 0; frame < 60; frame++) {  // dialogs and messages fade
        if (!document.querySelector("[role=dialog], [role=alertdialog], .p-toast-message")) return true;
        await new Promise(requestAnimationFrame);
    }
    return false;
}"""

_ABSENT = {"CheckpointLoaderSimple": ["surely_absent.safetensors"], "LoadImage": ["surely_absent.png", "image"]}

_MISSING = """() => {
    const state = document.querySelector("#vue-app").__vue_app__.config.globalProperties.$pinia.state.value;
    const plain = value => JSON.parse(JSON.stringify(value ?? []));
    return {
        nodes: plain(state.missingNodesError?.missingNodesError?.nodeTypes),
        models: plain(state.missingModel?.missingModelCandidates),
        media: plain(state.missingMedia?.missingMediaCandidates),
    };
}"""

_SET_WIDGETS = """values => {
    for (const node of window.app.rootGraph.nodes)
        for (const [name, value] of Object.entries(values[node.type] ?? {})) {
            const widget = node.widgets.find(w => w.name === name);
            if (!widget) throw new Error(`${node.type} has no widget ${name}`);
            widget.value = value;
            widget.callback?.(value);
        }
}"""

_SHOW = """type => {
    const { app } = window, node = app.rootGraph.nodes.find(n => n.type === type);
    const [x, y, width, height] = node.boundingRect, canvas = app.canvas.canvas.getBoundingClientRect();
    app.canvas.ds.scale = 1;
    app.canvas.ds.offset = [canvas.width / 2 - x - width / 2, canvas.height / 2 - y - height / 2];
    app.canvas.setDirty(true, true);
}"""

_LISTEN = """() => {
    window.hyperloraEnd = null;
    for (const type of ["execution_success", "execution_error", "execution_interrupted"])
        window.app.api.addEventListener(type, event => { window.hyperloraEnd ??= { type, detail: event.detail }; });
}"""

# Scales and moves the canvas so that all nodes and groups fit between the menus; where they then lie, in CSS pixels.
_FIT = """margin => {
    const { app } = window, graph = app.rootGraph;
    const boxes = [...graph.nodes.map(n => [...n.boundingRect]), ...graph.groups.map(g => [...g._bounding])];
    const left = Math.min(...boxes.map(b => b[0])) - margin, top = Math.min(...boxes.map(b => b[1])) - margin;
    const width = Math.max(...boxes.map(b => b[0] + b[2])) + margin - left;
    const height = Math.max(...boxes.map(b => b[1] + b[3])) + margin - top;
    const canvas = app.canvas.canvas.getBoundingClientRect();
    const room = { x: 80, y: 110, width: canvas.width - 100, height: canvas.height - 130 };
    const scale = Math.min(room.width / width, room.height / height, 1);
    app.canvas.ds.scale = scale;
    app.canvas.ds.offset = [room.x / scale - left, room.y / scale - top];
    app.canvas.setDirty(true, true);
    return { x: canvas.left + room.x, y: canvas.top + room.y, width: width * scale, height: height * scale };
}"""
