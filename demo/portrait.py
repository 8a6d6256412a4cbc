"""The whole way once: a photo in; a portrait, the crops and the LoRA file out. ``make portrait`` runs it.

Settings come from the environment: PHOTO, MODELS, CHECKPOINT, HYPERLORA, OUT; see ``settings``.
"""

import logging
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from hyperlora_core import open_photo

from . import models, sdxl, workflows
from .cache import SetupError
from .photos import photos
from .running import check_models, in_plain_words, show_progress
from .server import ComfyServer, Result

STAGES = {
    "load": ("CheckpointLoaderSimple", "HyperLoRALoadModel", "LoadImage"),
    "prompt": ("CLIPSetLastLayer", "CLIPTextEncode"),
    "faces": ("HyperLoRADetectFaces",),
    "encode": ("HyperLoRAEncodeIdentity", "HyperLoRAEncodeBase"),
    "generate": ("HyperLoRAGenerate",),
    "apply": ("HyperLoRAApply",),
    "sample": ("EmptyLatentImage", "KSampler"),
    "decode": ("VAEDecode",),
    "save": ("HyperLoRASave", "SaveImage"),
}
CROPS = {"HyperLoRAEncodeIdentity": "identity", "HyperLoRAEncodeBase": "base"}

log = logging.getLogger("demo.portrait")


@dataclass(frozen=True)
class Settings:
    """What one run uses.

    Attributes:
        photo: the person.
        out: folder of the results.
        models: ComfyUI's ``models`` folder.
        workflow: name of the example.
        values: what is filled into it, see ``workflows.fill``.
    """

    photo: Path
    out: Path
    models: Path
    workflow: str
    values: dict[str, dict[str, object]]


def settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings.

    PHOTO is the photo. MODELS is a real ``models`` folder, in which CHECKPOINT and HYPERLORA name what to use; without
    it random demo models are used, small and fast. OUT is where the results go.

    Raises:
        SetupError: MODELS is no folder.
    """
    photo = Path(environment["PHOTO"]).expanduser() if environment.get("PHOTO") else photos()["astronaut"]
    out = Path(environment.get("OUT") or "portraits").expanduser().resolve()
    if environment.get("MODELS"):
        folder = Path(environment["MODELS"]).expanduser().resolve()
        if not folder.is_dir():
            raise SetupError(f"MODELS is {folder}, which is no folder: give ComfyUI's models folder")
        values: dict[str, dict[str, object]] = {}
        for node, name, variable in (
            ("CheckpointLoaderSimple", "ckpt_name", "CHECKPOINT"),
            ("HyperLoRALoadModel", "model", "HYPERLORA"),
        ):
            if environment.get(variable):
                values[node] = {name: environment[variable]}
        return Settings(photo, out, folder, "portrait_steps", values)
    values = {
        "CheckpointLoaderSimple": {"ckpt_name": sdxl.CHECKPOINT},
        "HyperLoRALoadModel": {"model": models.HYPER_LORA},
        "EmptyLatentImage": {"width": 384, "height": 384},
        "KSampler": {"steps": 8},
    }
    return Settings(photo, out, models.demo_models(), "portrait_steps_base", values)


def run(chosen: Settings) -> None:
    """Make the portrait and say where everything is.

    Raises:
        HyperLoRAError, SetupError, ServerError, ExecutionError, PromptRejectedError: the portrait could not be made.
    """
    open_photo(chosen.photo)
    chosen.out.mkdir(parents=True, exist_ok=True)
    cpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    log.info("Starting ComfyUI on the %s ...", "CPU" if cpu else "GPU")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as base:
        arguments = ["--output-directory", str(chosen.out)]
        with ComfyServer(Path(base), chosen.models, arguments, cpu=cpu) as server:
            seconds = {"start": time.monotonic() - started}
            values = {"LoadImage": {"image": server.upload(chosen.photo)}, **chosen.values}
            prompt = workflows.fill(workflows.load(chosen.workflow), values)
            check_models(server, prompt)
            result = server.run(prompt, show_progress(prompt), timeout=3600)
            _report(server, prompt, result, chosen, seconds)


def _report(
    server: ComfyServer, prompt: workflows.Workflow, result: Result, chosen: Settings, seconds: dict[str, float]
) -> None:
    picture = result.outputs[workflows.node(prompt, "SaveImage")]["images"][0]["filename"]
    (lora,) = result.outputs[workflows.node(prompt, "HyperLoRASave")]["text"]
    crops = []
    for node_id, kind in CROPS.items():
        for number in workflows.nodes(prompt, node_id):
            for i, image in enumerate(result.outputs[number]["images"]):
                path = chosen.out / "crops" / f"{Path(picture).stem}{kind}_{i}.png"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(server.view(image))
                crops.append(path)
    for stage, node_ids in STAGES.items():
        seconds[stage] = sum(s for number, s in result.seconds.items() if prompt[number]["class_type"] in node_ids)
    log.info("")
    log.info("portrait  %s", chosen.out / picture)
    for path in crops:
        log.info("crop      %s", path)
    log.info("LoRA      %s", lora)
    log.info("seconds   %s", "  ".join(f"{stage} {value:.2f}" for stage, value in seconds.items()))
    if chosen.workflow == "portrait_steps_base":
        log.info("The demo models are random numbers: this proves the wiring, not the likeness.")


def main() -> int:
    """Run; the exit code."""
    return in_plain_words(lambda: run(settings(os.environ)))


if __name__ == "__main__":
    sys.exit(main())
