"""Pictures that show what another shows: equal pixels, or nearly equal perceptual hashes and faces.

Different photos of one person stay, for their hashes differ. Of a picture the first is kept, in the sources' order.

No two samples are compared that nothing suggests. Of hashes that differ in at most ``bits`` of 64, some bands are equal
(pigeonhole); for each choice of bands samples are sorted by them, and neighbours compared. A task does that for one
choice and one part of the samples, so it holds some millions of hashes, whatever the set's size. Of each pair that is
near by its hash, both embeddings are read, and compared.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import HyperLoRAError
from . import rows
from .pictures import PHASH_BITS
from .work import Work

MOST_BITS = 8
SIMILARITIES = np.linspace(-1, 1, 41)
"""Edges of the counts of cosines."""

_ROWS_A_TASK = 8_000_000
_BITS_A_KEY = 20  # at least: a million buckets
_OPEN_FILES = 256
_PAIRS_AT_A_TIME = 4096
_ALL_BITS = (1 << PHASH_BITS) - 1
_ONES = np.array([number.bit_count() for number in range(1 << 16)], np.uint8)

Pairs = dict[str, np.ndarray]
"""``later`` and ``earlier``, int64 ids of samples; ``cosine`` float32; ``equal`` bool, whether all pixels are."""


@dataclass(frozen=True)
class Near:
    """When two pictures show the same.

    Attributes:
        bits: of 64 in which their perceptual hashes differ at most.
        cosine: of their face embeddings, at least.
    """

    bits: int = 6
    cosine: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.bits <= MOST_BITS:
            raise HyperLoRAError(f"{self.bits} bits of the hash may differ; 0 to {MOST_BITS} was expected")
        if not -1 <= self.cosine <= 1:
            raise HyperLoRAError(f"the cosine of duplicates is {self.cosine}; a number from -1 to 1 was expected")


def sample_id(unit: int, row: int) -> int:
    """One number for a sample; ids are in the sources' order."""
    return unit << 32 | row


def unit_of(ids: np.ndarray) -> np.ndarray:
    """The units of samples."""
    return ids >> 32


def row_of(ids: np.ndarray) -> np.ndarray:
    """The numbers of samples in their units."""
    return ids & 0xFFFFFFFF


def rows_in(ids: np.ndarray, unit: int) -> np.ndarray:
    """The numbers of those samples that are of one unit, out of sorted ids."""
    first, end = np.searchsorted(ids, [sample_id(unit, 0), sample_id(unit + 1, 0)])
    return row_of(ids[first:end])


def masks(bits: int) -> list[int]:
    """Choices of bits of the hash: two hashes that differ in at most ``bits`` agree in one of them at least."""
    if not bits:
        return []
    choices = []
    for bands in range(bits + 1, PHASH_BITS):
        chosen = bands - bits
        if chosen * (PHASH_BITS // bands) >= _BITS_A_KEY:
            choices.append((math.comb(bands, chosen), bands, chosen))
    _, bands, chosen = min(choices)
    edges = np.linspace(0, PHASH_BITS, bands + 1).astype(int)
    parts = [sum(1 << bit for bit in range(low, high)) for low, high in pairwise(edges)]
    return [sum(some) for some in combinations(parts, chosen)]


def tasks(samples: int, choices: int) -> list[dict[str, int]]:
    """What is to be done: choices of bits, for each part of the samples; of a small set, many choices at once."""
    parts = max(1, math.ceil(samples / _ROWS_A_TASK))
    step = max(1, min(choices, _ROWS_A_TASK // max(samples, 1)))
    return [
        {"first": first, "end": min(first + step, choices), "part": part, "parts": parts}
        for first in range(0, choices, step)
        for part in range(parts)
    ]


class FindPairs:
    """Finds pairs of samples that show the same.

    Args:
        out: the set's folder.
        near: when they do.
        settled: a file of ids, sorted, of samples that are known to be duplicates; None while equal hashes are looked
            for.
    """

    def __init__(self, out: str, near: Near, settled: str | None = None) -> None:
        self._work, self._near, self._masks = Work(Path(out)), near, masks(near.bits)
        self._settled = np.load(settled) if settled else None
        self._embeds = _Embeds(self._work)
        self._whole: Pairs | None = None

    def __call__(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Do a task of ``tasks``.

        Returns:
            ``Pairs``, and ``similarities``: how many pairs of near hashes have which cosine.
        """
        found: list[Pairs] = []
        for choice in range(int(task["first"]), int(task["end"])):
            equal_hashes = self._settled is None
            mask = np.uint64(_ALL_BITS if equal_hashes else self._masks[choice])
            loaded = self._samples(mask, int(task["part"]), int(task["parts"]))
            found += self._of_equal_hashes(loaded) if equal_hashes else self._of_near_hashes(loaded, choice)
        pairs = joined(found)
        counted, _ = np.histogram(np.clip(pairs["cosine"], -1, 1), SIMILARITIES)
        same = self._same(pairs)
        return {name: values[same] for name, values in pairs.items()} | {"similarities": counted}

    def _samples(self, mask: np.uint64, part: int, parts: int) -> Pairs:
        """Ids, hashes and keys of the samples of a part, by their keys, and in order where keys are equal."""
        if parts == 1:
            if self._whole is None:
                self._whole = self._load(mask, 0, 1)
            loaded = self._whole
        else:
            loaded = self._load(mask, part, parts)
        key = loaded["phash"] & mask
        order = np.argsort(key, kind="stable")
        return {"key": key[order]} | {name: values[order] for name, values in loaded.items()}

    def _load(self, mask: np.uint64, part: int, parts: int) -> Pairs:
        gathered: dict[str, list[np.ndarray]] = {name: [] for name in ("id", "phash", "high", "low")}
        for unit in range(self._work.units):
            hashes = rows.hashes(self._work.checked(unit, ".parquet"))
            ids = sample_id(unit, 0) + np.arange(len(hashes["phash"]), dtype=np.int64)
            chosen = _part_of(hashes["phash"] & mask, parts) == part
            if self._settled is not None and len(self._settled):
                places = np.searchsorted(self._settled, ids).clip(max=len(self._settled) - 1)
                chosen &= self._settled[places] != ids
            found = (ids, hashes["phash"], hashes["pixels_high"], hashes["pixels_low"])
            for name, values in zip(gathered, found, strict=True):
                gathered[name].append(values[chosen])
        return {name: np.concatenate(values) for name, values in gathered.items()}

    def _same(self, pairs: Pairs) -> np.ndarray:
        return (pairs["cosine"] >= self._near.cosine) | pairs["equal"]

    def _of_equal_hashes(self, loaded: Pairs) -> Iterator[Pairs]:
        """Each sample with the first of its hash that it equals; so there are no more pairs than samples."""
        ends = np.flatnonzero(np.diff(loaded["key"])) + 1
        for start, end in zip([0, *ends], [*ends, len(loaded["key"])], strict=True):
            left = np.arange(start, end)
            while len(left) > 1:
                pairs = self._compared(loaded, left[1:], np.full(len(left) - 1, left[0]))
                yield pairs
                left = left[1:][~self._same(pairs)]

    def _of_near_hashes(self, loaded: Pairs, choice: int) -> Iterator[Pairs]:
        """Each two samples of near hashes, once: by the first choice of bits in which they agree."""
        earlier_masks = np.array(self._masks[:choice], np.uint64)
        first = np.arange(len(loaded["key"]))
        for step in range(1, len(first)):
            first = first[first + step < len(loaded["key"])]
            first = first[loaded["key"][first] == loaded["key"][first + step]]
            if not len(first):
                return
            differing = loaded["phash"][first] ^ loaded["phash"][first + step]
            near = first[_ones(differing) <= self._near.bits]
            if len(earlier_masks):
                differing = loaded["phash"][near] ^ loaded["phash"][near + step]
                near = near[~((differing[:, None] & earlier_masks) == 0).any(axis=1)]
            if len(near):
                yield self._compared(loaded, near + step, near)

    def _compared(self, loaded: Pairs, later: np.ndarray, earlier: np.ndarray) -> Pairs:
        cosines = []
        for start in range(0, len(later), _PAIRS_AT_A_TIME):
            some = slice(start, start + _PAIRS_AT_A_TIME)
            one, other = (self._embeds(loaded["id"][places[some]]) for places in (later, earlier))
            cosines.append(np.einsum("ij,ij->i", one, other))
        return {
            "later": loaded["id"][later],
            "earlier": loaded["id"][earlier],
            "cosine": np.concatenate(cosines).astype(np.float32),
            "equal": (loaded["high"][later] == loaded["high"][earlier])
            & (loaded["low"][later] == loaded["low"][earlier]),
        }


class _Embeds:
    """Face embeddings by the samples' ids, out of files that are mapped."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._open: OrderedDict[int, np.ndarray] = OrderedDict()

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        units, places = unit_of(ids), row_of(ids)
        found: np.ndarray | None = None
        for unit in np.unique(units):
            embeds = self._of(int(unit))
            if found is None:
                found = np.empty((len(ids), embeds.shape[1]), np.float32)
            found[units == unit] = embeds[places[units == unit]]
        assert found is not None
        return found

    def _of(self, unit: int) -> np.ndarray:
        if unit not in self._open:
            if len(self._open) >= _OPEN_FILES:
                self._open.popitem(last=False)
            self._open[unit] = np.load(self._work.checked(unit, ".npy"), mmap_mode="r")
        self._open.move_to_end(unit)
        return self._open[unit]


def _part_of(key: np.ndarray, parts: int) -> np.ndarray:
    """Keys spread over parts, whatever bits they have."""
    return (key * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)) % np.uint64(parts)


def _ones(numbers: np.ndarray) -> np.ndarray:
    """How many bits of each number are set."""
    return sum(_ONES[(numbers >> np.uint64(shift)) & np.uint64(0xFFFF)] for shift in (0, 16, 32, 48))


def joined(found: Sequence[Pairs]) -> Pairs:
    """Several pairs of arrays as one."""
    types = {"later": np.int64, "earlier": np.int64, "cosine": np.float32, "equal": np.bool_}
    return {
        name: np.concatenate([np.zeros(0, kind), *(pairs[name] for pairs in found)]) for name, kind in types.items()
    }


def settle(pairs: Pairs) -> Pairs:
    """Which samples go: each that shows the same as an earlier one that stays.

    Args:
        pairs: of samples that show the same, in any order.

    Returns:
        The pairs of each that goes and the first that stays and shows the same, sorted.
    """
    order = np.lexsort((pairs["earlier"], pairs["later"]))
    gone: dict[int, int] = {}
    for place in order:
        later, earlier = int(pairs["later"][place]), int(pairs["earlier"][place])
        if later not in gone and earlier not in gone:
            gone[later] = int(place)
    places = np.array(list(gone.values()), dtype=np.int64)
    return {name: values[places] for name, values in pairs.items()}


def with_roots(equal: Pairs, near: Pairs) -> Pairs:
    """What is known of all that go, sorted; one that was like a sample which went is put to what that one is like."""
    beyond = dict(zip(near["later"].tolist(), near["earlier"].tolist(), strict=True))
    pairs = joined([equal, near])
    pairs["earlier"] = np.array([beyond.get(one, one) for one in pairs["earlier"].tolist()], np.int64)
    order = np.argsort(pairs["later"])
    return {name: values[order] for name, values in pairs.items()}
