"""The command ``hyperlora train``, also ``python -m hyperlora_core.training`` and under ``accelerate launch``."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from accelerate import DistributedType

from ..clip import ClipVision
from ..data.shards import Shards
from ..doors.base_model import BaseModel
from ..doors.diffusers import attention_modules
from ..encoders import Encoder, Encoders, check_clip, check_face
from ..errors import HyperLoRAError
from ..faces import FaceAnalyzer
from ..network.hyperlora import HyperLoRA
from . import stages
from .begin import network_for
from .config import RECIPES, TrainConfig, on_24_gb
from .export import export
from .forward import GeneratedLoRAs
from .grids import save_grid
from .identity_loss import IdentityLoss
from .loop import Run, accelerator_for
from .plan import plan
from .portraits import PortraitTask
from .states import CONFIG

CHECKPOINT = "hyperlora"
"""Where in a run's folder its HyperLoRA lies, in the released layout."""

STOPPED = 143
"""The exit code of a run that was told to stop before its end, a shell's for SIGTERM."""

DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Train:
    """Train a HyperLoRA: one stage of the paper's three, from a checkpoint or fresh.

    The same command again goes on where a run was stopped. With --plan nothing is loaded or trained: what it would take
    is printed.

    Attributes:
        config: of the run.
        out: folder of the run: its states, log, pictures, and the HyperLoRA that comes of it.
        cpu: compute on the CPU though there is a GPU.
        plan: print parameters, memory and time, and train nothing.
        gpus: for the plan: how many.
        samples_per_second: for the plan: how many all of them together take.
    """

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    out: Path = Path("hyperlora-run")
    cpu: bool = False
    plan: bool = False
    gpus: int = 16
    samples_per_second: float | None = None


_PAPER = {name: Train(recipe) for name, recipe in RECIPES.items()}
_SMALL = {f"{name}-24gb": Train(on_24_gb(recipe), gpus=1) for name, recipe in RECIPES.items()}
_SAID = {
    "base": "stage 1: the Base-LoRA, of all that is not the person",
    "id_clip": "stage 2: the ID-LoRA, led by CLIP",
    "id_embed": "stage 3: what hangs on the face embedding",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: as after ``hyperlora train``; the process's own by default.

    Returns:
        0 when the run is at its end, ``STOPPED`` when it was told to stop before, 1 where something given cannot be
        used; the reason is on standard error.
    """
    log_to_stderr()
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        given = tyro.extras.overridable_config_cli(
            {
                name: (f"{_SAID[name.removesuffix('-24gb')]}{', on one card of 24 GB' if '-' in name else ''}", recipe)
                for name, recipe in (_PAPER | _SMALL).items()
            },
            args=words,
            prog="hyperlora train",
        )
        named = next(word for word in words if word in _PAPER | _SMALL).removesuffix("-24gb")
        if given.config.stage != named:
            raise HyperLoRAError(f"the recipe {named} has the stage {named}: for another, name its recipe")
        return _plan(given) if given.plan else train(given.config, given.out, given.cpu)
    except HyperLoRAError as error:
        log.error("hyperlora train: %s", error)
        return 1
    except KeyboardInterrupt:
        log.error("hyperlora train: stopped before its first step")
        return STOPPED


def log_to_stderr() -> None:
    """Say what happens, in our words: of the libraries beneath, warnings alone."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for chatty in ("accelerate", "diffusers", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def train(config: TrainConfig, out: Path, cpu: bool = False) -> int:
    """Train, from the run's newest state to its end or until it is told to stop.

    Args:
        config: of the run.
        out: its folder.
        cpu: compute on the CPU though there is a GPU.

    Returns:
        0 at its end, ``STOPPED`` before.

    Raises:
        HyperLoRAError: something given cannot be used, or the training diverged.
    """
    if not config.data:
        raise HyperLoRAError("no training set was named: give --data the folder that hyperlora prepare made")
    accelerator = accelerator_for(config, out, cpu)
    if not accelerator.is_main_process:
        logging.getLogger().setLevel(logging.ERROR)
    shards = Shards(config.data)
    base = BaseModel.load(config.base, accelerator.device, DTYPES[config.mixed_precision])
    network = network_for(config, attention_modules(base.unet))
    clip = None
    if network.config.clip_width is not None:
        if not config.clip:
            raise HyperLoRAError("this HyperLoRA reads CLIP: name its file or folder with --clip")
        dtype = DTYPES[config.mixed_precision]
        clip = ClipVision.load(config.clip, accelerator.device, dtype, width=network.config.clip_width)
        check_clip(network.encoders.clip_vision, clip.encoder, "never")
    if config.start and network.config.reads_faces:
        check_face(network.encoders.face, shards.info.face_encoder, "never")
    encoders = Encoders(clip.encoder if clip else None, shards.info.face_encoder)
    network.compute_device = accelerator.device
    loras = GeneratedLoRAs.of_run(network, config)
    for line in stages.lines(network, config.stage, config.also_train):
        log.info("%s", line)
    task = PortraitTask(base, clip, shards, network.config, config, loras.makes)
    more = _identity_loss(config, base, network, loras, shards.info.face_encoder)
    run = Run(config, task, loras, out, accelerator, more)
    log.info(
        "%d samples, %d people known by name; step %d of %d",
        len(shards),
        shards.people,
        run.progress.step,
        config.steps,
    )

    grids = config.sample_every and accelerator.distributed_type != DistributedType.FSDP
    if config.sample_every and not grids:
        log.warning("No grids of pictures are drawn: under FSDP no process has the whole network")

    def on_step(at: Run[GeneratedLoRAs], loss: float) -> None:
        step = at.progress.step
        log.info("step %d of %d: loss %.5f", step, config.steps, loss)
        if grids and step % config.sample_every == 0 and accelerator.is_main_process:
            log.info("drew %s", save_grid(at, task, out / "grids"))
        if step % config.save_every == 0:
            _export(at, out, encoders)

    try:
        ended = run.train(on_step)
        if ended and config.steps % config.save_every:
            _export(run, out, encoders)
    finally:
        run.close()
    if ended:
        log.info("The HyperLoRA is %s", out / CHECKPOINT)
        return 0
    log.info("Stopped at step %d of %d; the same command goes on from there", run.progress.step, config.steps)
    return STOPPED


def _identity_loss(
    config: TrainConfig, base: BaseModel, network: HyperLoRA, loras: GeneratedLoRAs, face: Encoder
) -> tuple[IdentityLoss, float] | None:
    told = config.identity
    if not told.weight:
        return None
    if "id" not in loras.makes or not network.config.reads_faces:
        raise HyperLoRAError(
            f"the stage {config.stage} makes no ID-LoRA of a face embedding: leave identity.weight at 0"
        )
    analyzer = FaceAnalyzer.load(told.faces)
    check_face(face, analyzer.embedder, "never")
    loss = IdentityLoss(base, analyzer, told, loras.targets, config.seed, config.gradient_checkpointing)
    return loss, told.weight


def _export(run: Run[GeneratedLoRAs], out: Path, encoders: Encoders) -> None:
    """Write what a run has come to, the average of its weights where one is kept, and what it was told."""
    weights = run.loras.without_gate(run.weights())
    if run.accelerator.is_main_process:
        notes = {CONFIG: run.config.to_json()}
        export(run.loras.network.config, weights, out / CHECKPOINT, encoders, notes=notes)


def _plan(given: Train) -> int:
    for line in plan(given.config, given.gpus, given.samples_per_second):
        sys.stdout.write(line + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
