"""The whole way once: a photo in; portraits beside it on one sheet, the crop and the LoRA file out. ``make portrait``.

Settings come from the environment: PHOTO, MODELS, CHECKPOINT, HYPERLORA, OUT; see ``settings``.
"""

import logging
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hyperlora_core import open_photo
from hyperlora_core.trigger_words import TRIGGER_WORDS

from . import workflows
from .cache import SetupError
from .photos import photos as real_photos
from .running import check_models, in_plain_words, show_progress
from .server import ComfyServer
from .sheet import Panel, sheet
from .shown import nearest, results, world
from .shown.studio import VALUES
from .trained import folders

STAGES = {
    "load": ("CheckpointLoaderSimple", "HyperLoRALoadModel", "LoadImage"),
    "prompt": ("CLIPSetLastLayer", "CLIPTextEncode"),
    "faces": ("HyperLoRADetectFaces",),
    "encode": ("HyperLoRAEncodeIdentity",),
    "generate": ("HyperLoRAGenerate",),
    "apply": ("HyperLoRAApply",),
    "sample": ("EmptyLatentImage", "KSampler"),
    "decode": ("VAEDecode",),
    "judge": ("HyperLoRALikeness",),
    "save": ("HyperLoRASave", "SaveImage"),
}

PROMPTS = (
    "portrait photo of a person in a white shirt, soft window light, looking at the camera",
    "photo of a person in a red winter coat, snowy street at night, warm light of shop windows",
    "pencil sketch of a person, white paper, fine lines",
)
DRAWN_PROMPTS = (
    "photo of a person, at the beach, wearing a white t-shirt, smiling",
    "photo of a person, in a city at night, wearing a red hoodie, wearing glasses",
    "photo of a person, in a forest, wearing wolf ears, wearing a yellow shirt",
)
"""Prompts in the words that the demo's base model was trained on."""

PERSON = 3
"""Of ``shown.world``: the drawn person whose photo is taken where none is given."""

log = logging.getLogger("demo.portrait")


@dataclass(frozen=True)
class Settings:
    """What one run uses.

    Attributes:
        photo: of the person; None for a drawn person.
        out: folder of the results.
        models: ComfyUI's ``models`` folder.
        values: what is filled into the example workflow portrait_steps, see ``workflows.fill``.
        prompts: one portrait is made of each.
        drawn: whether the models are the demo's, which draw people of their own small world.
    """

    photo: Path | None
    out: Path
    models: Path
    values: Mapping[str, Mapping[str, Any]]
    prompts: Sequence[str]
    drawn: bool


def settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings.

    PHOTO is the photo; without it a drawn person's is taken, or with MODELS an astronaut's. MODELS is a real
    ``models`` folder, in which CHECKPOINT and HYPERLORA name what to use; without it the demo's small models are used,
    which were trained on drawn people. OUT is where the results go.

    Raises:
        SetupError: MODELS is no folder, or is missing where CHECKPOINT or HYPERLORA are given, or the demo's models
            cannot be made.
    """
    photo = Path(environment["PHOTO"]).expanduser() if environment.get("PHOTO") else None
    out = Path(environment.get("OUT") or "portraits").expanduser().resolve()
    overrides = {
        node: {name: environment[variable]}
        for node, name, variable in (
            ("CheckpointLoaderSimple", "ckpt_name", "CHECKPOINT"),
            ("HyperLoRALoadModel", "model", "HYPERLORA"),
        )
        if environment.get(variable)
    }
    if environment.get("MODELS"):
        folder = Path(environment["MODELS"]).expanduser().resolve()
        if not folder.is_dir():
            raise SetupError(f"MODELS is {folder}, which is no folder: give ComfyUI's models folder")
        return Settings(photo or real_photos()["astronaut"], out, folder, overrides, PROMPTS, drawn=False)
    if overrides:
        raise SetupError("CHECKPOINT and HYPERLORA name files of a models folder: give that too, as MODELS=")
    return Settings(photo, out, folders.models(), VALUES, DRAWN_PROMPTS, drawn=True)


@dataclass(frozen=True)
class Portrait:
    """One of the results.

    Attributes:
        file: of the picture.
        prompt: without the trigger words.
        likeness: None where no face was found.
    """

    file: Path
    prompt: str
    likeness: float | None

    def __str__(self) -> str:
        return "no face was found" if self.likeness is None else f"likeness {self.likeness:.2f}"


@dataclass(frozen=True)
class Photos:
    """The photos of one run.

    Attributes:
        used: the photo that the HyperLoRA encodes.
        judging: the photo that likeness is measured against: another of the person where there is one, else the same.
        panels: the sheet's first pictures.
    """

    used: Path
    judging: Path
    panels: Sequence[Panel]


def photos_of(config: Settings) -> Photos:
    """The photos of a run: those given, or a drawn person's.

    Raises:
        HyperLoRAError: the photo cannot be read, or the demo's models are to draw it and it shows no face.
    """
    if config.photo is None:
        used = world.photo(PERSON)
        return Photos(
            used, world.photo(PERSON, world.JUDGED_BY), [Panel(open_photo(used), ["the photo, of nobody: drawn"])]
        )
    photo = open_photo(config.photo)
    if not config.drawn:
        return Photos(config.photo, config.photo, [Panel(photo, ["the photo"])])
    log.info("Looking for the drawn person who comes nearest ...")
    drawn = nearest.portrait(nearest.nearest(photo))
    path = config.out / f"{config.photo.stem}_drawn.png"
    drawn.save(path)
    return Photos(path, path, [Panel(photo, ["your photo"]), Panel(drawn, ["who comes nearest in the small world"])])


def run(config: Settings) -> Path:
    """Make the portraits and say where everything is; returns the sheet's path.

    Raises:
        HyperLoRAError, SetupError, ServerError, ExecutionError, PromptRejectedError: they could not be made.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    photos = photos_of(config)
    cpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    log.info("Starting ComfyUI on the %s ...", "CPU" if cpu else "GPU")
    started = time.monotonic()
    seconds: Counter[str] = Counter()
    portraits = []
    with tempfile.TemporaryDirectory() as base:
        arguments = ["--output-directory", str(config.out)]
        with ComfyServer(Path(base), config.models, arguments, cpu=cpu) as server:
            seconds["start"] = round(time.monotonic() - started, 2)
            uploaded = server.upload(photos.used), server.upload(photos.judging, f"judge{photos.judging.suffix}")
            for number, text in enumerate(config.prompts):
                filled = workflows.fill(workflows.load("portrait_steps"), config.values)
                prompt = _judged(filled, uploaded, text, number)
                if not number:
                    check_models(server, prompt)
                log.info("%s", text)
                result = server.run(prompt, show_progress(prompt), timeout=3600)
                for stage, node_ids in STAGES.items():
                    seconds[stage] += sum(
                        spent for at, spent in result.seconds.items() if prompt[at]["class_type"] in node_ids
                    )
                (name,) = (image["filename"] for image in result.outputs[workflows.node(prompt, "SaveImage")]["images"])
                (score,) = result.outputs[workflows.node(prompt, "HyperLoRALikeness")]["hyperlora_score"]
                portraits.append(Portrait(config.out / name, text, score))
                if not number:
                    (lora,) = result.outputs[workflows.node(prompt, "HyperLoRASave")]["text"]
                    (crop_file,) = result.outputs[workflows.node(prompt, "HyperLoRAEncodeIdentity")]["images"]
                    crop = server.view(crop_file)
    return _report(config, photos, portraits, crop, lora, seconds)


def _judged(prompt: workflows.Workflow, uploaded: tuple[str, str], text: str, seed: int) -> workflows.Workflow:
    """The workflow with its photo, prompt and seed set, and HyperLoRA Likeness between decoder and Save Image."""
    filled = workflows.fill_titled(
        prompt,
        {
            "Photo": {"image": uploaded[0]},
            "Prompt: begin with the trigger words": {"text": f"{TRIGGER_WORDS}, {text}"},
            "KSampler": {"seed": seed},
        },
    )
    judge, photo = str(len(filled) + 1), str(len(filled) + 2)
    added = {
        judge: workflows.new(
            "HyperLoRALikeness",
            **{"images": [workflows.node(filled, "VAEDecode"), 0], "photos.photo0": [photo, 0]},
            order="as they came",
            least=-1.0,
            most=0,
            face_model="auto",
        )
        | {"_meta": {"title": "Likeness"}},
        photo: workflows.new("LoadImage", image=uploaded[1]) | {"_meta": {"title": "Photo to judge by"}},
    }
    filled[workflows.node(filled, "SaveImage")]["inputs"]["images"] = [judge, 0]
    return filled | added


def _report(
    config: Settings, photos: Photos, portraits: Sequence[Portrait], crop: bytes, lora: str, seconds: Counter[str]
) -> Path:
    stem = portraits[0].file.stem
    crops = config.out / "crops" / f"{stem}_identity.png"
    crops.parent.mkdir(exist_ok=True)
    crops.write_bytes(crop)
    panels = [*photos.panels, *(Panel(open_photo(result.file), [result.prompt, str(result)]) for result in portraits)]
    title = "A photo, and portraits by the LoRA that HyperLoRA made of it"
    sheet_file = config.out / f"sheet_{stem}.png"
    sheet(title, panels).save(sheet_file)
    log.info("")
    for result in portraits:
        log.info("portrait  %s   %s", result.file, result)
    log.info("crop      %s", crops)
    log.info("LoRA      %s", lora)
    log.info("seconds   %s", "  ".join(f"{stage} {value:.2f}" for stage, value in seconds.items()))
    if config.drawn:
        log.info("%s", _OF_REAL if config.photo else _of_drawn())
    log.info("")
    log.info("all of it side by side: %s", sheet_file)
    return sheet_file


def _of_drawn() -> str:
    sentence = "Likeness: with another photo of the person, by the stand-in face models"
    if (measured := results.read()) is None:
        return f"{sentence}."
    return (
        f"{sentence}; two photos of one drawn person have {measured.same:.2f} on average, of two people "
        f"{measured.other:.2f}."
    )


_OF_REAL = (
    "The demo's models know drawn people alone: these are of the person of their world who comes nearest. Portraits of "
    "you need the real models: MODELS=/path/to/ComfyUI/models"
)


def main() -> int:
    """Run; the exit code."""
    return in_plain_words(lambda: run(settings(os.environ)))


if __name__ == "__main__":
    sys.exit(main())
