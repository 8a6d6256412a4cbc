"""The pictures of docs/TRAIN_YOUR_OWN.md: what each step of ``make demo-models`` came to."""

from pathlib import Path

import torch
from PIL import Image

from demo.drawn import drawing, people, scenes
from demo.drawn.folder import as_image
from demo.sheet import Panel, sheet
from hyperlora_core.doors.diffusers.base_model import BaseModel
from hyperlora_core.training.targets import as_pixels, picture_of

from . import folders

PICTURES = folders.WEIGHTS.parent.parent / "docs" / "img"
PROMPTS = (
    "photo of a person, at the beach, wearing a yellow hoodie, smiling",
    "photo of a person, dark skin, long black hair, purple background, wearing a white shirt",
    "photo of a person, fair skin, short ginger hair, a beard, grey background, wearing glasses",
    "photo of a person, in a forest, wearing wolf ears, wearing a red t-shirt",
    "pencil sketch of a person, white background, wearing a hat",
)

_UNSEEN = 77  # seed of people whom nothing was trained on
_ACROSS, _PAIRS = 5, 3


def write(work: Path) -> None:
    """Make them all of the folder of states and results, as JPEG of the sheets' size."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    base = BaseModel.load(str(work / "diffusers"), "cpu", torch.float32)
    sheets = {"people": _people(work), "vae": _decoded(base), "base": _drawn(base)}
    for stage in sorted(path for path in (work / "runs").iterdir() if path.is_dir()):
        grids = sorted(stage.glob("grids/step-*.png"))
        sheets[f"stage_{stage.name}"] = Image.open(grids[-1])
    for name, picture in sheets.items():
        picture.save(PICTURES / f"train_{name}.jpg", quality=70, optimize=True, progressive=True)


def _people(work: Path) -> Image.Image:
    folder = work / "people"
    first_photos = [path for person in sorted(folder.iterdir())[:_ACROSS] for path in sorted(person.glob("*.png"))[:1]]
    panels = [Panel(Image.open(path), [path.with_suffix(".txt").read_text("utf-8").strip()]) for path in first_photos]
    return sheet("Photos of the training set, and their captions", panels)


@torch.no_grad()
def _decoded(base: BaseModel) -> Image.Image:
    photos = drawing.draw(people.people(_UNSEEN, range(_PAIRS)), scenes.scenes(_UNSEEN, _PAIRS))
    pixels = as_pixels((photos * 255).round().byte())
    decoded = base.pictures(base.latents(pixels, torch.zeros(_PAIRS, *base.latent_shape(*pixels.shape[-2:]))))
    panels = []
    for photo, back in zip(photos, decoded, strict=True):
        panels += [Panel(as_image(photo), ["drawn"]), Panel(picture_of(back), ["what the VAE makes of it"])]
    return sheet("What is lost between pixels and latents", panels)


@torch.no_grad()
def _drawn(base: BaseModel) -> Image.Image:
    pictures = base.draw(PROMPTS, range(len(PROMPTS)), (drawing.SIZE, drawing.SIZE), steps=20, guidance=3.0)
    panels = [Panel(picture, [text]) for picture, text in zip(pictures, PROMPTS, strict=True)]
    return sheet("What the base model draws by words alone", panels)
