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
"""In words that the small world knows."""

PERSON = 3
"""Of ``shown.world``: the drawn person whose photo is taken where none is given."""

log = logging.getLogger("demo.portrait")


@dataclass(frozen=True)
class Settings:
    """What one run uses.

    Attributes:
        photo: the person; None for a drawn one.
        out: folder of the results.
        models: ComfyUI's ``models`` folder.
        values: what is filled into the example workflow portrait_steps, see ``workflows.fill``.
        prompts: a portrait each.
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
    named = {
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
        return Settings(photo or real_photos()["astronaut"], out, folder, named, PROMPTS, drawn=False)
    if named:
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
    """What a run makes portraits of.

    Attributes:
        used: goes into the HyperLoRA.
        judging: another photo of the person where there is one, else the same.
        panels: how the sheet begins.
    """

    used: Path
    judging: Path
    panels: Sequence[Panel]


def photos_of(chosen: Settings) -> Photos:
    """The photos of a run: those given, or a drawn person's.

    Raises:
        HyperLoRAError: the photo cannot be read, or the demo's models are to draw it and it shows no face.
    """
    if chosen.photo is None:
        used = world.photo(PERSON)
        return Photos(
            used, world.photo(PERSON, world.JUDGED_BY), [Panel(open_photo(used), ["the photo, of nobody: drawn"])]
        )
    photo = open_photo(chosen.photo)
    if not chosen.drawn:
        return Photos(chosen.photo, chosen.photo, [Panel(photo, ["the photo"])])
    log.info("Looking for the drawn person who comes nearest ...")
    drawn = nearest.portrait(nearest.nearest(photo))
    path = chosen.out / f"{chosen.photo.stem}_drawn.png"
    drawn.save(path)
    return Photos(path, path, [Panel(photo, ["your photo"]), Panel(drawn, ["who comes nearest in the small world"])])


def run(chosen: Settings) -> Path:
    """Make the portraits and say where everything is; returns the sheet's path.

    Raises:
        HyperLoRAError, SetupError, ServerError, ExecutionError, PromptRejectedError: they could not be made.
    """
    chosen.out.mkdir(parents=True, exist_ok=True)
    photos = photos_of(chosen)
    cpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    log.info("Starting ComfyUI on the %s ...", "CPU" if cpu else "GPU")
    started = time.monotonic()
    seconds: Counter[str] = Counter()
    portraits = []
    with tempfile.TemporaryDirectory() as base:
        arguments = ["--output-directory", str(chosen.out)]
        with ComfyServer(Path(base), chosen.models, arguments, cpu=cpu) as server:
            seconds["start"] = round(time.monotonic() - started, 2)
            sent = server.upload(photos.used), server.upload(photos.judging, f"judge{photos.judging.suffix}")
            for number, text in enumerate(chosen.prompts):
                prompt = _judged(workflows.fill(workflows.load("portrait_steps"), chosen.values), sent, text, number)
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
                portraits.append(Portrait(chosen.out / name, text, score))
                if not number:
                    (lora,) = result.outputs[workflows.node(prompt, "HyperLoRASave")]["text"]
                    (shown,) = result.outputs[workflows.node(prompt, "HyperLoRAEncodeIdentity")]["images"]
                    crop = server.view(shown)
    return _report(chosen, photos, portraits, crop, lora, seconds)


def _judged(prompt: workflows.Workflow, sent: tuple[str, str], text: str, seed: int) -> workflows.Workflow:
    """The workflow with its photo, prompt and seed, and a judge through whom its picture goes to be saved."""
    filled = workflows.fill_titled(
        prompt,
        {
            "Photo": {"image": sent[0]},
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
        photo: workflows.new("LoadImage", image=sent[1]) | {"_meta": {"title": "Photo to judge by"}},
    }
    filled[workflows.node(filled, "SaveImage")]["inputs"]["images"] = [judge, 0]
    return filled | added


def _report(
    chosen: Settings, photos: Photos, portraits: Sequence[Portrait], crop: bytes, lora: str, seconds: Counter[str]
) -> Path:
    stem = portraits[0].file.stem
    crops = chosen.out / "crops" / f"{stem}_identity.png"
    crops.parent.mkdir(exist_ok=True)
    crops.write_bytes(crop)
    panels = [*photos.panels, *(Panel(open_photo(each.file), [each.prompt, str(each)]) for each in portraits)]
    title = "A photo, and portraits by the LoRA that HyperLoRA made of it"
    made = chosen.out / f"sheet_{stem}.png"
    sheet(title, panels).save(made)
    log.info("")
    for each in portraits:
        log.info("portrait  %s   %s", each.file, each)
    log.info("crop      %s", crops)
    log.info("LoRA      %s", lora)
    log.info("seconds   %s", "  ".join(f"{stage} {value:.2f}" for stage, value in seconds.items()))
    if chosen.drawn:
        log.info("%s", _OF_REAL if chosen.photo else _of_drawn())
    log.info("")
    log.info("all of it side by side: %s", made)
    return made


def _of_drawn() -> str:
    said = "Likeness: with another photo of the person, by the stand-in face models"
    if (found := results.read()) is None:
        return f"{said}."
    return f"{said}; two photos of one drawn person have {found.same:.2f} on average, of two people {found.other:.2f}."


_OF_REAL = (
    "The demo's models know drawn people alone: these are of the person of their world who comes nearest. Portraits of "
    "you need the real models: MODELS=/path/to/ComfyUI/models"
)


def main() -> int:
    """Run; the exit code."""
    return in_plain_words(lambda: run(settings(os.environ)))


if __name__ == "__main__":
    sys.exit(main())
