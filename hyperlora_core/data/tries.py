"""Pictures that end the process, as a broken decoder can or too little memory, are met twice, then passed over.

A worker notes what it is at. Where the note is still there when the unit is begun again in the same run, a worker ended
there. A run that was killed as a whole begins anew: what it was at is not to blame. The note is one open file, which is
written in place: that outlives its process, and asks no shared disk for a new file for each picture.
"""

import json
import os
import uuid
from contextlib import suppress
from pathlib import Path

from ..errors import HyperLoRAError

_TWICE = 2
_MOST = 20  # deaths in one unit: then it is not its pictures
_LONGEST_PLACE = 32  # letters


class Tries:
    """What a worker is at in a unit.

    Args:
        path: of the note.
        run: names the run.

    Attributes:
        again: whether a worker ended in this unit before.

    Raises:
        HyperLoRAError: so many did that it cannot be the pictures.
    """

    def __init__(self, path: Path, run: str) -> None:
        self._path, self._run = path, run
        self._part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")  # one of a killed run may be at it yet
        self._deaths: dict[str, int] = {}
        self._file = -1
        with suppress(OSError, ValueError, KeyError, TypeError):
            before = json.loads(path.read_text(encoding="utf-8"))
            if before["run"] == run:
                self._deaths = before["deaths"]
                at = str(before["at"])
                self._deaths[at] = self._deaths.get(at, 0) + 1
        self.again = bool(self._deaths)
        if sum(self._deaths.values()) > _MOST:
            raise HyperLoRAError(
                f"workers ended {_MOST} times in one unit ({path.stem}): most often there is too little memory for as "
                "many of them; run the same command with fewer --workers"
            )

    def is_over(self, place: int | str) -> bool:
        """Whether a place ended a worker twice."""
        return self._deaths.get(str(place), 0) >= _TWICE

    def at(self, place: int | str) -> None:
        """Note that a place is next."""
        note = json.dumps({"run": self._run, "deaths": self._deaths, "at": str(place)})
        line = note.ljust(len(note) - len(str(place)) + _LONGEST_PLACE).encode()  # as long as the last
        if self._file < 0:
            self._part.write_bytes(line)
            self._part.replace(self._path)
            self._file = os.open(self._path, os.O_WRONLY)
        else:
            os.pwrite(self._file, line, 0)

    def done(self) -> None:
        """The unit is done."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._path.unlink(missing_ok=True)
