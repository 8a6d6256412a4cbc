"""Pictures that end the process, as a broken decoder can or too little memory, are met twice, then passed over.

A worker notes what it is at. Where the note is still there when the unit is begun again in the same run, a worker ended
there. A run that was killed as a whole begins anew: what it was at is not to blame.
"""

import json
import uuid
from contextlib import suppress
from pathlib import Path

_TWICE = 2


class Tries:
    """What a worker is at in a unit.

    Args:
        path: of the note.
        run: names the run.

    Attributes:
        again: whether a worker ended in this unit before.
    """

    def __init__(self, path: Path, run: str) -> None:
        self._path, self._run = path, run
        self._part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")  # one of a killed run may be at it yet
        self._deaths: dict[str, int] = {}
        with suppress(OSError, ValueError, KeyError, TypeError):
            before = json.loads(path.read_text(encoding="utf-8"))
            if before["run"] == run:
                self._deaths = before["deaths"]
                at = str(before["at"])
                self._deaths[at] = self._deaths.get(at, 0) + 1
        self.again = bool(self._deaths)

    def is_over(self, place: int | str) -> bool:
        """Whether a place ended a worker twice."""
        return self._deaths.get(str(place), 0) >= _TWICE

    def at(self, place: int | str) -> None:
        """Note that a place is next."""
        note = json.dumps({"run": self._run, "at": place, "deaths": self._deaths})
        self._part.write_text(note, encoding="utf-8")
        self._part.replace(self._path)

    def done(self) -> None:
        """The unit is done."""
        self._path.unlink(missing_ok=True)
