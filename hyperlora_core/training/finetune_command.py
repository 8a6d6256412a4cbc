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


def finetune(given: Finetune) -> int:
    """Train, from the run's newest state to its end or until it is told to stop.

    Returns:
        0 at its end, ``STOPPED`` before.

    Raises:
        HyperLoRAError: something given cannot be used, or the training diverged.
    """
    from ..doors.diffusers.base_model import BaseModel

    config, out = given.config, given.out
    _check(given)
    folder = out.with_suffix(".run")
    accelerator = accelerator_for(config, folder, given.cpu)
    photos = read_photos(Path(config.images), FaceAnalyzer.load(given.faces))
    learner = OwnLoRA(_start(given)) if given.rank is None else None
    begun = _begun(given, photos)
    states.compare(folder, config, begun)
    base = BaseModel.load(config.base, accelerator.device, DTYPES[config.mixed_precision])
    if learner is None:
        assert given.rank is not None
        learner = OwnLoRA(fresh_lora(base.unet, given.rank, config.seed))
    check_fits(base.unet, learner)
    run = Run(config, PhotoTask(base, photos, config), learner, folder, accelerator, begun=begun)
    log.info("%d photos; step %d of %d", len(photos), run.progress.step, config.steps)
    try:
        ended = run.train(lambda at, loss: log.info("%s", at.account(loss)))
        weights = run.weights()
    finally:
        run.close()
    if not ended:
        log.info("Stopped at step %d of %d; the same command goes on", run.progress.step, config.steps)
        return STOPPED
    if accelerator.is_main_process:
        made = learner.lora(weights)
        if not made.to(torch.float16).is_finite:
            raise HyperLoRAError(
                f"the LoRA has numbers that are not finite: delete {folder}, and give a lower "
                "--optimization.learning-rate"
            )
        made.metadata |= {
            "ss_steps": str(config.steps),
            "hyperlora.finetuned": json.dumps({"photos": len(photos), "steps": config.steps, "seed": config.seed}),
        }
        made.metadata.pop("modelspec.trigger_phrase", None)
        if config.trigger_words:
            made.metadata["modelspec.trigger_phrase"] = config.trigger_words
        log.info("%s: rank %d, of %d photos", made.to(torch.float16).save(out), made.rank, len(photos))
        shutil.rmtree(folder)
    return 0


def _check(given: Finetune) -> None:
    """Refuse what does not go together, before anything is loaded."""
    if given.out.suffix != ".safetensors":
        raise HyperLoRAError(f"--out {given.out} must end in .safetensors: no other kind of file is written")
    if not given.config.images:
        raise HyperLoRAError("no photos were named: give --images a folder of 10 to 20 photos of the person")
    generated = given.identity is not None or given.model is not None
    if generated + (given.lora is not None) + (given.rank is not None) > 1:
        raise HyperLoRAError("two places to begin are given: --lora, or --rank, or --identity and --model")
    if given.rank is not None and given.rank < 1:
        raise HyperLoRAError(f"--rank is {given.rank}: a number of 1 or more was expected")
    if given.lora is None and given.rank is None and (given.identity is None or given.model is None):
        raise HyperLoRAError("where to begin is missing: give --identity and --model, or --lora, or --rank")
    for flag, begin in (("--lora", given.lora), ("--identity", given.identity)):
        if begin is not None and begin.resolve() == given.out.resolve():
            raise HyperLoRAError(f"--out is the file of {flag}, which would be lost: give another")


def _begun(given: Finetune, photos: Sequence[OwnPhoto]) -> dict[str, str]:
    """What a training begins with, see ``states.compare``."""
    begun = {"--id-weight": f"{given.id_weight:g}"} if given.identity is not None else {}
    if given.rank is not None:
        begun["--rank"] = str(given.rank)
    for flag, path in (("--lora", given.lora), ("--identity", given.identity)):
        if path is not None and path.is_file():
            begun[flag] = file_sha256(path)
    if given.model is not None:
        begun["--model"] = given.model.name
    pictures = sha256()
    for each in photos:
        pictures.update(each.photo.tobytes() + each.caption.encode())
    return begun | {"--images": pictures.hexdigest()}


def _start(given: Finetune) -> LoRA:
    if given.lora is not None:
        return LoRA.load(given.lora)
    assert given.identity is not None and given.model is not None
    network = HyperLoRA.load(given.model)
    return generate(network, load_identity(given.identity), given.id_weight, base_weight=0.0)
