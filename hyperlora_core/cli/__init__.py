"""The command ``hyperlora``: models downloaded and looked at, LoRAs made, pictures drawn, HyperLoRAs trained.

A command's module is imported when it is called: torch takes seconds, and not all of them need it.
"""

import argparse
import importlib
import logging
import sys
from collections.abc import Callable, Sequence

from ..errors import HyperLoRAError, MissingPackageError
from ..version import __version__

_COMMANDS = {
    "download": (".download", "fetch the models that HyperLoRA needs, or say which are there"),
    "batch": (".batch", "draw people x prompts x seeds on ComfyUI servers"),
    "generate": (".generate", "make a LoRA file from photos of one person"),
    "inspect": (".inspect", "say what a model file or folder is, and whether it is whole"),
    "doctor": (".doctor", "say what a report of a bug needs: versions, device, models, packs"),
    "prepare": ("..data.command", "make a training set of folders of pictures or WebDataset shards"),
    "evaluate": ("..evaluation.command", "compare identity methods: the paper's benchmark"),
    "convert": (".convert", "a HyperLoRA folder to one file, or one file to a folder"),
}
_TRAINING = {
    "train": ("..training.command", "train a HyperLoRA: one of the paper's three stages"),
    "finetune": ("..training.finetune_command", "train a person's LoRA on, from the one that HyperLoRA makes"),
}
"""Command -> its module and what it does; those of training read their words by themselves."""

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: as after ``hyperlora``; the process's own by default.

    Returns:
        0; 1 where an input cannot be used, 130 where Ctrl-C ended it; the reason is on standard error.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = None if words and words[0] in _TRAINING else _parser(words).parse_args(words)
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


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of all commands; only the command that ``words`` name gets its arguments."""
    parser = argparse.ArgumentParser(prog="hyperlora", description="Photos of a face to the weights of an SDXL LoRA.")
    parser.add_argument("--version", action="version", version=f"hyperlora {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, (module, summary) in (_COMMANDS | _TRAINING).items():
        command = commands.add_parser(name, help=summary)
        if name in _COMMANDS and name in words[:1]:
            importlib.import_module(module, __name__).add_arguments(command)
    return parser


def _training(name: str) -> Callable[[Sequence[str]], int]:
    """The ``main`` of a command that has flags of its own, and stands on the packages of training.

    Raises:
        MissingPackageError: one of these is missing.
    """
    try:
        return importlib.import_module(_TRAINING[name][0], __name__).main
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"hyperlora {name} needs {error.name}: pip install -e .[train]") from error
