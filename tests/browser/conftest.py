"""ComfyUI's own front end in a real Chromium, on a server that has every model and photo that the templates name."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser

from demo.cache import cache_dir
from demo.server import ComfyServer
from tests.support.browser import FrontEnd, front_end, launched
from tools import templates

PHOTOS = {
    "photo.png": "obama",
    "photo1.png": "obama",
    "photo2.png": "obama2",
    "photo3.png": "obama3",
    "pose.png": "astronaut",
}


@pytest.fixture(scope="package")
def server(tmp_path_factory, photos) -> Iterator[ComfyServer]:
    """A server with the demo models under the released models' names."""
    models = templates.real_names(tmp_path_factory.mktemp("real_names"))
    with ComfyServer(tmp_path_factory.mktemp("comfyui"), models) as server:
        for name, photo in PHOTOS.items():
            server.upload(photos[photo], name)
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for a file's tests; not for longer, for tests elsewhere run an event loop of their own."""
    with launched() as browser:
        yield browser


@pytest.fixture(autouse=True)
def screenshots(request, tmp_path) -> Iterator[None]:
    """The screenshots of the last run stay, to be looked at, in the folder "screenshots" of the cache."""
    yield
    folder = cache_dir() / "screenshots" / re.sub(r"\W+", "_", request.node.name)
    shutil.rmtree(folder, ignore_errors=True)
    for picture in tmp_path.glob("*.png"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, folder)


@pytest.fixture(scope="module")
def open_page(server, browser) -> Iterator[Callable[[bool], FrontEnd]]:
    """The front end, nodes drawn on a canvas (False) or as Vue components (True); its start takes seconds.

    It is opened once for a file's tests, and blank for each. Tests that change more of it than workflows, dialogs and
    messages take ``fresh_page``.
    """
    with ExitStack() as pages:
        opened: dict[bool, FrontEnd] = {}

        def page(vue: bool) -> FrontEnd:
            if vue not in opened or not opened[vue].blank():
                opened[vue] = pages.enter_context(front_end(server, {"Comfy.VueNodes.Enabled": vue}, browser=browser))
            return opened[vue]

        yield page


@pytest.fixture
def page(open_page) -> FrontEnd:
    """The front end as it comes, with its nodes drawn on a canvas."""
    return open_page(False)


@pytest.fixture(params=["canvas", pytest.param("vue", marks=pytest.mark.slow)])
def either_page(request, open_page) -> FrontEnd:
    """The front end with nodes drawn on a canvas, and as Vue components (Nodes 2.0)."""
    return open_page(request.param == "vue")


@pytest.fixture
def fresh_page(server, browser) -> Iterator[FrontEnd]:
    """The front end, nodes drawn on a canvas, for this test alone."""
    with front_end(server, browser=browser) as page:
        yield page


@pytest.fixture(params=["canvas", "vue"])
def either_fresh_page(request, server, browser) -> Iterator[FrontEnd]:
    """The front end in both ways to draw nodes, for this test alone."""
    with front_end(server, {"Comfy.VueNodes.Enabled": request.param == "vue"}, browser=browser) as page:
        yield page
