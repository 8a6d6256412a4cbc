"""ComfyUI's own front end in a real Chromium, on a server that has every model and photo that the templates name."""

import re
import shutil
from collections.abc import Iterator

import pytest

from demo.cache import cache_dir
from demo.server import ComfyServer
from tests.support.browser import FrontEnd, front_end
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


@pytest.fixture(autouse=True)
def kept_screenshots(request, tmp_path) -> Iterator[None]:
    """The screenshots of the last run stay, to be looked at, in the folder "screenshots" of the cache."""
    yield
    kept = cache_dir() / "screenshots" / re.sub(r"\W+", "_", request.node.name)
    shutil.rmtree(kept, ignore_errors=True)
    for picture in tmp_path.glob("*.png"):
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, kept)


@pytest.fixture
def page(server) -> Iterator[FrontEnd]:
    """The front end as it comes, with its nodes drawn on a canvas."""
    with front_end(server) as page:
        yield page


@pytest.fixture(params=["canvas", pytest.param("vue", marks=pytest.mark.slow)])
def either_page(request, server) -> Iterator[FrontEnd]:
    """The front end with nodes drawn on a canvas, and as Vue components (Nodes 2.0)."""
    with front_end(server, {"Comfy.VueNodes.Enabled": request.param == "vue"}) as page:
        yield page
