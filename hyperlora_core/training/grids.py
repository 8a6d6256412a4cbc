"""Pictures on the way: the same few samples every time, through the same injection that training goes through."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from ..faces.crops import GREY
from .forward import GeneratedLoRAs, of_sample
from .loop import Run
from .portraits import PortraitTask
from .targets import picture_of, prompt

log = logging.getLogger(__name__)

PEOPLE = 4
_CELL = 256
_HEAD = 24


@torch.no_grad()
def draw_grid(
    run: Run[GeneratedLoRAs], task: PortraitTask, steps: int = 20, guidance: float = 5.0
) -> Image.Image | None:
    """A row for each of ``PEOPLE`` samples: the picture, then drawn by its caption without a LoRA, and with each.

    Samples with numbers below 0 are the grid's own; no training step has them. No random number of the run is used up.

    Args:
        run: whose network draws, with the moving average of its weights where one is kept.
        task: what it learns on.
        steps: of sampling.
        guidance: weight of the prompt.

    Returns:
        A picture of ``PEOPLE`` rows, with a line of titles; None where the run was told to stop meanwhile.
    """
    config = task.config
    portraits = [task.portraits[-1 - i] for i in range(PEOPLE)]
    columns = [("picture", [picture_of(portrait.target.pixels) for portrait in portraits])]
    size = (config.resolution, config.resolution)
    trigger = config.trigger_words if any(scenario.trigger for scenario in config.scenarios) else ""
    prompts = [prompt(trigger, task.portraits.shards[portrait.place].caption) for portrait in portraits]
    seeds = range(PEOPLE)
    columns.append(("no LoRA", task.base.draw(prompts, seeds, size, steps, guidance)))
    conditions = task.conditions(portraits)
    with run.averaged():
        for title, id_on, base_on in (("ID", 1.0, 0.0), ("Base", 0.0, 1.0), ("ID + Base", 1.0, 1.0)):
            if (id_on and "id" not in run.loras.makes) or (base_on and "base" not in run.loras.makes):
                continue
            on = torch.ones(PEOPLE, device=conditions.present.device)
            with run.half():
                matrices = run.loras(replace(conditions, id_on=on * id_on, base_on=on * base_on))
            drawn = []
            for i in range(PEOPLE):
                if run.stopping:
                    return None
                within = run.injection.active(of_sample(matrices, i))
                drawn += task.base.draw(prompts[i : i + 1], [seeds[i]], size, steps, guidance, within)
            columns.append((title, drawn))
    return _tiled(columns)


def save_grid(run: Run[GeneratedLoRAs], task: PortraitTask, folder: Path) -> None:
    """Draw the grid of a run's step into a folder, and into its log, if the run is not told to stop meanwhile."""
    step = run.progress.step
    picture = draw_grid(run, task)
    if picture is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:06d}.png"
    picture.save(path)
    for tracker in run.accelerator.trackers:
        if tracker.name == "tensorboard":
            tracker.log_images({"grid": np.asarray(picture)[None]}, step=step, dataformats="NHWC")
    log.info("drew %s", path)


def _tiled(columns: Sequence[tuple[str, Sequence[Image.Image]]]) -> Image.Image:
    rows = len(columns[0][1])
    tiled = Image.new("RGB", (_CELL * len(columns), _HEAD + _CELL * rows), GREY)
    draw = ImageDraw.Draw(tiled)
    for x, (title, pictures) in enumerate(columns):
        draw.text((_CELL * x + _CELL // 2, _HEAD // 2), title, anchor="mm", fill="white", font_size=14)
        for y, picture in enumerate(pictures):
            tiled.paste(picture.resize((_CELL, _CELL)), (_CELL * x, _HEAD + _CELL * y))
    return tiled
