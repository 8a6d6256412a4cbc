"""Finds pairs of samples that show the same picture: equal pixels, or nearly equal perceptual hashes and faces.

Not every sample is compared with every other. Two hashes that differ in at most ``bits`` of 64 have some bands of bits
in common (pigeonhole); for each choice of bands the samples are sorted by those bands, and neighbours compared. A
``Search`` is one part of the samples for a few choices, and holds some millions of hashes in memory, whatever the size
of the set. Face embeddings are read from disk for pairs with near hashes only.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np

from ..errors import HyperLoRAError
from . import rows
from .pictures import PHASH_BITS
from .sample_ids import row_of, sample_id, unit_of
from .work import Work

MOST_BITS = 8
COSINE_EDGES = np.linspace(-1, 1, 41)
"""Bin edges of the histograms of cosines."""

_SAMPLES_PER_SEARCH = 8_000_000
_BITS_PER_KEY = 20  # at least: a million buckets
_OPEN_FILES = 256
_PAIRS_PER_BATCH = 4096
_ALL_BITS = (1 << PHASH_BITS) - 1
_ONES = np.array([number.bit_count() for number in range(1 << 16)], np.uint8)


@dataclass(frozen=True)
class Near:
    """When two pictures count as the same.

    Attributes:
        bits: of 64, in how many their perceptual hashes may differ.
        cosine: of their face embeddings, at least.
    """

    bits: int = 6
    cosine: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.bits <= MOST_BITS:
            raise HyperLoRAError(f"{self.bits} bits of the hash may differ; 0 to {MOST_BITS} was expected")
        if not -1 <= self.cosine <= 1:
            raise HyperLoRAError(f"the cosine of duplicates is {self.cosine}; a number from -1 to 1 was expected")


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs of samples, of which the later one is a candidate to be dropped.

    Attributes:
        later: ``(P,)`` int64, ids of the samples that come later in the order of the sources.
        earlier: ``(P,)`` int64, ids of the others.
        cosine: ``(P,)`` float32, of their face embeddings.
        equal: ``(P,)`` bool, whether all pixels are equal.
    """

    later: np.ndarray
    earlier: np.ndarray
    cosine: np.ndarray
    equal: np.ndarray

    def __len__(self) -> int:
        return len(self.later)

    def __getitem__(self, index: np.ndarray) -> "Pairs":
        """Some of the pairs, by a mask or by their places."""
        return Pairs(self.later[index], self.earlier[index], self.cosine[index], self.equal[index])

    @staticmethod
    def concatenate(parts: Sequence["Pairs"]) -> "Pairs":
        """All pairs of several values, in order; none where there are no values."""
        empty = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, bool))
        values = [empty, *parts]
        return Pairs(
            np.concatenate([pairs.later for pairs in values]),
            np.concatenate([pairs.earlier for pairs in values]),
            np.concatenate([pairs.cosine for pairs in values]),
            np.concatenate([pairs.equal for pairs in values]),
        )


@dataclass(frozen=True)
class Search:
    """One task of the search for pairs.

    Attributes:
        start, end: which choices of bits, a range of ``masks``; 0 to 1 while equal hashes are looked for.
        part, parts: which part of the samples, of how many.
    """

    start: int
    end: int
    part: int
    parts: int


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a ``Search`` found.

    Attributes:
        pairs: those that show the same.
        cosines: histogram over ``COSINE_EDGES`` of the cosines of all pairs with near hashes, the same or not.
    """

    pairs: Pairs
    cosines: np.ndarray


def masks(bits: int) -> list[int]:
    """Choices of bits of the hash: two hashes that differ in at most ``bits`` agree in one of them at least."""
    if not bits:
        return []
    choices = []
    for bands in range(bits + 1, PHASH_BITS):
        equal_bands = bands - bits
        if equal_bands * (PHASH_BITS // bands) >= _BITS_PER_KEY:
            choices.append((math.comb(bands, equal_bands), bands, equal_bands))
    _, bands, equal_bands = min(choices)
    edges = np.linspace(0, PHASH_BITS, bands + 1).astype(int)
    band_masks = [sum(1 << bit for bit in range(low, high)) for low, high in pairwise(edges)]
    return [sum(combination) for combination in combinations(band_masks, equal_bands)]


def searches(samples: int, choices: int) -> list[Search]:
    """Split the work for so many samples and choices of bits; a small set takes many choices in one search."""
    parts = max(1, math.ceil(samples / _SAMPLES_PER_SEARCH))
    step = max(1, min(choices, _SAMPLES_PER_SEARCH // max(samples, 1)))
    return [
        Search(start, min(start + step, choices), part, parts)
        for start in range(0, choices, step)
        for part in range(parts)
    ]


@dataclass(frozen=True, eq=False)
class _Hashes:
    """Samples with their hashes: ``id`` int64, the rest uint64, all ``(N,)``."""

    id: np.ndarray
    phash: np.ndarray
    pixels_high: np.ndarray
    pixels_low: np.ndarray

    def __getitem__(self, index: np.ndarray) -> "_Hashes":
        return _Hashes(self.id[index], self.phash[index], self.pixels_high[index], self.pixels_low[index])


class FindPairs:
    """Finds pairs of samples that show the same.

    Args:
        out: the set's folder.
        near: when two pictures count as the same.
        settled: a file with the sorted ids of samples that are known to be duplicates, which are left out. None looks
            for samples with equal hashes instead of near ones.
    """

    def __init__(self, out: str, near: Near, settled: str | None = None) -> None:
        self._work, self._near, self._masks = Work(Path(out)), near, masks(near.bits)
        self._settled = np.load(settled) if settled else None
        self._embeds = _Embeds(self._work)
        self._all_samples: _Hashes | None = None

    def __call__(self, search: Search) -> SearchResult:
        """Do one search."""
        compared: list[Pairs] = []
        for choice in range(search.start, search.end):
            equal_hashes = self._settled is None
            mask = np.uint64(_ALL_BITS if equal_hashes else self._masks[choice])
            keys, samples = self._sorted(mask, search)
            compared += (
                self._with_equal_hashes(keys, samples)
                if equal_hashes
                else self._with_near_hashes(keys, samples, choice)
            )
        pairs = Pairs.concatenate(compared)
        cosines, _ = np.histogram(np.clip(pairs.cosine, -1, 1), COSINE_EDGES)
        return SearchResult(pairs[self._show_the_same(pairs)], cosines)

    def _sorted(self, mask: np.uint64, search: Search) -> tuple[np.ndarray, _Hashes]:
        """Masked hashes of a part of the samples, and the samples, sorted by them; in order where they are equal."""
        if search.parts == 1:
            if self._all_samples is None:
                self._all_samples = self._load(mask, 0, 1)
            samples = self._all_samples
        else:
            samples = self._load(mask, search.part, search.parts)
        keys = samples.phash & mask
        order = np.argsort(keys, kind="stable")
        return keys[order], samples[order]

    def _load(self, mask: np.uint64, part: int, parts: int) -> _Hashes:
        of_units: list[_Hashes] = []
        for unit in range(self._work.units):
            columns = rows.hashes(self._work.checked(unit, ".parquet"))
            ids = sample_id(unit, 0) + np.arange(len(columns["phash"]), dtype=np.int64)
            in_part = _part_of(columns["phash"] & mask, parts) == part
            if self._settled is not None and len(self._settled):
                places = np.searchsorted(self._settled, ids).clip(max=len(self._settled) - 1)
                in_part &= self._settled[places] != ids
            of_units.append(_Hashes(ids, **columns)[in_part])
        return _Hashes(
            np.concatenate([samples.id for samples in of_units]),
            np.concatenate([samples.phash for samples in of_units]),
            np.concatenate([samples.pixels_high for samples in of_units]),
            np.concatenate([samples.pixels_low for samples in of_units]),
        )

    def _show_the_same(self, pairs: Pairs) -> np.ndarray:
        return (pairs.cosine >= self._near.cosine) | pairs.equal

    def _with_equal_hashes(self, keys: np.ndarray, samples: _Hashes) -> Iterator[Pairs]:
        """Pair each sample with the first of its hash that it equals, so there are no more pairs than samples."""
        ends = np.flatnonzero(np.diff(keys)) + 1
        for start, end in zip([0, *ends], [*ends, len(keys)], strict=True):
            places = np.arange(start, end)
            while len(places) > 1:
                pairs = self._compare(samples, places[1:], np.full(len(places) - 1, places[0]))
                yield pairs
                places = places[1:][~self._show_the_same(pairs)]

    def _with_near_hashes(self, keys: np.ndarray, samples: _Hashes, choice: int) -> Iterator[Pairs]:
        """Pair samples of near hashes, each pair once: at the first choice of bits in which they agree."""
        previous_masks = np.array(self._masks[:choice], np.uint64)
        earlier = np.arange(len(keys))
        for step in range(1, len(earlier)):
            earlier = earlier[earlier + step < len(keys)]
            earlier = earlier[keys[earlier] == keys[earlier + step]]
            if not len(earlier):
                return
            differing = samples.phash[earlier] ^ samples.phash[earlier + step]
            near = earlier[_ones(differing) <= self._near.bits]
            if len(previous_masks):
                differing = samples.phash[near] ^ samples.phash[near + step]
                near = near[~((differing[:, None] & previous_masks) == 0).any(axis=1)]
            if len(near):
                yield self._compare(samples, near + step, near)

    def _compare(self, samples: _Hashes, later: np.ndarray, earlier: np.ndarray) -> Pairs:
        """Read the embeddings of samples by their places, and compare them and their pixels."""
        cosines = []
        for start in range(0, len(later), _PAIRS_PER_BATCH):
            batch = slice(start, start + _PAIRS_PER_BATCH)
            left, right = (self._embeds(samples.id[places[batch]]) for places in (later, earlier))
            cosines.append(np.einsum("ij,ij->i", left, right))
        return Pairs(
            samples.id[later],
            samples.id[earlier],
            np.concatenate(cosines).astype(np.float32),
            (samples.pixels_high[later] == samples.pixels_high[earlier])
            & (samples.pixels_low[later] == samples.pixels_low[earlier]),
        )


class _Embeds:
    """Face embeddings by the samples' ids, out of memory-mapped files; the last used ones stay open."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._open: OrderedDict[int, np.ndarray] = OrderedDict()

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        """Embeddings ``(N, D)`` float32 of at least one sample."""
        units, places = unit_of(ids), row_of(ids)
        embeds: np.ndarray | None = None
        for unit in np.unique(units):
            of_unit = self._of(int(unit))
            if embeds is None:
                embeds = np.empty((len(ids), of_unit.shape[1]), np.float32)
            embeds[units == unit] = of_unit[places[units == unit]]
        assert embeds is not None
        return embeds

    def _of(self, unit: int) -> np.ndarray:
        if unit not in self._open:
            if len(self._open) >= _OPEN_FILES:
                self._open.popitem(last=False)
            self._open[unit] = np.load(self._work.checked(unit, ".npy"), mmap_mode="r")
        self._open.move_to_end(unit)
        return self._open[unit]


def _part_of(keys: np.ndarray, parts: int) -> np.ndarray:
    """Keys spread over parts by a multiplicative hash, whatever bits they have."""
    return (keys * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)) % np.uint64(parts)


def _ones(numbers: np.ndarray) -> np.ndarray:
    """How many bits of each number are set."""
    return sum(_ONES[(numbers >> np.uint64(shift)) & np.uint64(0xFFFF)] for shift in (0, 16, 32, 48))
