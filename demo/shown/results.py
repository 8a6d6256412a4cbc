"""What was measured, kept beside the weights that it was measured of."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from demo.trained.folders import SUMS, WEIGHTS
from hyperlora_core.files import atomic

from .rows import Row

NUMBERS, TABLE = WEIGHTS / "results.json", WEIGHTS / "RESULTS.md"


@dataclass(frozen=True)
class Measured:
    """One study's rows.

    Attributes:
        seconds: that it took.
        rows: of the table.
    """

    seconds: float
    rows: Sequence[Row]


@dataclass(frozen=True)
class Results:
    """Of all studies that were made.

    Attributes:
        same, other: likeness of two photos of one person, and of two people: the ends of its scale.
        studies: by name.
    """

    same: float
    other: float
    studies: Mapping[str, Measured] = field(default_factory=dict)

    def write(self) -> None:
        """Keep them as those of the weights that are there."""
        atomic.write_text(NUMBERS, json.dumps({"weights": _weights(), **asdict(self)}, indent=1) + "\n")


def read() -> Results | None:
    """What was measured of the weights that are there; None where nothing was."""
    stored = json.loads(NUMBERS.read_text()) if NUMBERS.exists() else {}
    if stored.pop("weights", "") != _weights():
        return None
    studies = {
        name: Measured(study["seconds"], [Row(**row) for row in study["rows"]])
        for name, study in stored["studies"].items()
    }
    return Results(stored["same"], stored["other"], studies)


def _weights() -> str:
    return hashlib.sha256(SUMS.read_bytes()).hexdigest()
