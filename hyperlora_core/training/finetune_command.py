"""The command ``hyperlora finetune``: a person's identity and photos in, their LoRA trained on."""

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import torch
import tyro

from ..errors import HyperLoRAError
from ..faces import FaceAnalyzer
from ..files import file_sha256
from ..identity.file import load_identity
from ..identity.generation import generate
from ..lora.value import LoRA
from ..network.hyperlora import HyperLoRA
from . import states
from .acceleration import DTYPES, accelerator_for
from .command import STOPPED, exit_code, log_to_stderr
from .finetune import FinetuneConfig, OwnLoRA, OwnPhoto, PhotoTask, check_fits, fresh_lora, read_photos
from .loop import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finetune:
    """Train a person's LoRA on, from the one that HyperLoRA makes of them.

    Give --identity and --model, or --lora with a LoRA that was made before, or, to compare with what was trained in the
    usual way, --rank alone. The same command again goes on where it was stopped.

    Attributes:
        config: of the run.
        out: the .safetensors file to write, for every tool that loads kohya LoRAs.
        faces: the folder of antelopev2's .onnx files, by which cuts are made around the face.
        identity: a kept person, as Save Identity writes it.
        model: the HyperLoRA that made the identity.
        id_weight: strength of the person where the training begins; the result is for strength 1.
        lora: a LoRA to begin with, in place of an identity.
        rank: begin with no LoRA at all, in place of an identity: one of so many ranks on all attentions of the base
            model, whose alpha is its rank.
        cpu: compute on the CPU though there is a GPU.
    """

    config: Annotated[FinetuneConfig, tyro.conf.arg(name="")]
    out: Path
    faces: Path
    identity: Path | None = None
    model: Path | None = None
    id_weight: float = 0.8
    lora: Path | None = None
    rank: int | None = None
    cpu: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see ``command.main``."""
    log_to_stderr()
    words = None if arguments is None else list(arguments)
    with_less = "begin in another folder with a smaller --resolution"
    return exit_code(
        "hyperlora finetune", with_less, lambda: finetune(tyro.cli(Finetune, args=words, prog="hyperlora finetune"))
    )


def finetune(arguments: Finetune) -> int:
    """Train, from the run's newest state to its end or until it is told to stop.

    Returns:
        0 at its end, ``STOPPED`` before.

    Raises:
        HyperLoRAError: something given cannot be used, or the training diverged.
    """
    from ..doors.diffusers.base_model import BaseModel

    config, out = arguments.config, arguments.out
    _check(arguments)
    folder = out.with_suffix(".run")
    accelerator = accelerator_for(config, folder, arguments.cpu)
    photos = read_photos(Path(config.images), FaceAnalyzer.load(arguments.faces))
    learner = OwnLoRA(_start(arguments)) if arguments.rank is None else None
    input_hashes = _input_hashes(arguments, photos)
    states.compare(folder, config, input_hashes)
    base = BaseModel.load(config.base, accelerator.device, DTYPES[config.mixed_precision])
    if learner is None:
        assert arguments.rank is not None
        learner = OwnLoRA(fresh_lora(base.unet, arguments.rank, config.seed))
    check_fits(base.unet, learner)
    run = Run(config, PhotoTask(base, photos, config), learner, folder, accelerator, input_hashes=input_hashes)
    log.info("%d photos; step %d of %d", len(photos), run.progress.step, config.steps)
    try:
        finished = run.train(lambda at, loss: log.info("%s", at.account(loss)))
        weights = run.weights()
    finally:
        run.close()
    if not finished:
        log.info("Stopped at step %d of %d; the same command goes on", run.progress.step, config.steps)
        return STOPPED
    if accelerator.is_main_process:
        lora = learner.lora(weights)
        if not lora.to(torch.float16).is_finite:
            raise HyperLoRAError(
                f"the LoRA has numbers that are not finite: delete {folder}, and give a lower "
                "--optimization.learning-rate"
            )
        lora.metadata |= {
            "ss_steps": str(config.steps),
            "hyperlora.finetuned": json.dumps({"photos": len(photos), "steps": config.steps, "seed": config.seed}),
        }
        lora.metadata.pop("modelspec.trigger_phrase", None)
        if config.trigger_words:
            lora.metadata["modelspec.trigger_phrase"] = config.trigger_words
        log.info("%s: rank %d, of %d photos", lora.to(torch.float16).save(out), lora.rank, len(photos))
        shutil.rmtree(folder)
    return 0


def _check(arguments: Finetune) -> None:
    """Refuse what does not go together, before anything is loaded."""
    if arguments.out.suffix != ".safetensors":
        raise HyperLoRAError(f"--out {arguments.out} must end in .safetensors: no other kind of file is written")
    if not arguments.config.images:
        raise HyperLoRAError("no photos were named: give --images a folder of 10 to 20 photos of the person")
    generated = arguments.identity is not None or arguments.model is not None
    if generated + (arguments.lora is not None) + (arguments.rank is not None) > 1:
        raise HyperLoRAError("two places to begin are given: --lora, or --rank, or --identity and --model")
    if arguments.rank is not None and arguments.rank < 1:
        raise HyperLoRAError(f"--rank is {arguments.rank}: a number of 1 or more was expected")
    if arguments.lora is None and arguments.rank is None and (arguments.identity is None or arguments.model is None):
        raise HyperLoRAError("where to begin is missing: give --identity and --model, or --lora, or --rank")
    for flag, begin in (("--lora", arguments.lora), ("--identity", arguments.identity)):
        if begin is not None and begin.resolve() == arguments.out.resolve():
            raise HyperLoRAError(f"--out is the file of {flag}, which would be lost: give another")


def _input_hashes(arguments: Finetune, photos: Sequence[OwnPhoto]) -> dict[str, str]:
    """Hashes of the inputs, as ``states.compare`` takes them."""
    hashes = {"--id-weight": f"{arguments.id_weight:g}"} if arguments.identity is not None else {}
    if arguments.rank is not None:
        hashes["--rank"] = str(arguments.rank)
    for flag, path in (("--lora", arguments.lora), ("--identity", arguments.identity)):
        if path is not None and path.is_file():
            hashes[flag] = file_sha256(path)
    if arguments.model is not None:
        hashes["--model"] = arguments.model.name
    pictures = sha256()
    for own in photos:
        pictures.update(own.photo.tobytes() + own.caption.encode())
    return hashes | {"--images": pictures.hexdigest()}


def _start(arguments: Finetune) -> LoRA:
    if arguments.lora is not None:
        return LoRA.load(arguments.lora)
    assert arguments.identity is not None and arguments.model is not None
    network = HyperLoRA.load(arguments.model)
    return generate(network, load_identity(arguments.identity), arguments.id_weight, base_weight=0.0)
