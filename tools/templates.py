"""The example workflows for the graph editor, made out of their API copies by ComfyUI's own front end.

``make templates`` runs it: each ``example_workflows/api/X.json`` becomes ``example_workflows/X.json``, laid out,
grouped and with a note, and ``X.jpg``, its picture in the list of templates: what the demo's models draw by it.
"""

import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageOps

from demo import workflows
from demo.server import ComfyServer
from demo.shown import thumbnails
from hyperlora_core.files.downloads import CATALOGUE
from tests.support import models
from tests.support.browser import FrontEnd, front_end

from .template_layout import COLUMNS, LAY_OUT, SIZES
from .template_notes import NOTES, SHOWN

PHOTOS = ("photo.png", "photo1.png", "photo2.png", "photo3.png", "pose.png")
"""The names of photos that the workflows use."""

_HUB = "https://huggingface.co"
# Where ComfyUI's editor and other tools find the models that are chosen: file -> its place on the hub, its folder.
_FILES = {
    "RealVisXL_V4.0.safetensors": ("SG161222/RealVisXL_V4.0/resolve/main/RealVisXL_V4.0.safetensors", "checkpoints"),
    "sd_xl_offset_example-lora_1.0.safetensors": (
        "stabilityai/stable-diffusion-xl-base-1.0/resolve/main/sd_xl_offset_example-lora_1.0.safetensors",
        "loras",
    ),
    "controlnet-canny-sdxl-1.0.safetensors": (
        "diffusers/controlnet-canny-sdxl-1.0/resolve/main/diffusion_pytorch_model.fp16.safetensors",
        "controlnet",
    ),
    "instantid_controlnet.safetensors": (
        "InstantX/InstantID/resolve/main/ControlNetModel/diffusion_pytorch_model.safetensors",
        "controlnet",
    ),
}

_ADD_NOTE = """(note) => {
    const text = window.LiteGraph.createNode("MarkdownNote");
    window.app.rootGraph.add(text);
    text.title = "Read me";
    text.widgets[0].value = note;
    text.setSize([900, 80 + 14 * note.split("\\n").length]);
    text.pos = [0, -text.size[1] - 180];
}"""


def write_template(page: FrontEnd, name: str, folder: Path, result: thumbnails.Result | None) -> None:
    """Make one template and its picture.

    Args:
        page: the front end, on a server that has every model and photo the workflow names.
        name: of the workflow.
        folder: where to.
        result: what the demo's models draw by it; None where they cannot: its picture is the graph.
    """
    title = NOTES[name].partition("\n")[0].lstrip("# ")
    page.load_api(workflows.load(name), name)
    page.page.evaluate(LAY_OUT, [COLUMNS, SIZES])
    page.page.wait_for_timeout(500)
    if result:
        picture = thumbnails.thumbnail(title, result)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            shot = Path(temporary) / "shot.png"
            page.picture(shot)
            picture = of_the_graph(title, Image.open(shot))
    picture.save(folder / f"{name}.jpg", quality=70, optimize=True, progressive=True)
    page.page.evaluate(_ADD_NOTE, NOTES[name] + (SHOWN if result else ""))
    page.page.wait_for_timeout(500)
    workflow = page.workflow()
    for node in workflow["nodes"]:
        if models_of_it := named_models(node):
            node["properties"]["models"] = models_of_it
    (folder / f"{name}.json").write_text(json.dumps(workflow, indent=1) + "\n")


def of_the_graph(title: str, graph: Image.Image) -> Image.Image:
    """A template's picture in the list: what it is for, in letters that are read at a small size, and its graph."""
    canvas = Image.new("RGB", (960, 600), "#161b22")
    draw = ImageDraw.Draw(canvas)
    size = next(size for size in range(96, 20, -2) if draw.textlength(title, font_size=size) <= 880)
    draw.text((40, 100), title, fill="white", font_size=size, anchor="lm")
    graph = ImageOps.contain(graph.convert("RGB"), (940, 360))
    canvas.paste(graph, ((960 - graph.width) // 2, 190 + (360 - graph.height) // 2))
    draw.text((40, 578), "a drawing of the graph", fill="#9fb3c4", font_size=28, anchor="lm")
    return canvas


def named_models(node: dict[str, Any]) -> list[dict[str, str]]:
    """A node's ``properties.models``: what it loads, with the addresses; a HyperLoRA is several files.

    Args:
        node: as a workflow in the UI format has it.
    """
    values = node.get("widgets_values") or []
    entries = [
        {"name": name, "url": f"{_HUB}/{path}", "directory": folder}
        for name, (path, folder) in _FILES.items()
        if name in values
    ]
    if node["type"] == "HyperLoRALoadModel":
        bundles = [bundle for bundle in CATALOGUE if bundle.folder in values or bundle.name in ("clip", "faces")]
        for file in (file for bundle in bundles for file in bundle.files):
            folder, _, name = file.place.rpartition("/")
            entry = {"name": name, "url": f"{_HUB}/{file.repo}/resolve/main/{file.path}", "directory": folder}
            entries.append(entry | ({"hash": file.sha256, "hash_type": "SHA256"} if file.sha256 else {}))
    return entries


def real_names(folder: Path) -> Path:
    """Fill a ``models`` folder with the demo models under the names that the example workflows use."""
    demo = models.demo_models()
    for path in (workflows.FOLDER / "api").glob("*.json"):
        for node in workflows.load(path.stem).values():
            for field in models.STAND_INS.keys() & node["inputs"].keys():
                name, (place, stand_in) = node["inputs"][field], models.STAND_INS[field]
                if isinstance(name, str) and not (folder / place / name).exists():
                    (folder / place).mkdir(parents=True, exist_ok=True)
                    (folder / place / name).symlink_to(demo / place / stand_in)
    for key in ("clip_vision", "insightface"):
        (folder / key).symlink_to(demo / key)
    return folder


def main() -> int:
    """Make all templates, or those named on the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    names = sys.argv[1:] or sorted(NOTES)
    results = thumbnails.results(names)
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        with ComfyServer(base, real_names(base / "real_names")) as server:
            photos_that_stand_for(server, base)
            for name in names:
                with front_end(server, size=(3200, 1740)) as page:  # a fresh one: nodes keep the pictures of old ones
                    write_template(page, name, workflows.FOLDER, results.get(name))
                logging.info("example_workflows/%s.json", name)
    return 0


def photos_that_stand_for(server: ComfyServer, folder: Path) -> None:
    """Give a server a picture under each of the names of photos that the workflows use."""
    for photo in PHOTOS:
        server.upload(_silhouette(folder / photo))


def _silhouette(path: Path) -> Path:
    """A picture that stands for a photo."""
    picture = Image.new("RGB", (256, 256), "#4a4f57")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((88, 50, 168, 150), fill="#9aa3ad")
    draw.ellipse((40, 165, 216, 360), fill="#9aa3ad")
    picture.save(path)
    return path


if __name__ == "__main__":
    sys.exit(main())
