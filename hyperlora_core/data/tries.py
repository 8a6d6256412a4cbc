"""Passes over pictures that kill the process, as a broken decoder or too little memory can, after two deaths.

A worker notes which picture it works on. If that note is still there when the unit is started again in the same run, a
worker died there. A run that was killed as a whole starts without blame for the picture it was at. The note is one open
file that is overwritten in place: it outlives its process, and a shared disk need not create a file for each picture.
"""

import json
import os
import uuid
from contextlib import suppress
from pathlib import Path

from ..errors import HyperLoRAError

_MAX_DEATHS_PER_PLACE = 2
_MAX_DEATHS = 20  # in one unit: beyond that it is not its pictures
_PLACE_LENGTH = 32  # letters


class Tries:
    """The note on which picture of a unit a worker works on, and how often workers died there.

    Args:
        path: of the note.
        run_id: names the run.

    Attributes:
        again: whether a worker died in this unit before.

    Raises:
        HyperLoRAError: so many died in it that it cannot be the pictures.
    """

    def __init__(self, path: Path, run_id: str) -> None:
        self._path, self._run_id = path, run_id
        self._part = path.with_name(
            f".{path.name}.{uuid.uuid4().hex[:8]}.part"
        )  # a killed run may still be writing its own
        self._deaths: dict[str, int] = {}
        self._file = -1
        with suppress(OSError, ValueError, KeyError, TypeError):
            before = json.loads(path.read_text(encoding="utf-8"))
            if before["run"] == run_id:
                self._deaths = before["deaths"]
                at = str(before["at"])
                self._deaths[at] = self._deaths.get(at, 0) + 1
        self.again = bool(self._deaths)
        if sum(self._deaths.values()) > _MAX_DEATHS:
            raise HyperLoRAError(
                f"workers ended {_MAX_DEATHS} times in one unit ({path.stem}): most often there is too little memory "
                "for as many of them; run the same command with fewer --workers"
            )

    def is_over(self, place: int | str) -> bool:
        """Whether two workers died at a place."""
        return self._deaths.get(str(place), 0) >= _MAX_DEATHS_PER_PLACE

    def at(self, place: int | str) -> None:
        """Note the place that the worker comes to next."""
        note = json.dumps({"run": self._run_id, "deaths": self._deaths, "at": str(place)})
        line = note.ljust(
            len(note) - len(str(place)) + _PLACE_LENGTH
        ).encode()  # padded to the length of the one before
        if self._file < 0:
            self._part.write_bytes(line)
            self._part.replace(self._path)
            self._file = os.open(self._path, os.O_WRONLY)
        else:
            os.pwrite(self._file, line, 0)

    def close(self) -> None:
        """Remove the note, for the unit is finished."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._path.unlink(missing_ok=True)
