"""One leg: trained by the real loop, exported like any checkpoint, and measured."""

import json
import logging
import time
from pathlib import Path

import numpy as np
import torch

from demo.cache import cache_dir
from hyperlora_core.doors.diffusers.unet import attention_modules
from hyperlora_core.files import atomic
from hyperlora_core.network.hyperlora import HyperLoRA
from hyperlora_core.training.acceleration import accelerator_for
from hyperlora_core.training.export import export
from hyperlora_core.training.forward import GeneratedLoRAs
from hyperlora_core.training.fresh import fresh
from hyperlora_core.training.loop import Run

from . import base_training
from .base import Base
from .encoders import face_encoder, token_encoder
from .task import ToyTask, World
from .variants import Leg

_CHECKPOINT, _TOLD = "hyperlora", "losses.json"

log = logging.getLogger(__name__)


def world() -> World:
    """The frozen parts, trained before."""
    return World(base_training.load(base_training.folder() / "base.safetensors"), face_encoder(), token_encoder())


def folder_of(leg: Leg) -> Path:
    """Where its states, its checkpoint and its pictures lie."""
    return cache_dir() / "toy-world-runs" / f"{leg.name}-{leg.recipe}"


def checkpoint_of(leg: Leg) -> Path:
    """Its HyperLoRA, once it is trained."""
    return folder_of(leg) / _CHECKPOINT


def losses_of(leg: Leg) -> dict[str, list[float]]:
    """Mean losses of each 20 steps, and the seconds that they took."""
    path = folder_of(leg) / _TOLD
    return json.loads(path.read_text()) if path.exists() else {"loss": [], "seconds": []}


def train(leg: Leg, parts: World) -> bool:
    """Train a leg from where it is; whether it is at its end."""
    folder, config = folder_of(leg), leg.config()
    if checkpoint_of(leg).exists():
        return True
    network = begun(leg, parts.base)
    loras = GeneratedLoRAs.of_run(network, config)
    accelerator = accelerator_for(config, folder / "run", cpu=True)
    run = Run(config, ToyTask(parts, config), loras, folder / "run", accelerator)
    watch = Watch(leg, run.progress.step)
    log.info("%s: from step %d of %d", leg.name, run.progress.step, config.steps)
    try:
        whole = run.train(watch)
    finally:
        run.close()
    if whole:
        export(network.config, network.state_dict(), checkpoint_of(leg), dtype=torch.float32)
    return whole


def begun(leg: Leg, base: Base) -> HyperLoRA:
    """A leg's HyperLoRA before its first step."""
    network = fresh(leg.config().shape.config(attention_modules(base.unet)), leg.seed)
    if leg.parent is not None:
        network.load_state_dict(HyperLoRA.load(checkpoint_of(leg.parent)).state_dict())
    return network


class Watch:
    """Notes the losses of a run, and what they took, in its folder."""

    every = 20

    def __init__(self, leg: Leg, step: int) -> None:
        self._leg = leg
        told = losses_of(leg)
        kept = step // self.every
        self._losses, self._seconds = told["loss"][:kept], told["seconds"][:kept]
        self._some: list[float] = []
        self._began = time.monotonic()

    def __call__(self, run: Run[GeneratedLoRAs], loss: float) -> None:
        self._some.append(loss)
        step = run.progress.step
        if step % self.every:
            return
        now = time.monotonic()
        self._losses.append(round(float(np.mean(self._some)), 5))
        self._seconds.append(round(now - self._began, 1))
        self._some, self._began = [], now
        path = folder_of(self._leg) / _TOLD
        atomic.write_text(path, json.dumps({"loss": self._losses, "seconds": self._seconds}))
        if step % (5 * self.every) == 0:
            pace = self._seconds[-1] / self.every
            log.info("%s: step %d, loss %.4f, %.2f s a step", self._leg.name, step, self._losses[-1], pace)
