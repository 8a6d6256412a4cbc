"""Pictures drawn by a ComfyUI server from the example workflows, each drawn once and kept."""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from demo import workflows
from demo.cache import cache_dir
from demo.server import ComfyServer
from demo.trained import folders
from hyperlora_core.files import atomic

SIZE = 128
STEPS = 20
SAMPLING = {"steps": STEPS, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal"}
VALUES: Mapping[str, Mapping[str, Any]] = {
    "CheckpointLoaderSimple": {"ckpt_name": folders.CHECKPOINT},
    "HyperLoRALoadModel": {"model": folders.HYPER_LORA},
    "EmptyLatentImage": {"width": SIZE, "height": SIZE},
    "KSampler": SAMPLING,
    "HyperLoRASampleUntilAlike": SAMPLING,
    "HyperLoRARefineFaces": SAMPLING | {"size": SIZE},
    "HyperLoRAPortrait": {"id_weight": 1.0},
    "HyperLoRAGenerate": {"id_weight": 1.0, "base_weight": 0.0},
}
"""What the example workflows need in the small world."""

_SAMPLERS = [name for name, values in VALUES.items() if "steps" in values]
_PROMPT = "Prompt: begin with the trigger words"


def kept_pictures() -> Path:
    """Where drawn pictures are kept from one run to the next."""
    return cache_dir() / "shown"


def workflow(name: str, text: str, values: Mapping[str, Mapping[str, Any]]) -> workflows.Workflow:
    """An example workflow as the small world needs it.

    Args:
        name: of the example.
        text: the prompt, where there is one for the whole picture.
        values: by a node's title, input -> value.
    """
    filled = workflows.fill(workflows.load(name), VALUES)
    prompts = {_PROMPT: {"text": text}, "Negative prompt": {"text": ""}}
    if not any(node["_meta"]["title"] == _PROMPT for node in filled.values()):
        del prompts[_PROMPT]
    return workflows.fill_titled(filled, prompts | dict(values))


class Studio:
    """A server, and the pictures that it drew.

    Args:
        server: it has ``folders.models`` and the photos that workflows name.
        pictures: the folder of pictures drawn before, by this and other runs.
        steps: of sampling.
    """

    def __init__(self, server: ComfyServer, pictures: Path, steps: int = STEPS) -> None:
        self.server, self.pictures, self.steps = server, pictures, steps
        self._models = folders.models().name + folders.built().name
        self.done: set[str] = set()
        """What was done once on this server, by names that the studies give."""
        self._sent: set[str] = set()

    def send(self, photo: Path) -> str:
        """Give the server a photo; returns its name there, which says whose it is."""
        name = f"{photo.parent.name}-{photo.name}"
        if name not in self._sent:
            self.server.upload(photo, name)
            self._sent.add(name)
        return name

    def draw(self, prompt: workflows.Workflow) -> list[Image.Image]:
        """The pictures that a workflow saves."""
        prompt = workflows.fill(prompt, {name: {"steps": self.steps} for name in _SAMPLERS})
        key = hashlib.sha256(json.dumps([prompt, self._models], sort_keys=True).encode()).hexdigest()[:24]
        folder = self.pictures / key
        if not (folder / "all").exists():
            result = self.server.run(prompt)
            saved = result.outputs[workflows.node(prompt, "SaveImage")]["images"]
            folder.mkdir(parents=True, exist_ok=True)
            for number, image in enumerate(saved):
                with atomic.writing(folder / f"{number}.png") as part:
                    part.write_bytes(self.server.view(image))
            (folder / "all").touch()
        paths = sorted(folder.glob("*.png"), key=lambda path: int(path.stem))
        return [Image.open(io.BytesIO(path.read_bytes())).convert("RGB") for path in paths]
