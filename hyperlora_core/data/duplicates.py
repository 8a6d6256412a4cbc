"""Which samples of a set are dropped because an earlier one shows the same picture.

Different photos of one person stay, for their hashes differ. Of a picture the first sample stays, in the order of the
sources. Samples with equal hashes are settled before those with near ones, so a picture that is there a million times
costs a million comparisons, not a million squared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..files import atomic
from . import rows
from .engine import Engine
from .near_pairs import COSINE_EDGES, FindPairs, Near, Pairs, Search, masks, searches
from .sample_ids import rows_in
from .work import Work

_UNITS_COMPARED = 50
_SAMPLES_COMPARED = 2000  # of all these units


@dataclass(frozen=True, eq=False)
class Duplicates:
    """The duplicates of a set.

    Attributes:
        dropped: each sample that is dropped (``later``, sorted) with the one that stays (``earlier``).
        left, right: ``(P,)`` int64, ids of all pairs that show the same; what is withdrawn follows them.
        near_cosines: histogram over ``COSINE_EDGES`` of the face embeddings of pictures with near hashes.
        same_person_cosines: the same of photos of one person, from a part of the set.
        other_cosines: the same of photos of two people, or of people whom nothing names.
    """

    dropped: Pairs
    left: np.ndarray
    right: np.ndarray
    near_cosines: np.ndarray
    same_person_cosines: np.ndarray
    other_cosines: np.ndarray

    def write(self, path: Path) -> None:
        """Write them as ``.npz``."""
        with atomic.writing(path) as part, part.open("wb") as file:
            np.savez(
                file,
                later=self.dropped.later,
                earlier=self.dropped.earlier,
                cosine=self.dropped.cosine,
                equal=self.dropped.equal,
                one=self.left,
                other_one=self.right,
                similarities=self.near_cosines,
                same=self.same_person_cosines,
                other=self.other_cosines,
            )

    @classmethod
    def read(cls, path: Path) -> "Duplicates":
        """Read what ``write`` wrote."""
        with np.load(path) as stored:
            return cls(
                dropped=Pairs(stored["later"], stored["earlier"], stored["cosine"], stored["equal"]),
                left=stored["one"],
                right=stored["other_one"],
                near_cosines=stored["similarities"],
                same_person_cosines=stored["same"],
                other_cosines=stored["other"],
            )


def find_duplicates(work: Work, near: Near, engine: Engine) -> Duplicates:
    """Find the duplicates of a set, all units of which were looked at; or read them where they were found before.

    Args:
        work: of the set.
        near: when two pictures count as the same.
        engine: what compares them.
    """
    if work.duplicates.exists():
        return Duplicates.read(work.duplicates)
    samples = sum(len(rows.hashes(work.checked(unit, ".parquet"))["phash"]) for unit in range(work.units))
    out = str(work.out.resolve())
    equal, equal_cosines = _search(partial(FindPairs, out, near), searches(samples, 1), engine)
    dropped_as_equal = settle(equal)
    settled = work.folder / "settled.npy"
    with atomic.writing(settled) as part, part.open("wb") as file:
        np.save(file, dropped_as_equal.later)
    find_near = partial(FindPairs, out, near, str(settled.resolve()))
    near_pairs, near_cosines = _search(find_near, searches(samples, len(masks(near.bits))), engine)
    dropped = with_roots(dropped_as_equal, settle(near_pairs))
    pairs = Pairs.concatenate([equal, near_pairs])
    same_person, other = _cosines_of_people(work, dropped.later)
    Duplicates(dropped, pairs.later, pairs.earlier, equal_cosines + near_cosines, same_person, other).write(
        work.duplicates
    )
    settled.unlink()
    return Duplicates.read(work.duplicates)


def settle(pairs: Pairs) -> Pairs:
    """Decide which samples are dropped: each that shows the same as an earlier one that stays.

    Args:
        pairs: of samples that show the same, in any order.

    Returns:
        For each dropped sample, its pair with the first that stays and shows the same; sorted.
    """
    order = np.lexsort((pairs.earlier, pairs.later))
    dropped: dict[int, int] = {}
    for place in order:
        later, earlier = int(pairs.later[place]), int(pairs.earlier[place])
        if later not in dropped and earlier not in dropped:
            dropped[later] = int(place)
    return pairs[np.array(list(dropped.values()), dtype=np.int64)]


def with_roots(equal: Pairs, near: Pairs) -> Pairs:
    """Put the samples dropped for equal and for near hashes together, sorted.

    Where a sample was equal to one that is itself dropped, its pair names the one that stays.
    """
    stays = dict(zip(near.later.tolist(), near.earlier.tolist(), strict=True))
    pairs = Pairs.concatenate([equal, near])
    roots = np.array([stays.get(earlier, earlier) for earlier in pairs.earlier.tolist()], np.int64)
    return Pairs(pairs.later, roots, pairs.cosine, pairs.equal)[np.argsort(pairs.later)]


def _search(finder: "partial[FindPairs]", tasks: Sequence[Search], engine: Engine) -> tuple[Pairs, np.ndarray]:
    """All pairs of several searches, and the sum of their histograms."""
    # one search alone is done here: starting a worker takes longer
    results = list(engine.each(finder, tasks) if len(tasks) > 1 else map(finder(), tasks))
    cosines = sum((result.cosines for result in results), np.zeros(len(COSINE_EDGES) - 1, np.int64))
    return Pairs.concatenate([result.pairs for result in results]), cosines


def _cosines_of_people(work: Work, dropped: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Histograms of the cosines of one person's photos and of other photos, from a part of the set.

    Args:
        work: of the set.
        dropped: sorted ids of samples that are left out.
    """
    people: list[str] = []
    embeds: list[np.ndarray] = []
    units = np.unique(np.linspace(0, work.units - 1, min(work.units, _UNITS_COMPARED)).astype(int)).tolist()
    for unit in units:
        account = rows.read(work.checked(unit, ".parquet"), ["row", "person"])
        left_out = {rows.NO_ROW, *rows_in(dropped, unit).tolist()}
        samples = [(row, person) for row, person in zip(*account.values(), strict=True) if row not in left_out]
        samples = samples[: max(1, _SAMPLES_COMPARED // len(units))]
        people += [f"unknown {unit} {row}" if person is None else f"={person}" for row, person in samples]
        embeds += list(np.load(work.checked(unit, ".npy"))[[row for row, _ in samples]]) if samples else []
    if not people:
        return np.zeros(len(COSINE_EDGES) - 1, np.int64), np.zeros(len(COSINE_EDGES) - 1, np.int64)
    left, right = np.triu_indices(len(people), 1)
    cosines = np.clip((np.stack(embeds) @ np.stack(embeds).T)[left, right], -1, 1)
    same_person = np.array(people)[left] == np.array(people)[right]
    return np.histogram(cosines[same_person], COSINE_EDGES)[0], np.histogram(cosines[~same_person], COSINE_EDGES)[0]
