"""Collects the numbers and pictures of a set's report from the accounts of its units."""

import base64
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from . import rows
from .checks import ACCEPTED, REASONS
from .duplicates import Duplicates
from .sample_ids import rows_in, sample_id
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
"""Bin edges of the histogram of each measure; values beyond are counted in the outermost bins."""

_ACCEPTED_THUMBS, _REJECTED_THUMBS = 48, 6  # pictures in the report; the latter for each reason
_MAX_LICENCES = 1000  # with a count of their own
_UNNAMED_LICENCE = "(none)"
_OTHERS = "(others)"


@dataclass
class Gathered:
    """The numbers and pictures of the report.

    Attributes:
        counts: reason -> how many pictures; under "" those that are kept.
        licences: licence -> how many kept pictures.
        captioned: how many kept pictures came with a caption.
        people: number of photos -> how many people have so many, of those that are known by name.
        measures: measure -> histograms ``(2, bins)`` of kept and of rejected pictures over ``EDGES``.
        near_cosines, same_person_cosines, other_cosines: see ``Duplicates``.
        thumbs: reason -> some of its pictures, as JPEG files in base64.
    """

    counts: dict[str, int] = field(default_factory=dict)
    licences: dict[str, int] = field(default_factory=dict)
    captioned: int = 0
    people: dict[int, int] = field(default_factory=dict)
    measures: dict[str, np.ndarray] = field(default_factory=dict)
    near_cosines: np.ndarray = field(default_factory=lambda: np.zeros(0))
    same_person_cosines: np.ndarray = field(default_factory=lambda: np.zeros(0))
    other_cosines: np.ndarray = field(default_factory=lambda: np.zeros(0))
    thumbs: dict[str, list[str]] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        """How many pictures are in the set."""
        return self.counts.get(ACCEPTED, 0)

    @property
    def pictures(self) -> int:
        """How many pictures were looked at."""
        return sum(self.counts.values())


_COLUMNS = ("reason", "row", "person", "licence", "captioned", "width", "height", "thumb", *rows.MEASURES)


def gather(work: Work, duplicates: Duplicates, withdrawn: Sequence[int]) -> Gathered:
    """Read the accounts of all units, one in memory at a time.

    Args:
        work: of the set, all units of which are finished.
        duplicates: the set's.
        withdrawn: sorted ids of the samples that were withdrawn.
    """
    withdrawn_ids = np.array(withdrawn, np.int64)
    dropped = duplicates.dropped
    is_equal = dict(zip(dropped.later.tolist(), dropped.equal.tolist(), strict=True))
    counts: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    people: Counter[str] = Counter()
    thumbs: dict[str, list[list[str]]] = {}
    measures = {name: np.zeros((2, len(edges) - 1), np.int64) for name, edges in EDGES.items()}
    captioned = 0
    for unit in range(work.units):
        account = rows.read(work.checked(unit, ".parquet"), _COLUMNS)
        finished = read_json(work.finished(unit))
        crashed, duplicate_thumbs = set(finished["crashed"]), finished["thumbs"]
        withdrawn_rows = set(rows_in(withdrawn_ids, unit).tolist())
        reasons, of_unit = [], dict[str, list[str]]()
        for place, (reason, row) in enumerate(zip(account["reason"], account["row"], strict=True)):
            if row in withdrawn_rows:
                reason = "withdrawn"
            elif row != rows.NO_ROW and sample_id(unit, row) in is_equal:
                reason = "duplicate" if is_equal[sample_id(unit, row)] else "near-duplicate"
            elif row in crashed:
                reason = "crashed"
            reasons.append(reason)
            if reason == ACCEPTED:
                licences[_licence_name(account["licence"][place], licences)] += 1
                captioned += account["captioned"][place]
                if account["person"][place] is not None:
                    people[account["person"][place]] += 1
            if str(row) in duplicate_thumbs and reason != "withdrawn":
                of_unit.setdefault(reason, []).append(duplicate_thumbs[str(row)])
            elif account["thumb"][place] and reason not in ("duplicate", "near-duplicate", "withdrawn"):
                of_unit.setdefault(reason, []).append(base64.b64encode(account["thumb"][place]).decode())
        counts.update(reasons)
        _count(measures, account, np.array([reason == ACCEPTED for reason in reasons], bool))
        for reason, pictures in of_unit.items():
            _add_thumbs(thumbs.setdefault(reason, []), pictures, _thumbs_of(reason))
    return Gathered(
        counts={reason: counts[reason] for reason in (ACCEPTED, *REASONS) if counts[reason]},
        licences=dict(sorted(licences.items(), key=lambda entry: (-entry[1], entry[0]))),
        captioned=captioned,
        people=dict(sorted(Counter(people.values()).items())),
        measures=measures,
        near_cosines=duplicates.near_cosines,
        same_person_cosines=duplicates.same_person_cosines,
        other_cosines=duplicates.other_cosines,
        thumbs={reason: _interleaved(of_units, _thumbs_of(reason)) for reason, of_units in thumbs.items()},
    )


def _thumbs_of(reason: str) -> int:
    """How many pictures of a reason the report shows."""
    return _ACCEPTED_THUMBS if reason == ACCEPTED else _REJECTED_THUMBS


def _licence_name(licence: str | None, counted: Collection[str]) -> str:
    """The name that a licence is counted by; beyond the first ``_MAX_LICENCES`` all are one."""
    name = licence or _UNNAMED_LICENCE
    return name if name in counted or len(counted) < _MAX_LICENCES else _OTHERS


def _count(measures: dict[str, np.ndarray], account: Mapping[str, list], accepted: np.ndarray) -> None:
    """Add a unit's pictures to the histograms, in place."""
    sides = np.minimum(np.array(account["width"]), np.array(account["height"])).astype(np.float64)
    sides[sides == 0] = np.nan
    for name, edges in EDGES.items():
        values = sides if name == "side" else np.array(account[name], np.float64)
        for place, mask in enumerate((accepted, ~accepted)):
            numbers = values[mask & np.isfinite(values)]
            measures[name][place] += np.histogram(np.clip(numbers, edges[0], edges[-1]), edges)[0]


def _add_thumbs(of_units: list[list[str]], thumbs: list[str], limit: int) -> None:
    """Add a unit's pictures; when there are twice as many units as shown, every other one is let go."""
    of_units.append(thumbs)
    if len(of_units) > 2 * limit:
        del of_units[1::2]


def _interleaved(of_units: Sequence[Sequence[str]], limit: int) -> list[str]:
    """The first picture of each unit, then the second ..., from units far apart."""
    if len(of_units) > limit:
        of_units = [of_units[place] for place in np.linspace(0, len(of_units) - 1, limit).astype(int)]
    longest = max(map(len, of_units))
    return [thumbs[turn] for turn in range(longest) for thumbs in of_units if turn < len(thumbs)][:limit]
