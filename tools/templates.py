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

# The notes. Code spans are unreadable on a note in one of the front end's two modes, so names are in bold or italics.
MODELS = """
**Models**

- HyperLoRA: the folder *sdxl_hyper_id_lora_v1_fidelity*, in *models/hyper_lora*
  ([get it](https://huggingface.co/bytedance-research/HyperLoRA))
- CLIP ViT-L/14: a *.safetensors* file, in *models/clip_vision*
  ([get it](https://huggingface.co/openai/clip-vit-large-patch14))
- antelopev2: its *.onnx* files, in *models/insightface/models/antelopev2*
- an SDXL checkpoint: RealVisXL 4.0 works best

The menu's **HyperLoRA › HyperLoRA models** says what is missing, and fetches it.
"""

SHOWN = """
The picture in the list of templates is a result of the pack's demo, whose small models know drawn people alone.
"""

STEPS = """
2. Begin the **prompt** with the trigger words: **fcsks fxhks fhyks,**
3. Queue. Look at the **crops** on HyperLoRA Portrait: the right face, whole, on grey?

**id_weight** 0.75 to 0.85 suits the released models. Use photos of yourself, or of people who agreed.
"""

NOTES = {
    "portrait_simple": f"""# A person in one node

1. Choose a **photo** that shows the face clearly.{STEPS}{MODELS}""",
    "portrait_several_photos": f"""# A person from several photos

1. Choose **photos** of one person, from different sides. A free slot appears as you connect.{STEPS}{MODELS}""",
    "portrait_steps": f"""# The single steps

The same way as HyperLoRA Portrait, with every setting within reach: which **face** of a group photo, what CLIP sees,
the **weights**, and the LoRA saved under *output/loras*.
{MODELS}""",
    "portrait_steps_base": f"""# Identity and surroundings

**Encode Base** adds background, clothing and light of the photo as a LoRA of its own, at **base_weight** 0.4. It needs
a HyperLoRA with Base parts, which the released ones do not have.
{MODELS}""",
    "portrait_controlnet_lora": f"""# With ControlNet and another LoRA

Lines of a second picture say where everything is, another LoRA how it is drawn (here SDXL's own example), HyperLoRA who
it is. LoRAs may stand before or after it: the picture is the same.
{MODELS}""",
    "identity_save": f"""# Keep a person

Photos of one person become an identity, a small file under *models/hyper_lora/identities*. **Mix Photos** weighs them,
and drops those that look like somebody else; it says which. The picture shows what was kept.

The file is a person's likeness: keep it for people who agreed.
{MODELS}""",
    "identity_load": f"""# A kept person

**Load Identity** needs no photo any more: choose a file that **Save Identity** wrote. Press **R** to refresh the list.

Begin the prompt with the trigger words: **fcsks fxhks fhyks,**
{MODELS}""",
    "people_blend": f"""# Between two people

**Blend People** makes one person of two: **amount** 0 is the first, 1 the second. **Block Strengths** multiply it in
each part of the UNet: with *up* at 0, the way up stays the first person's.
{MODELS}""",
    "slider": f"""# A slider

Two photos that differ in one thing, as the same person smiling and serious, become a **slider**; its strength turns
that thing up and, below 0, down. Here it stands beside another person's LoRA. More pairs make it purer: connect them in
order.
{MODELS}""",
    "people_batch": f"""# One person a picture

The first person on the first picture of the batch, the second on the second, in one pass. Set the **batch size** to the
number of people; free slots appear as you connect.

The people are kept identities: see the template **identity_save**.
{MODELS}""",
    "people_regions": f"""# Two people in one picture

One prompt, two masks: each person is drawn where their mask is, what no mask covers is the model's own. Paint masks of
your own, soft edges are welcome. The prompt says that there are two people, and where.
{MODELS}""",
    "people_prompts": f"""# Two people, two prompts

Each person has a prompt and a mask. Chain the nodes **MODEL to MODEL**, and join the prompts. The picture is that of
ComfyUI's hooks, drawn in one pass. Begin each prompt with the trigger words: **fcsks fxhks fhyks,**
{MODELS}""",
    "schedule": f"""# A strength that changes

The person comes in after the composition stands, and leaves the last details a little freer. *run-time* applies the
LoRA while the model runs: nothing is patched when the person changes, and it is exact on fp8 models.
{MODELS}""",
    "likeness": f"""# The best of several

Four pictures, judged by a **photo that was not encoded**, the best first. The report names the face model that judges:
the one that the person was encoded by flatters.
{MODELS}""",
    "sample_until_alike": f"""# Until it is alike

Draws one seed after another, and with **strengths** one strength after another, until a picture's likeness is
**enough**, and gives the best of all. The scores are on the node.
{MODELS}""",
    "faces_refine": f"""# Faces drawn again

Small faces of a picture, each drawn again at the size that the model knows best, as its person: **from left to right**,
or **by likeness** to the identities. What is no face stays as it is.
{MODELS}""",
    "keypoints_controlnet": f"""# A face in another's place

**Face Keypoints** of a second photo say where the face is and where it looks, for InstantID's ControlNet; who it is
comes from the first. **Photo Report** says what that photo is worth.

- InstantID's ControlNet: its *ControlNetModel* file, in *models/controlnet*
  ([get it](https://huggingface.co/InstantX/InstantID))
{MODELS}""",
    "saved_lora": """# A saved person

A LoRA that **HyperLoRA Save LoRA** wrote is an ordinary SDXL LoRA: it needs no photo and no HyperLoRA any more. Press
**R** to refresh the list. Load it with strength 1: the weights it was generated with are in it.

Begin the prompt with the trigger words: **fcsks fxhks fhyks,**
""",
}

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

SIDES = (
    ("More of it", "Less of it"),
    ("Face with more", "Face with less"),
    ("Identity with more", "Identity with less"),
)

# Columns of the layout, by the nodes' titles.
COLUMNS = {
    "Models": ("Load Checkpoint", "Load HyperLoRA", "Load a style LoRA", "The saved person"),
    "Photos": (
        "Photo",
        "Photo 1",
        "Photo 2",
        "Photo 3",
        "Photo of one",
        "Photo of the other",
        *SIDES[0],
        "Another photo of the person",
        "Picture with two people",
    ),
    "Faces": ("HyperLoRA Detect Faces", "HyperLoRA Photo Report", "Face of one", "Face of the other", *SIDES[1]),
    "The person": (
        "HyperLoRA Load Identity",
        "HyperLoRA Encode Identity",
        "HyperLoRA Encode Base",
        "HyperLoRA Portrait",
        "Identity of one",
        "Identity of the other",
        *SIDES[2],
    ),
    "Two people": ("The first person", "The second person", "LoRA of the first", "LoRA of the second"),
    "Where they are": ("The whole picture", "Half of it", "Left half", "Right half"),
    "Mixing": (
        "HyperLoRA Mix Photos",
        "How well the photos agree",
        "HyperLoRA Block Strengths",
        "HyperLoRA Blend People",
        "HyperLoRA Make Slider",
        "HyperLoRA Save Identity",
        "HyperLoRA Save Slider",
    ),
    "The LoRA": (
        "HyperLoRA Generate LoRA",
        "HyperLoRA Generate Slider",
        "HyperLoRA Schedule",
        "HyperLoRA Apply LoRA",
        "HyperLoRA Apply per Picture",
        "HyperLoRA Apply in Regions",
        "Apply the person",
        "Apply the slider",
        "HyperLoRA Save LoRA",
    ),
    "Prompt": (
        "CLIP Set Last Layer",
        "Prompt: begin with the trigger words",
        "Prompt of the first",
        "Prompt of the second",
        "Negative prompt",
    ),
    "Who and where": ("First person for prompt", "Second person for prompt", "Both prompts"),
    "Where things are": (
        "Photo of the pose",
        "Face of the pose",
        "HyperLoRA Face Keypoints",
        "Load ControlNet",
        "Picture to follow",
        "Canny",
        "Apply ControlNet",
    ),
    "Sampling": ("Size", "KSampler", "VAE Decode", "HyperLoRA Sample until Alike", "HyperLoRA Refine Faces"),
    "Judgement": ("HyperLoRA Likeness", "The scores"),
    "Portrait": ("Save Image",),
}

# Least sizes, with room for pictures.
SIZES = {
    "LoadImage": (280, 320),
    "HyperLoRADetectFaces": (300, 520),
    "HyperLoRASchedule": (300, 460),
    "HyperLoRAApplyRegions": (300, 420),
    "HyperLoRAMixPhotos": (300, 320),
    "HyperLoRABlend": (300, 320),
    "HyperLoRASaveIdentity": (300, 320),
    "HyperLoRAEncodeIdentity": (300, 480),
    "HyperLoRAEncodeBase": (300, 620),
    "HyperLoRALoadIdentity": (300, 220),
    "HyperLoRAPhotoReport": (300, 420),
    "HyperLoRAFaceKeypoints": (300, 460),
    "HyperLoRALikeness": (340, 560),
    "HyperLoRASampleUntilAlike": (340, 820),
    "HyperLoRARefineFaces": (340, 900),
    "PreviewAny": (300, 180),
    "HyperLoRAPortrait": (320, 500),
    "CLIPTextEncode": (340, 160),
    "SaveImage": (460, 540),
}

_LAY_OUT = """([columns, sizes]) => {
    const graph = window.app.rootGraph, gap = 40, title = 60;  // with room for badges below a node
    const grow = node => {
        const least = sizes[node.type] ?? [0, 0], own = node.computeSize();
        node.setSize([Math.max(least[0], own[0], 280), Math.max(least[1], own[1])]);
    };
    let x = 0;
    for (const [name, titles] of Object.entries(columns)) {
        const nodes = titles.flatMap(t => graph.nodes.filter(n => n.title === t));
        if (!nodes.length) continue;
        nodes.forEach(grow);
        const width = Math.max(...nodes.map(n => n.size[0]));
        let y = title;
        for (const node of nodes) {
            node.setSize([width, node.size[1]]);
            node.pos = [x, y];
            y += node.size[1] + gap + title;
        }
        const group = new window.LiteGraph.LGraphGroup(name);
        group._bounding.set([x - gap / 2, -title - gap / 2, width + gap, y + gap / 2]);
        graph.add(group);
        x += width + 2 * gap;
    }
}"""

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
    page.page.evaluate(_LAY_OUT, [COLUMNS, SIZES])
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
    made = Image.new("RGB", (960, 600), "#161b22")
    draw = ImageDraw.Draw(made)
    size = next(size for size in range(96, 20, -2) if draw.textlength(title, font_size=size) <= 880)
    draw.text((40, 100), title, fill="white", font_size=size, anchor="lm")
    graph = ImageOps.contain(graph.convert("RGB"), (940, 360))
    made.paste(graph, ((960 - graph.width) // 2, 190 + (360 - graph.height) // 2))
    draw.text((40, 578), "a drawing of the graph", fill="#9fb3c4", font_size=28, anchor="lm")
    return made


def named_models(node: dict[str, Any]) -> list[dict[str, str]]:
    """A node's ``properties.models``: what it loads, with the addresses; a HyperLoRA is several files.

    Args:
        node: as a workflow in the UI format has it.
    """
    values = node.get("widgets_values") or []
    found = [
        {"name": name, "url": f"{_HUB}/{path}", "directory": folder}
        for name, (path, folder) in _FILES.items()
        if name in values
    ]
    if node["type"] == "HyperLoRALoadModel":
        bundles = [bundle for bundle in CATALOGUE if bundle.folder in values or bundle.name in ("clip", "faces")]
        for file in (file for bundle in bundles for file in bundle.files):
            folder, _, name = file.place.rpartition("/")
            entry = {"name": name, "url": f"{_HUB}/{file.repo}/resolve/main/{file.path}", "directory": folder}
            found.append(entry | ({"hash": file.sha256, "hash_type": "SHA256"} if file.sha256 else {}))
    return found


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
