"""The folder of a training set while it is made; what is finished lies there, so the same command resumes after a kill.

<out>/prepare/settings.json          what it is made with
              units/000000.json      each piece of work; plan.json, once all are there
              checked/000000.*       of each unit: accepted samples (.tar) and their embeddings (.npy), until they are
                                     finished; what became of each picture (.parquet), written last
              duplicates.npz         which samples show what another shows
              withdrawn.json         samples that are not to be used
              finished/000000.json   of each unit whose shard is written
              tries/                 what workers are at
"""

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import HyperLoRAError
from ..files import atomic
from .sources import Unit

SHARD = "shard-{:06d}"

log = logging.getLogger(__name__)


class Work:
    """The files of a set that is being made.

    Args:
        out: the set's folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out / "prepare"
        self.plan = self.folder / "units" / "plan.json"
        self.duplicates = self.folder / "duplicates.npz"
        self.withdrawn = self.folder / "withdrawn.json"
        self._settings = self.folder / "settings.json"

    def unit(self, number: int) -> Path:
        """The file that lists a unit's pictures."""
        return self.folder / "units" / f"{number:06d}.json"

    def checked(self, number: int, suffix: str) -> Path:
        """A file with the result of checking a unit: ``.tar``, ``.npy`` or ``.parquet``."""
        return self.folder / "checked" / f"{number:06d}{suffix}"

    def finished(self, number: int) -> Path:
        """The note that a unit's shard is written."""
        return self.folder / "finished" / f"{number:06d}.json"

    def tries(self, step: str, number: int) -> Path:
        """The note on which picture of a unit a worker is at, see ``Tries``."""
        return self.folder / "tries" / f"{step}-{number:06d}.json"

    def shard(self, number: int) -> Path:
        """The shard of a unit; it does not exist where no sample of the unit is used."""
        return self.out / f"{SHARD.format(number)}.tar"

    def checked_units(self) -> set[int]:
        """Numbers of the units that were looked at."""
        return _numbers(self.folder / "checked", ".parquet")

    def finished_units(self) -> set[int]:
        """Numbers of the units whose shards are written."""
        return _numbers(self.folder / "finished", ".json")

    @property
    def units(self) -> int:
        """How many units there are.

        Raises:
            HyperLoRAError: the plan is broken.
        """
        return int(read_json(self.plan)["units"])

    def read_unit(self, number: int) -> Unit:
        """Read a unit.

        Raises:
            HyperLoRAError: its file is gone or broken.
        """
        try:
            return Unit.from_json(self.unit(number).read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _spoiled(self.unit(number), error) from error

    @contextmanager
    def opened(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """Lock the folder, and refuse other settings than those it was started with.

        Raises:
            HyperLoRAError: the folder cannot be written, or holds something else, or another process works in it.
        """
        from filelock import FileLock, Timeout

        if self.out.is_dir() and not self.folder.is_dir() and any(self.out.iterdir()):
            raise HyperLoRAError(f"{self.out} holds something else: give an empty folder, or one that is not there")
        try:
            for name in ("units", "checked", "finished", "tries"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / "lock", timeout=0)
            lock.acquire()
        except Timeout as error:
            raise HyperLoRAError(f"another hyperlora prepare is at work in {self.out}: wait for its end") from error
        except OSError as error:
            raise HyperLoRAError(f"{self.out} cannot be written: {error.strerror or error}") from error
        try:
            self._compare(dict(settings))
            for part in (*self.out.glob(f".{atomic.PARTS}"), *self.folder.rglob(f".{atomic.PARTS}")):
                part.unlink(missing_ok=True)
            yield
        finally:
            lock.release()

    def remove_shard(self, unit: int) -> None:
        """Remove the shard of a unit that has no sample left."""
        self.shard(unit).with_suffix(".json").unlink(missing_ok=True)
        self.shard(unit).unlink(missing_ok=True)

    def remove_checked(self, unit: int) -> None:
        """Remove the accepted samples of a unit whose shard is written; its account stays."""
        for suffix in (".tar", ".json", ".npy"):
            self.checked(unit, suffix).unlink(missing_ok=True)

    def _compare(self, settings: dict[str, Any]) -> None:
        settings = json.loads(json.dumps(settings))
        if not self._settings.exists():
            atomic.write_text(self._settings, json.dumps(settings, indent=1) + "\n")
            return
        before = read_json(self._settings)
        for name in sorted({*settings, *before}):
            if settings.get(name) != before.get(name):
                raise HyperLoRAError(
                    f"{self.out} was begun with {name} {json.dumps(before.get(name))}, and "
                    f"{json.dumps(settings.get(name))} is given: give the first, or another folder"
                )


def _numbers(folder: Path, suffix: str) -> set[int]:
    """Numbers of the files in a folder, by listing it: a shared disk may cache for a minute that a file is absent."""
    with os.scandir(folder) as entries:
        return {int(entry.name.removesuffix(suffix)) for entry in entries if re.fullmatch(rf"\d+{suffix}", entry.name)}


def read_json(path: Path) -> Any:
    """Read a JSON file of this folder.

    Raises:
        HyperLoRAError: it is gone or broken, though files here are written whole.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _spoiled(path, error) from error


def _spoiled(path: Path, error: Exception) -> HyperLoRAError:
    return HyperLoRAError(
        f"{path} cannot be read ({error}): somebody changed it. Remove the whole folder, and prepare the set again"
    )
