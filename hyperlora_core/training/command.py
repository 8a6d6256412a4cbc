"""The command ``hyperlora train``, also ``python -m hyperlora_core.training`` and under ``accelerate launch``."""

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import torch
import tyro
from accelerate import DistributedType

from ..clip.vision import ClipVision
from ..clip.weights import find_tower
from ..data.shards import Shards
from ..doors.diffusers.base_model import BaseModel
from ..doors.diffusers.unet import attention_modules
from ..errors import HyperLoRAError
from ..files import file_sha256
from ..files.encoders import Encoders, check_clip, check_face
from ..network.checkpoint import read_checkpoint
from . import extra_losses, stages, states
from .acceleration import DTYPES, accelerator_for
from .begin import network_for
from .config import RECIPES, TrainConfig, on_24_gb
from .export import export
from .forward import GeneratedLoRAs
from .grids import save_grid
from .loop import Run
from .losses import LossContext
from .optimizer import adamw
from .plan import plan
from .portraits import PortraitTask
from .validation import Validation

CHECKPOINT = "hyperlora"
"""Where in a run's folder its HyperLoRA lies, in the released layout."""

STOPPED = 143
"""The exit code of a run that was told to stop before its end, a shell's for SIGTERM."""

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
        gpus: for the plan: how many; 16, or 1 of 24 GB, where none is said.
        samples_per_second: for the plan: how many all of them together take.
    """

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    out: Path = Path("hyperlora-run")
    cpu: bool = False
    plan: bool = False
    gpus: int | None = None
    samples_per_second: float | None = None


_PAPER = {name: Train(recipe) for name, recipe in RECIPES.items()}
_SMALL = {f"{name}-24gb": Train(on_24_gb(recipe)) for name, recipe in RECIPES.items()}
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
    return exit_code("hyperlora train", "begin with a recipe for 24 GB", lambda: _main(words))


def exit_code(command: str, with_less: str, work: Callable[[], int]) -> int:
    """Do a command's work, and say what ended it.

    Args:
        command: its name.
        with_less: what can be done about a GPU that is too small, beside a smaller batch.
        work: gives the exit code where nothing ends it.
    """
    try:
        return work()
    except HyperLoRAError as error:
        log.error("%s: %s", command, error)
        return 1
    except KeyboardInterrupt:
        log.error("%s: stopped before its first step", command)
        return STOPPED
    except torch.OutOfMemoryError as error:
        reason = str(error).partition("\n")[0]
        log.error(
            "%s: the GPU's memory is not enough (%s): give a smaller --batch, with which the run goes on unchanged, "
            "or %s",
            command,
            reason,
            with_less,
        )
        return 1


def _main(words: Sequence[str]) -> int:
    arguments = tyro.extras.overridable_config_cli(
        {
            name: (f"{_SAID[name.removesuffix('-24gb')]}{', on one card of 24 GB' if '-' in name else ''}", recipe)
            for name, recipe in (_PAPER | _SMALL).items()
        },
        args=words,
        prog="hyperlora train",
    )
    recipe = next(word for word in words if word in _PAPER | _SMALL)
    stage_name = recipe.removesuffix("-24gb")
    if arguments.config.stage != stage_name:
        raise HyperLoRAError(f"the recipe {stage_name} has the stage {stage_name}: for another, name its recipe")
    if arguments.plan:
        return _plan(arguments, (16 if recipe == stage_name else 1) if arguments.gpus is None else arguments.gpus)
    if arguments.gpus is not None or arguments.samples_per_second is not None:
        raise HyperLoRAError(
            "--gpus and --samples-per-second are for --plan: to train on several GPUs, start this command with "
            "accelerate launch --num_processes"
        )
    return train(arguments.config, arguments.out, arguments.cpu)


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
    input_hashes = _input_hashes(config, shards)
    states.compare(out, config, input_hashes)
    _check_at_hand(config)
    base = BaseModel.load(config.base, accelerator.device, DTYPES[config.mixed_precision])
    network = network_for(config, attention_modules(base.unet))
    clip = None
    if network.config.clip_width is not None and config.clip:  # where it reads CLIP and none is named, the task says so
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
    losses = extra_losses.build(LossContext(base, task.objective, network, loras, config, shards.info.face_encoder))
    run = Run(config, task, loras, out, accelerator, losses, input_hashes)
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

    validation = None
    if config.validation.people:
        if accelerator.distributed_type == DistributedType.FSDP:
            raise HyperLoRAError(
                "under FSDP no process has the whole network, so none can validate: leave out --validation.people"
            )
        validation = Validation(task) if accelerator.is_main_process else None
    exported = None

    def on_step(at: Run[GeneratedLoRAs], loss: float) -> None:
        nonlocal exported
        step = at.progress.step
        log.info("%s", at.account(loss))
        if grids and step % config.sample_every == 0 and accelerator.is_main_process:
            save_grid(at, task, out / "grids")
        if validation is not None and (validation.due(step) or step == config.steps):
            validation.look(at, out)
        if step % config.save_every == 0:
            _export(at, out, encoders)
            exported = step

    try:
        finished = run.train(on_step)
        if finished and exported != config.steps:  # a run may have been killed between its last state and this
            _export(run, out, encoders)
    finally:
        run.close()
    if finished:
        log.info("The HyperLoRA is %s", out / CHECKPOINT)
        return 0
    log.info("Stopped at step %d of %d; the same command goes on from there", run.progress.step, config.steps)
    return STOPPED


def _check_at_hand(config: TrainConfig) -> None:
    """Find what is missing before a base model is loaded, or downloaded."""
    adamw(config.optimization.eight_bit)
    start = read_checkpoint(Path(config.start)).config if config.start else None
    if config.clip:
        find_tower(config.clip)
    elif (start.clip_width if start else config.shape.clip_width) is not None:
        raise HyperLoRAError("this HyperLoRA reads CLIP: name its file or folder with --clip")
    extra_losses.check(config)


def _input_hashes(config: TrainConfig, shards: Shards) -> dict[str, str]:
    """Hashes of the inputs, as ``states.compare`` takes them; the base model counts by its name alone."""
    hashes = {"--data": shards.fingerprint}
    for flag, name in (("--clip", config.clip), ("--start", config.start)):
        if not name:
            continue
        path = Path(name)
        files = sorted(path.rglob("*.safetensors")) if path.is_dir() else [path]
        if all(file.is_file() for file in files):
            hashes[flag] = sha256("".join(map(file_sha256, files)).encode()).hexdigest()
    return hashes


def _export(run: Run[GeneratedLoRAs], out: Path, encoders: Encoders) -> None:
    """Write what a run has come to, the average of its weights where one is kept, and what it was told."""
    weights = run.loras.without_gate(run.weights())
    if run.accelerator.is_main_process:
        notes = {states.CONFIG: run.config.to_json()}
        export(run.loras.network.config, weights, out / CHECKPOINT, encoders, notes=notes)


def _plan(arguments: Train, gpus: int) -> int:
    for line in plan(arguments.config, gpus, arguments.samples_per_second):
        sys.stdout.write(line + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
