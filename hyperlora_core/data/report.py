"""What a preparation came to, gathered out of the accounts of its units, for the report."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from . import rows
from .checks import ACCEPTED, REASONS
from .duplicates import Pairs, rows_in, sample_id
from .work import Work, read_json

EDGES: Mapping[str, np.ndarray] = {
    "face": np.linspace(0, 1024, 33),
    "share": np.linspace(0, 1, 41),
    "score": np.linspace(0.5, 1, 26),
    "yaw": np.linspace(-90, 90, 37),
    "pitch": np.linspace(-90, 90, 37),
    "roll": np.linspace(-90, 90, 37),
    "sharpness": np.linspace(0, 1.6, 33),
    "side": np.linspace(0, 4096, 33),
}
"""Of the counts of each measure; what lies beyond is counted at the end."""

_KEPT_SHOWN, _REJECTED_SHOWN = 48, 6  # pictures; of each reason
_LICENCES = 1000  # that are told apart
_UNNAMED_LICENCE = "(none)"
_OTHERS = "(others)"


@dataclass
class Gathered:
    """All that the report says.

    Attributes:
        counts: reason -> pictures; under "" those that are kept.
        licences: of kept pictures, licence -> how many.
        captioned: kept pictures that came with a caption.
        people: photos -> how many people have so many, of those that are known by name.
        measures: measure -> counts ``(2, bins)``, of kept and of rejected pictures, see ``EDGES``.
        similarities, same, other: counts of cosines of embeddings: of pictures with near hashes, of one person's
            photos, of others' or nobody knows whose.
        shown: reason -> pictures of it, as JPEG files in base64.
    """

    counts: dict[str, int] = field(default_factory=dict)
    licences: dict[str, int] = field(default_factory=dict)
    captioned: int = 0
    people: dict[int, int] = field(default_factory=dict)
    measures: dict[str, np.ndarray] = field(default_factory=dict)
    similarities: np.ndarray = field(default_factory=lambda: np.zeros(0))
    same: np.ndarray = field(default_factory=lambda: np.zeros(0))
    other: np.ndarray = field(default_factory=lambda: np.zeros(0))
    shown: dict[str, list[str]] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        """How many pictures are in the set."""
        return self.counts.get(ACCEPTED, 0)

    @property
    def pictures(self) -> int:
        """How many pictures were looked at."""
        return sum(self.counts.values())


_COLUMNS = ("reason", "row", "person", "licence", "captioned", "width", "height", "thumb", *rows.MEASURES)


def gather(work: Work, duplicates: Pairs, withdrawn: Sequence[int]) -> Gathered:
    """Read the accounts of all units, one in memory at a time.

    Args:
        work: of the set, all units of which are finished.
        duplicates: ``later`` and ``equal`` of samples that went, and the counts of cosines.
        withdrawn: ids, sorted.
    """
    gone = np.array(withdrawn, np.int64)
    why = dict(zip(duplicates["later"].tolist(), duplicates["equal"].tolist(), strict=True))
    counts: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    people: Counter[str] = Counter()
    thumbs: dict[str, list[list[str]]] = {}
    measures = {name: np.zeros((2, len(edges) - 1), np.int64) for name, edges in EDGES.items()}
    captioned = 0
    for unit in range(work.units):
        account = rows.read(work.checked(unit, ".parquet"), _COLUMNS)
        finished = read_json(work.finished(unit))
        crashed, of_duplicates = set(finished["crashed"]), finished["thumbs"]
        gone_here = set(rows_in(gone, unit).tolist())
        reasons, of_unit = [], dict[str, list[str]]()
        for place, (reason, row) in enumerate(zip(account["reason"], account["row"], strict=True)):
            if row in gone_here:
                reason = "withdrawn"
            elif row != rows.NO_ROW and sample_id(unit, row) in why:
                reason = "duplicate" if why[sample_id(unit, row)] else "near-duplicate"
            elif row in crashed:
                reason = "crashed"
            reasons.append(reason)
            if reason == ACCEPTED:
                licences[_named(account["licence"][place], licences)] += 1
                captioned += account["captioned"][place]
                if account["person"][place] is not None:
                    people[account["person"][place]] += 1
            if str(row) in of_duplicates and reason != "withdrawn":
                of_unit.setdefault(reason, []).append(of_duplicates[str(row)])
            elif account["thumb"][place] and reason not in ("duplicate", "near-duplicate", "withdrawn"):
                of_unit.setdefault(reason, []).append(base64.b64encode(account["thumb"][place]).decode())
        counts.update(reasons)
        _count(measures, account, np.array([reason == ACCEPTED for reason in reasons], bool))
        for reason, some in of_unit.items():
            _add_thumbs(thumbs.setdefault(reason, []), some, _KEPT_SHOWN if reason == ACCEPTED else _REJECTED_SHOWN)
    limits = {reason: _KEPT_SHOWN if reason == ACCEPTED else _REJECTED_SHOWN for reason in thumbs}
    return Gathered(
        counts={reason: counts[reason] for reason in (ACCEPTED, *REASONS) if counts[reason]},
        licences=dict(sorted(licences.items(), key=lambda entry: (-entry[1], entry[0]))),
        captioned=captioned,
        people=dict(sorted(Counter(people.values()).items())),
        measures=measures,
        similarities=duplicates["similarities"],
        same=duplicates["same"],
        other=duplicates["other"],
        shown={reason: _in_turn(some, limits[reason]) for reason, some in thumbs.items()},
    )


def _named(licence: str | None, known: Mapping[str, int]) -> str:
    name = licence or _UNNAMED_LICENCE
    return name if name in known or len(known) < _LICENCES else _OTHERS


def _count(measures: dict[str, np.ndarray], account: Mapping[str, list], kept: np.ndarray) -> None:
    sides = np.minimum(np.array(account["width"]), np.array(account["height"])).astype(np.float64)
    sides[sides == 0] = np.nan
    for name, edges in EDGES.items():
        values = sides if name == "side" else np.array(account[name], np.float64)
        for place, chosen in enumerate((kept, ~kept)):
            numbers = values[chosen & np.isfinite(values)]
            measures[name][place] += np.histogram(np.clip(numbers, edges[0], edges[-1]), edges)[0]


def _add_thumbs(of_units: list[list[str]], some: list[str], limit: int) -> None:
    """Keep those of so many units alone: every other one goes when there are twice too many."""
    of_units.append(some)
    if len(of_units) > 2 * limit:
        del of_units[1::2]


def _in_turn(of_units: Sequence[Sequence[str]], limit: int) -> list[str]:
    """The first of each unit, then the second ..., from units far apart."""
    if len(of_units) > limit:
        of_units = [of_units[place] for place in np.linspace(0, len(of_units) - 1, limit).astype(int)]
    longest = max(map(len, of_units))
    return [some[turn] for turn in range(longest) for some in of_units if turn < len(some)][:limit]
