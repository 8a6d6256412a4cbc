"""A picture of each node for its help page, taken in ComfyUI's own front end.

``make help-pictures`` runs it: ``web/docs/img/<node>.webp``. The photo on HyperLoRA Detect Faces is NASA's of Eileen
Collins, in the public domain.
"""

import io
import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from demo import photos, workflows
from demo.server import PACK, ComfyServer
from tests.support.browser import FrontEnd, front_end

from . import templates

FOLDER = PACK / "web" / "docs" / "img"
SETTINGS = {"Comfy.NodeBadge.NodeSourceBadgeMode": "None"}
WINDOW = (1400, 1700)
SCALE = 1.5
MARGIN = 8

# Nodes that show what they found, by the template that is run for them. The demo models' own pictures are noise: nodes
# that show those alone are taken as they come.
RUNS = {
    "portrait_simple": ("HyperLoRAPortrait",),
    "portrait_steps_base": ("HyperLoRADetectFaces", "HyperLoRAEncodeIdentity", "HyperLoRAEncodeBase"),
    "keypoints_controlnet": ("HyperLoRAPhotoReport", "HyperLoRAFaceKeypoints"),
    "identity_save": ("HyperLoRAMixPhotos", "HyperLoRASaveIdentity"),
    "identity_load": ("HyperLoRALoadIdentity",),
    "people_blend": ("HyperLoRABlend",),
    "people_regions": ("HyperLoRAApplyRegions",),
    "schedule": ("HyperLoRASchedule",),
}
SMALL = {"EmptyLatentImage": {"width": 256, "height": 256}, "KSampler": {"steps": 1}}

_ALONE = """(type) => {
    const graph = window.app.rootGraph, node = window.LiteGraph.createNode(type);
    [...graph.nodes].forEach((other) => graph.remove(other));  // clear() would let numbers, and so values, come again
    [...graph.groups].forEach((group) => graph.remove(group));
    graph.add(node);
    const [width, height] = node.computeSize();
    node.setSize([Math.max(width, 300), height]);
}"""

_ANYWHERE = """(folder) => {
    for (const panel of document.querySelectorAll(".hyperlora-text")) {
        panel.textContent = panel.textContent.replaceAll(folder, "ComfyUI");
    }
}"""

_ENLARGE = """([type, scale, margin]) => {
    const { app } = window, node = app.rootGraph.nodes.find((each) => each.type === type);
    app.canvas.links_render_mode = window.LiteGraph.HIDDEN_LINK;
    app.canvas.deselectAll();
    const [x, y, width, height] = node.boundingRect, canvas = app.canvas.canvas.getBoundingClientRect();
    app.canvas.ds.scale = scale;
    app.canvas.ds.offset = [120 / scale - x, 120 / scale - y];
    app.canvas.setDirty(true, true);
    return {
        x: canvas.left + 120 - margin, y: canvas.top + 120 - margin,
        width: width * scale + 2 * margin, height: height * scale + 2 * margin,
    };
}"""


def pictures(page: FrontEnd, names: list[str], folder: Path) -> Iterator[tuple[str, Image.Image]]:
    """Each node's class and picture.

    Args:
        page: the front end, of ``WINDOW``'s size and with ``SETTINGS``, on a server that has what the templates name.
        names: of the nodes' classes.
        folder: the server's, which is no reader's.

    Raises:
        RuntimeError: a template could not be run.
    """
    for template, names_shown in RUNS.items():
        page.load(workflows.template(template))
        page.set_widgets(SMALL)
        end = page.queue()
        if end["type"] != "execution_success":
            raise RuntimeError(f"{template}: {end}")
        page.page.wait_for_timeout(1000)  # for the pictures
        page.page.evaluate(_ANYWHERE, str(folder))
        for name in names_shown:
            yield name, _taken(page, name)
    for name in sorted(set(names) - {name for names_shown in RUNS.values() for name in names_shown}):
        page.page.evaluate(_ALONE, name)
        page.page.wait_for_timeout(300)  # it is measured when it is drawn
        yield name, _taken(page, name)


def _taken(page: FrontEnd, name: str) -> Image.Image:
    clip: Any = page.page.evaluate(_ENLARGE, [name, SCALE, MARGIN])
    page.page.wait_for_timeout(400)
    return Image.open(io.BytesIO(page.page.screenshot(clip=clip))).convert("RGB")


def main() -> int:
    """Take all pictures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        with ComfyServer(base, templates.real_names(base / "real_names")) as server:
            for photo in templates.PHOTOS:
                server.upload(photos.photos()["astronaut"], photo)
            names = sorted(name for name in server.object_info() if name.startswith("HyperLoRA"))
            with front_end(server, SETTINGS, WINDOW) as page:
                for name, picture in pictures(page, names, base):
                    picture.save(FOLDER / f"{name}.webp", quality=85, method=6)
                    logging.info("web/docs/img/%s.webp", name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
