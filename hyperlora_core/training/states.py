"""The states of a run on disk: each appears whole or not at all, and the newest is where the run goes on."""

import json
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object
from filelock import FileLock, Timeout
from safetensors import SafetensorError

from ..errors import HyperLoRAError
from ..files import atomic
from .config import RunConfig

CONFIG = "config.json"
INPUT_HASHES = "begun.json"
"""The file of the hashes of a run's inputs, by the flags that name them."""

KEPT = 2

# A run stays the same run when these change: they say how it is computed or watched, not what.
_FREE = frozenset(
    {
        "batch",
        "caption_cache",
        "compile",
        "gradient_checkpointing",
        "latent_cache",
        "photo_cache",
        "sample_every",
        "save_every",
        "workers",
    }
)

log = logging.getLogger(__name__)


def compare(folder: Path, config: RunConfig, input_hashes: Mapping[str, str]) -> None:
    """Refuse a folder that is not this run's; one whose run has no state yet may become another's.

    Args:
        folder: of the run.
        config: of the run.
        input_hashes: flag that names an input of the run -> hash of that input's content.

    Raises:
        HyperLoRAError: the folder holds another run, or something else.
    """
    path = folder / CONFIG
    if not path.exists() and folder.exists() and (not folder.is_dir() or any(map(_is_foreign, folder.iterdir()))):
        raise HyperLoRAError(
            f"{folder} holds something else than a run of training: give an empty folder, or one that is not there"
        )
    old_config = config.load(path) if path.exists() else None  # another program's file of that name is refused
    if old_config is None or not states(folder):
        return
    old_settings, settings = dict(_flat(asdict(old_config))), dict(_flat(asdict(config)))
    for name in settings:
        if name not in _FREE and old_settings[name] != settings[name]:
            raise HyperLoRAError(
                f"{folder} is the folder of a run whose {name} is {old_settings[name]!r}, not {settings[name]!r}: give "
                "another folder, or the same settings to go on with that run"
            )
    path = folder / INPUT_HASHES
    try:
        old_hashes = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise HyperLoRAError(f"{path} cannot be read ({error}): give another folder, or delete this one") from error
    for flag in sorted({*old_hashes, *input_hashes}):
        if old_hashes.get(flag) != input_hashes.get(flag):
            raise HyperLoRAError(
                f"{folder} holds a training that was stopped, which began with another {flag}, or with what it held "
                "then: give the same to go on with it, another --out to begin beside it, or delete the folder"
            )


def claim(folder: Path, config: RunConfig, input_hashes: Mapping[str, str]) -> FileLock:
    """Make a folder a run's: its configuration is written into it, and what it begins with.

    Args:
        folder: new, empty, or of a run that was told the same.
        config: of the run.
        input_hashes: as ``compare`` takes it.

    Returns:
        What holds the folder, until it is released or the process ends.

    Raises:
        HyperLoRAError: it is the folder of another run, or of something else, or another process is at work in it, or
            it cannot be written.
    """
    compare(folder, config, input_hashes)  # before anything is written into what may be another's
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        compare(folder, config, input_hashes)
        atomic.write_text(folder / CONFIG, config.to_json())
        atomic.write_text(folder / INPUT_HASHES, json.dumps(dict(input_hashes), indent=1) + "\n")
    except Timeout as error:
        raise HyperLoRAError(f"another training is at work in {folder}: wait for its end, or stop it") from error
    except OSError as error:
        raise HyperLoRAError(f"{folder} cannot be written: {error.strerror or error}") from error
    return lock


def _is_foreign(path: Path) -> bool:
    return not path.name.startswith(".")  # a lock, and what was being written when a run was killed


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by the names of their flags, such as optimization.learning_rate."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value


def states(folder: Path) -> list[Path]:
    """The states of a run, the oldest first."""
    paths = [path for path in folder.glob("state-*") if re.fullmatch(r"state-\d+", path.name)]
    return sorted(paths, key=lambda path: int(path.name.removeprefix("state-")))


def save(accelerator: Accelerator, folder: Path, step: int) -> None:
    """Save the state after a step, called on every process; older ones go but the last ``KEPT``.

    Raises:
        HyperLoRAError: it cannot be written; those before it are untouched.
    """
    partial, state = folder / f".state-{step}.part", folder / f"state-{step}"
    if accelerator.is_main_process:
        shutil.rmtree(partial, ignore_errors=True)
    accelerator.wait_for_everyone()
    try:
        accelerator.save_state(str(partial))
    except (OSError, RuntimeError, SafetensorError) as error:  # torch's and safetensors' own of a full disk
        raise HyperLoRAError(
            f"the state of step {step} cannot be written into {folder} ({error}): make room; the same command goes on "
            "from the state before it"
        ) from error
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(state, ignore_errors=True)
        partial.rename(state)
        for old in states(folder)[:-KEPT]:
            shutil.rmtree(old)
        log.info("Saved %s", state)
    accelerator.wait_for_everyone()


def resume(accelerator: Accelerator, folder: Path) -> Path | None:
    """Load the newest state of a run into what the accelerator prepared; None where there is none.

    Raises:
        HyperLoRAError: it cannot be loaded, or not every process sees it.
    """
    paths = states(folder)
    if len({*gather_object([paths[-1].name if paths else ""])}) > 1:
        raise HyperLoRAError(
            f"the machines do not see the same states in {folder}: --out has to be on a file system that all share"
        )
    if not paths:
        return None
    try:
        accelerator.load_state(str(paths[-1]))
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise HyperLoRAError(
            f"{paths[-1]} cannot be loaded ({error}): delete it to go on from the state before it"
        ) from error
    return paths[-1]
