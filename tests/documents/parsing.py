"""What the real commands make of words, down to their config objects; nothing is computed."""

import argparse
import contextlib
import importlib.util
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from demo.server import PACK
from hyperlora_core.cli import main


class Parsed(Exception):
    """Raised where a command has read its words.

    Attributes:
        value: the options or the config.
    """

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.value = value


def stop_with(value: Any, *args: Any) -> None:
    """Stands in for a command's work."""
    raise Parsed(value)


def parsed(words: Sequence[str]) -> Any:
    """What ``hyperlora`` makes of the words behind it: a config of training or data, or the options of argparse.

    Raises:
        SystemExit: they cannot be read.
    """
    with pytest.MonkeyPatch.context() as patch:
        if words[0] == "train":
            patch.setattr("hyperlora_core.training.command.train", stop_with)
            patch.setattr("hyperlora_core.training.command.plan", stop_with)
        elif words[0] == "finetune":
            patch.setattr("hyperlora_core.training.finetune_command.finetune", stop_with)
        elif words[0] == "prepare":
            patch.setattr("hyperlora_core.data.prepare.prepare", stop_with)
        else:
            patch.setattr(argparse.ArgumentParser, "parse_args", _then_stop(argparse.ArgumentParser.parse_args))
        try:
            code = main(words)
        except Parsed as read:
            return read.value
    raise AssertionError(f"hyperlora {' '.join(words)} ended with {code}, and began no work")


def _then_stop(parse: Callable[..., argparse.Namespace]) -> Callable[..., None]:
    return lambda *args, **kwargs: stop_with(parse(*args, **kwargs))


def check(words: Sequence[str]) -> Any:
    """Hold a command of a document against what reads it: a parser, the Makefile, ``pyproject.toml``, the files.

    Returns:
        What ``parsed`` gives, for ``hyperlora`` and for training under ``accelerate launch``; else None.
    """
    match list(words):
        case ["python", "-m", "hyperlora_core.cli", _, *_] | ["hyperlora", *_]:
            return parsed(words[1:] if words[0] == "hyperlora" else words[3:])
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module), f"there is no module {module}"
        case ["python", "-c", code]:
            compile(code, "a document", "exec")
        case ["accelerate", "launch", *arguments]:
            return launched(arguments)
        case ["make", *arguments]:
            check_make(arguments)
        case ["pip", "install", *arguments]:
            check_pip(arguments)
        case ["git", "clone", *arguments]:
            assert re.fullmatch(r"(--depth 1 )?https://\S+( ComfyUI-HyperLoRA)?", " ".join(arguments))
        case ["cp", "-r", _, _] | ["cd", _]:
            pass
        case _:
            raise AssertionError(f"nothing is known of the command {' '.join(words)}")
    return None


def launched(arguments: Sequence[str]) -> Any:
    """What training makes of its words under ``accelerate launch``, whose own are read by Accelerate."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    options = launch_command_parser().parse_args(arguments)
    assert (PACK / options.config_file).is_file(), options.config_file
    options.config_file = str(PACK / options.config_file)
    options, _, _ = _validate_launch_command(options)
    assert options.module and options.training_script == "hyperlora_core.training"
    return parsed(["train", *options.training_script_args])


def check_make(arguments: Sequence[str]) -> None:
    """Hold targets and variables against the Makefile."""
    makefile = (PACK / "Makefile").read_text()
    targets = re.findall(r"^([a-z][a-z-]*):(?!=)", makefile, re.MULTILINE)
    exported = " ".join(re.findall(r"^export (.+)$", makefile, re.MULTILINE)).split()
    for argument in arguments:
        name, is_variable, _ = argument.partition("=")
        if is_variable:
            assert name in exported or f"$({name})" in makefile, f"no target reads {name}"
        else:
            assert name in targets, f"there is no make {name}"


def check_pip(arguments: Sequence[str]) -> None:
    """Hold what is installed against the files, and extras against ``pyproject.toml``."""
    match list(arguments):
        case ["-r", path]:
            assert (PACK / Path(path).name).is_file()
        case ["-e", project]:
            extras = re.fullmatch(r"\.(?:\[([\w,-]+)\])?", project)
            assert extras, project
            for extra in filter(None, (extras[1] or "").split(",")):
                assert re.search(rf"^{extra} = \[", (PACK / "pyproject.toml").read_text(), re.MULTILINE), extra
        case [package] if package in ("bitsandbytes", "pre-commit"):
            pass
        case _:
            raise AssertionError(f"nothing is known of pip install {' '.join(arguments)}")


def help_of(words: Sequence[str]) -> str:
    """What a command prints with ``--help``."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    return text.getvalue()
