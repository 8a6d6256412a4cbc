"""Rows of what happens in ComfyUI: patching a model, and a queue of prompts over its API."""

import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch

from demo import sdxl, workflows
from demo.comfyui import comfyui
from demo.photos import photos
from demo.server import ComfyServer
from hyperlora_core.lora.names import PROJECTIONS
from hyperlora_core.lora.value import LoRA
from tests.support import models

from . import full_size
from .measure import Spread, alternate, resident
from .rows import Row

SDXL = sdxl.UNET | {
    "channel_mult": [1, 2, 4],
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "transformer_depth_middle": 10,
    "dtype": torch.float16,
}
PEOPLE = ("obama", "biden", "astronaut")
WARM = 10


def import_comfy(device: torch.device) -> ModuleType:
    """ComfyUI's ``comfy`` package, for a device."""
    sys.path.insert(0, str(comfyui()))
    from comfy.cli_args import args

    args.cpu = device.type == "cpu"
    import comfy.hooks
    import comfy.model_management
    import comfy.model_patcher
    import comfy.sample
    import comfy.sd
    import comfy.supported_models

    return comfy


def applying(pairs: int, device: torch.device) -> Iterator[Row]:
    """A LoRA of all 560 targets into a clone of SDXL, against ComfyUI's own function; no weight is touched yet."""
    comfy = import_comfy(device)
    from hyperlora_core.doors.comfyui.patching import apply_lora

    config = comfy.supported_models.SDXL(dict(SDXL))
    config.set_inference_dtype(torch.float16, None)
    unet = config.get_model({}, device=torch.device("meta"))
    model = comfy.model_patcher.ModelPatcher(unet, torch.device("cpu"), torch.device("cpu"))
    lora = random_lora()
    plain = dict(lora)

    def ours() -> None:
        patched = apply_lora(model, LoRA(lora), 0.8)  # another LoRA each time: nothing is kept of it
        assert len(patched.patches) == 560

    def other() -> None:
        patched, _ = comfy.sd.load_lora_for_models(model, None, plain, 0.8, 0)
        assert len(patched.patches) == 560

    times = alternate(ours, other, pairs, torch.device("cpu"))
    yield Row.of_times("apply: adapters into a clone / load_lora_for_models", 0.10, *times)


def random_lora(rank: int = 8) -> LoRA:
    """A LoRA of random numbers on all of SDXL's attentions."""
    matrices = [
        (
            f"{module.name}.{'to_out.0' if projection == 'to_out' else projection}",
            torch.randn(rank, module.in_features(projection)) * 0.02,
            torch.randn(module.hidden_size, rank) * 0.02,
        )
        for module in full_size.sdxl_config().modules
        for projection in PROJECTIONS
    ]
    return LoRA.from_matrices(matrices, rank / 2)


def queue(prompts: int) -> Iterator[Row]:
    """Prompts over the API on the demo models: three people in turn, in random order, with random seeds."""
    random.seed(0)
    with tempfile.TemporaryDirectory() as base, ComfyServer(Path(base), models.demo_models()) as server:
        names = {person: server.upload(photos()[person]) for person in PEOPLE}
        seconds, memory, person = [], [], ""
        for _ in range(prompts):
            person = random.choice([other for other in PEOPLE if other != person])  # else ComfyUI would run nothing
            workflow = workflows.fill(
                workflows.load("portrait_simple"),
                {
                    "CheckpointLoaderSimple": {"ckpt_name": sdxl.CHECKPOINT},
                    "HyperLoRALoadModel": {"model": models.HYPER_LORA},
                    "LoadImage": {"image": names[person]},
                    "EmptyLatentImage": {"width": 64, "height": 64},
                    "KSampler": {"steps": 1, "seed": random.randrange(1 << 32)},
                },
            )
            ran = server.run(workflow).seconds
            ours = [number for number, node in workflow.items() if node["class_type"].startswith("HyperLoRA")]
            seconds.append(sum(ran.get(number, 0.0) for number in ours))
            memory.append(resident(server.pid)["VmRSS"] / (1 << 20))
    count = torch.arange(prompts - WARM, dtype=torch.float64)
    design = torch.stack([torch.ones_like(count), count], dim=1)
    slope = float(torch.linalg.lstsq(design, torch.tensor(memory[WARM:], dtype=torch.float64)[:, None]).solution[1])
    spent = Spread.of([1e3 * time for time in seconds[WARM:]])
    sides = f"the first of each person: {max(seconds) * 1e3:.0f} ms at most"
    yield Row(f"{prompts} prompts over the API, our nodes a prompt", 50, spent, "ms", sides=sides)
    sides = f"{memory[WARM]:.0f} MB after {WARM}, {memory[-1]:.0f} MB after {prompts}"
    yield Row(f"  the server's memory, a prompt after the {WARM}th", 1, Spread(slope, slope, slope), "MB", sides=sides)
