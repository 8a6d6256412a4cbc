"""The command ``hyperlora``: models downloaded and looked at, LoRAs made, pictures drawn, HyperLoRAs trained."""

import argparse
import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from . import __version__
from .batch_jobs import jobs_of, read_people, read_seeds, read_workflow
from .checkpoint import read_checkpoint
from .clip import ClipVision
from .clip_weights import find_tower
from .convert import convert
from .data.command import add_arguments as _add_prepare
from .downloads import CATALOGUE, Bundle, bundle, download
from .encoders import OTHER_ENCODERS, Encoders, check_clip, check_face
from .errors import HyperLoRAError, MissingPackageError
from .faces import ORDERS, FaceAnalyzer
from .generation import generate
from .inspection import inspect
from .network.hyperlora import HyperLoRA
from .onnx_models import PROVIDERS
from .photos import open_photo
from .pipeline import ON_NO_FACE, encode_base, encode_id, find_references

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}

_TRAINING = {
    "train": (".training.command", "train a HyperLoRA: one of the paper's three stages"),
    "finetune": (".training.finetune_command", "train a person's LoRA on, from the one that HyperLoRA makes"),
}
"""Command -> its module and what it does."""

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: as after ``hyperlora``; the process's own by default.

    Returns:
        0, or 1 where something given cannot be used; the reason is on standard error.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = None if words and words[0] in _TRAINING else _parser().parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for chatty in ("httpx", "httpx2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        return _training(words[0])(words[1:]) if options is None else options.run(options)
    except HyperLoRAError as error:
        log.error("hyperlora: %s", error)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hyperlora", description="Photos of a face to the weights of an SDXL LoRA.")
    parser.add_argument("--version", action="version", version=f"hyperlora {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_download(commands.add_parser("download", help="fetch the models that HyperLoRA needs, or say which are there"))
    _add_batch(commands.add_parser("batch", help="draw people x prompts x seeds on ComfyUI servers"))
    _add_generate(commands.add_parser("generate", help="make a LoRA file from photos of one person"))
    _add_inspect(commands.add_parser("inspect", help="say what a model file or folder is, and whether it is whole"))
    _add_prepare(commands.add_parser("prepare", help="make a training set of folders of pictures or WebDataset shards"))
    _add_convert(commands.add_parser("convert", help="a HyperLoRA folder to one file, or one file to a folder"))
    for name, (_, summary) in _TRAINING.items():
        commands.add_parser(name, help=summary)
    return parser


def _training(name: str) -> Callable[[Sequence[str]], int]:
    """The ``main`` of a command that has flags of its own, and stands on the packages of training.

    Raises:
        MissingPackageError: one of these is missing.
    """
    try:
        return importlib.import_module(_TRAINING[name][0], __package__).main
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"hyperlora {name} needs {error.name}: pip install -e .[train]") from error


def _add_download(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=_download)
    command.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"{', '.join(entry.name for entry in CATALOGUE)}; without a name, all that is needed",
    )
    command.add_argument("--models", type=Path, required=True, metavar="DIR", help="ComfyUI's models folder")
    command.add_argument("--list", action="store_true", help="download nothing: say what is there and what is missing")
    command.add_argument("--accept-licences", action="store_true", help="of what is downloaded; asked for otherwise")


def _add_batch(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=_batch)
    command.add_argument(
        "people",
        type=Path,
        metavar="PEOPLE",
        help="a folder with a folder of photos for each person, or a .csv with the columns person, photos (; between), "
        "prompt, seed, and any 'node.input'",
    )
    command.add_argument(
        "--workflow", type=Path, required=True, metavar="FILE", help="in the API format, as example_workflows/api has"
    )
    command.add_argument(
        "--server",
        action="append",
        metavar="URL",
        help="a running ComfyUI; give it again for each (http://127.0.0.1:8188)",
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="pictures and manifest.jsonl go here")
    command.add_argument("--prompt", action="append", default=[], metavar="TEXT", help="give it again for each prompt")
    command.add_argument("--prompts", type=Path, metavar="FILE", help="prompts, one a line")
    command.add_argument("--seeds", default="", metavar="LIST", help="as 1,2,3 or 1-20; the workflow's own otherwise")
    command.add_argument("--retries", type=int, default=3, metavar="N", help="when a server goes away (%(default)s)")
    command.add_argument("--timeout", type=float, default=3600, metavar="S", help="seconds a picture (%(default)s)")


def _add_generate(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=_generate)
    command.add_argument(
        "--model", type=Path, required=True, metavar="PATH", help="the HyperLoRA checkpoint: its folder or file"
    )
    command.add_argument(
        "--faces", type=Path, required=True, metavar="DIR", help="the folder of antelopev2's .onnx files"
    )
    command.add_argument(
        "--clip",
        type=Path,
        metavar="FILE",
        help="CLIP ViT-L/14: a file or its folder; every released HyperLoRA needs it",
    )
    command.add_argument(
        "--other-encoders",
        choices=OTHER_ENCODERS,
        default=OTHER_ENCODERS[0],
        help="a CLIP or face model other than the HyperLoRA was trained with (%(default)s)",
    )
    command.add_argument(
        "--image",
        type=Path,
        required=True,
        action="append",
        metavar="PHOTO",
        help="a photo; give it again for each photo",
    )
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .safetensors file to write")
    command.add_argument(
        "--id-weight", type=float, default=0.8, metavar="W", help="strength of the person (%(default)s)"
    )
    command.add_argument(
        "--base-weight",
        type=float,
        default=0.0,
        metavar="W",
        help="strength of background, clothing and light; needs a checkpoint with Base parts (%(default)s)",
    )
    command.add_argument(
        "--keep-background", action="store_true", help="show CLIP the face with its background, not on grey"
    )
    command.add_argument("--grayscale", action="store_true", help="show CLIP the face without colour")
    command.add_argument(
        "--order", choices=ORDERS, default=ORDERS[0], help="how a photo's faces are ordered (%(default)s)"
    )
    command.add_argument("--index", type=int, default=0, metavar="N", help="which face in that order (%(default)s)")
    command.add_argument("--match", type=Path, metavar="PHOTO", help="for --order 'best match': a photo of the person")
    command.add_argument(
        "--on-no-face", choices=ON_NO_FACE[:2], default="error", help="a photo without a face (%(default)s)"
    )
    command.add_argument("--provider", choices=PROVIDERS, default="auto", help="what finds faces (%(default)s)")
    command.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, ... (%(default)s)")
    command.add_argument(
        "--dtype",
        choices=DTYPES,
        default="fp16",
        help="the type of the file's tensors (%(default)s); fp32 is computed in",
    )


def _add_inspect(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=_inspect)
    command.add_argument("path", type=Path, metavar="PATH", help="a file or a folder")
    command.add_argument("--full", action="store_true", help="read every number of a HyperLoRA, not samples alone")


def _add_convert(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=_convert)
    command.add_argument("source", type=Path, metavar="SOURCE", help="a HyperLoRA's folder or file")
    command.add_argument(
        "target", type=Path, metavar="TARGET", help="what to write: a name ending in .safetensors, or a folder's"
    )
    command.add_argument("--clip", type=Path, metavar="FILE", help="the CLIP it was trained with, to be noted in it")
    command.add_argument("--faces", type=Path, metavar="DIR", help="the face models it was trained with, to be noted")


def _download(options: argparse.Namespace) -> int:
    if not options.models.is_dir():
        raise HyperLoRAError(f"--models {options.models} is no folder: give the models folder of a ComfyUI")
    wanted = [bundle(name) for name in options.names] or [entry for entry in CATALOGUE if entry.needed]
    if options.list:
        for entry in CATALOGUE if not options.names else wanted:
            missing = [file.place for file in entry.missing(options.models)]
            state = f"missing {', '.join(missing)}" if missing else "there"
            sys.stdout.write(f"{entry.name} ({entry.title}): {state}\n")
        return 0
    for entry in wanted:
        if entry.missing(options.models):
            for path in download(entry, options.models, options.accept_licences or _asked(entry)):
                log.info("downloaded %s", path)
    log.info("%s: there", ", ".join(entry.name for entry in wanted))
    return 0


def _batch(options: argparse.Namespace) -> int:
    from .batch import MANIFEST, Batch, Options

    prompts = list(options.prompt)
    if options.prompts is not None:
        if not options.prompts.is_file():
            raise HyperLoRAError(f"there is no file of prompts {options.prompts}")
        prompts += filter(None, map(str.strip, options.prompts.read_text(encoding="utf-8-sig").splitlines()))
    jobs = jobs_of(read_people(options.people), prompts, read_seeds(options.seeds))
    servers = options.server or ["http://127.0.0.1:8188"]
    batch = Batch(
        read_workflow(options.workflow), jobs, Options(servers, options.out, options.retries, options.timeout)
    )
    log.info("%d to draw, %d are there already", len(batch.left), len(batch.jobs) - len(batch.left))
    failed = batch.run()
    for entry in failed:
        log.error("failed: %s, prompt %r, seed %s: %s", *(entry[key] for key in ("person", "prompt", "seed", "error")))
    log.info("%d of %d are in %s", len(batch.jobs) - len(failed), len(batch.jobs), options.out / MANIFEST)
    return 1 if failed else 0


def _asked(entry: Bundle) -> bool:
    """Whether somebody at the keyboard accepts a licence."""
    if not sys.stdin.isatty():
        return False
    licence = entry.licence
    question = f"{entry.title}: about {entry.megabytes} MB. {licence.summary} Licence: {licence.name}, {licence.url}"
    return input(f"{question}\nAccept it? [y/N] ").strip().lower() in ("y", "yes")


def _generate(options: argparse.Namespace) -> int:
    if options.out.suffix != ".safetensors":
        raise HyperLoRAError(f"--out {options.out} must end in .safetensors: no other kind of file is written")
    try:
        torch.empty(0, device=options.device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise HyperLoRAError(f"--device {options.device} cannot be used here ({reason}): give cpu") from error
    network = HyperLoRA.load(options.model, device=options.device)
    if options.base_weight != 0:
        network.need_base()
    reads_clip = network.config.reads_clip or options.base_weight != 0
    if reads_clip and options.clip is None:
        raise HyperLoRAError("this HyperLoRA reads CLIP: name it with --clip")
    clip = ClipVision.load(options.clip, options.device, width=network.config.clip_width) if reads_clip else None
    if clip is not None:
        check_clip(network.encoders.clip_vision, clip.encoder, options.other_encoders)
    analyzer = FaceAnalyzer.load(options.faces, options.provider)
    if network.config.reads_faces:
        check_face(network.encoders.face, analyzer.embedder, options.other_encoders)
    photos = [open_photo(path) for path in options.image]
    match = open_photo(options.match) if options.match else None
    with torch.inference_mode():
        references = find_references(
            analyzer,
            photos,
            options.order,
            options.index,
            match,
            options.on_no_face,
            embed=network.config.reads_faces,
            progress=_say_progress(options.image),
        )
        identity, _ = encode_id(network, clip, references, not options.keep_background, options.grayscale)
        if options.base_weight != 0:
            identity = identity.with_base(encode_base(network, clip, references)[0])
        lora = generate(network, identity, options.id_weight, options.base_weight)
    lora.to(DTYPES[options.dtype]).save(options.out)
    log.info("%s: rank %d, %d photos", options.out, lora.rank, len(references))
    return 0


def _inspect(options: argparse.Namespace) -> int:
    lines, whole = inspect(options.path, options.full)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if whole else 1


def _convert(options: argparse.Namespace) -> int:
    config = read_checkpoint(options.source).config
    if options.clip and config.clip_width is None:
        raise HyperLoRAError("--clip was given, but this HyperLoRA reads no CLIP")
    if options.faces and not config.reads_faces:
        raise HyperLoRAError("--faces was given, but this HyperLoRA reads no face embedding")
    encoders = Encoders(
        clip_vision=find_tower(options.clip, config.clip_width).encoder() if options.clip else None,
        face=FaceAnalyzer.load(options.faces, "CPU").embedder if options.faces else None,
    )
    log.info("%s", convert(options.source, options.target, encoders))
    return 0


def _say_progress(paths: Sequence[Path]) -> Callable[[int], None]:
    return lambda done: log.info("looked at %s (%d of %d)", paths[done - 1], done, len(paths))


if __name__ == "__main__":
    sys.exit(main())
