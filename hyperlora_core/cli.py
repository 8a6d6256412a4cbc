"""The command ``hyperlora``: models downloaded and looked at, LoRAs made, pictures drawn, HyperLoRAs trained."""

import argparse
import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import __version__
from .batch_command import add_arguments as _add_batch
from .checkpoint import read_checkpoint
from .clip_weights import find_tower
from .convert import convert
from .data.command import add_arguments as _add_prepare
from .doctor_command import add_arguments as _add_doctor
from .downloads import CATALOGUE, Bundle, bundle, download
from .encoders import Encoders
from .errors import HyperLoRAError, MissingPackageError
from .evaluation.command import add_arguments as _add_evaluate
from .faces import FaceAnalyzer
from .generate_command import add_arguments as _add_generate
from .inspection import inspect

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
        0; 1 where something given cannot be used, 130 where Ctrl-C ended it; the reason is on standard error.
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
    except KeyboardInterrupt:
        log.error("hyperlora: stopped; what can go on goes on by the same command")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hyperlora", description="Photos of a face to the weights of an SDXL LoRA.")
    parser.add_argument("--version", action="version", version=f"hyperlora {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_download(commands.add_parser("download", help="fetch the models that HyperLoRA needs, or say which are there"))
    _add_batch(commands.add_parser("batch", help="draw people x prompts x seeds on ComfyUI servers"))
    _add_generate(commands.add_parser("generate", help="make a LoRA file from photos of one person"))
    _add_inspect(commands.add_parser("inspect", help="say what a model file or folder is, and whether it is whole"))
    _add_doctor(commands.add_parser("doctor", help="say what a report of a bug needs: versions, device, models, packs"))
    _add_prepare(commands.add_parser("prepare", help="make a training set of folders of pictures or WebDataset shards"))
    _add_evaluate(commands.add_parser("evaluate", help="compare identity methods: the paper's benchmark"))
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


def _asked(entry: Bundle) -> bool:
    """Whether somebody at the keyboard accepts a licence."""
    if not sys.stdin.isatty():
        return False
    licence = entry.licence
    question = f"{entry.title}: about {entry.megabytes} MB. {licence.summary} Licence: {licence.name}, {licence.url}"
    return input(f"{question}\nAccept it? [y/N] ").strip().lower() in ("y", "yes")


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
        face=FaceAnalyzer.load(options.faces).embedder if options.faces else None,
    )
    log.info("%s", convert(options.source, options.target, encoders))
    return 0


if __name__ == "__main__":
    sys.exit(main())
