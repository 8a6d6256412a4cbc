"""Duplicates are found without comparing all with all, and as if all were compared."""

import random
from collections.abc import Iterable
from dataclasses import fields

import numpy as np
import pytest

from hyperlora_core import HyperLoRAError
from hyperlora_core.data import near_pairs
from hyperlora_core.data.checks import Checked
from hyperlora_core.data.duplicates import settle, with_roots
from hyperlora_core.data.near_pairs import FindPairs, Near, Pairs, Search, masks, searches
from hyperlora_core.data.rows import RowWriter
from hyperlora_core.data.sample_ids import sample_id
from hyperlora_core.data.sources import Item
from hyperlora_core.data.work import Work


@pytest.mark.parametrize("bits", range(1, near_pairs.MOST_BITS + 1))
def test_near_hashes_agree_in_one_choice_of_bits(bits):
    numbers = random.Random(bits)
    choices = masks(bits)
    assert all(mask.bit_count() >= 20 for mask in choices) and len(choices) <= 1000
    for _ in range(300):
        one = numbers.getrandbits(64)
        other = one
        for place in numbers.sample(range(64), bits):
            other ^= 1 << place
        assert any(one & mask == other & mask for mask in choices)


@pytest.fixture(scope="module")
def checked(checker, photos) -> Checked:
    return checker(Item("obama", photos["obama"].read_bytes()))


def set_of(folder, checked, units: int, size: int, seed: int) -> tuple[Work, np.ndarray, np.ndarray]:
    """Units whose samples have hashes near to, and faces like, each other's, by chance; and rejected pictures."""
    numbers = np.random.default_rng(seed)
    work = Work(folder)
    for name in ("units", "checked"):
        (work.folder / name).mkdir(parents=True)
    work.plan.write_text(f'{{"units": {units}}}')
    centres = numbers.integers(0, 1 << 63, 12, dtype=np.uint64)
    faces = numbers.normal(size=(4, 16))
    all_hashes, all_embeds = [], []
    for unit in range(units):
        rows, embeds = RowWriter(), []
        for _ in range(size):
            if numbers.random() < 0.2:
                rows.add(Checked(Item("x"), "no face"))
                continue
            phash = int(centres[numbers.integers(12)])
            for place in numbers.choice(64, numbers.integers(0, 5), replace=False):
                phash ^= 1 << int(place)
            embed = faces[numbers.integers(4)] + 0.25 * numbers.normal(size=16)
            embeds.append((embed / np.linalg.norm(embed)).astype(np.float32))
            checked.phash, checked.pixels = phash, numbers.bytes(16)
            rows.add(checked)
            all_hashes.append(phash)
        np.save(work.checked(unit, ".npy"), np.stack(embeds))
        rows.write(work.checked(unit, ".parquet"))
        all_embeds += embeds
    return work, np.array(all_hashes, np.uint64), np.stack(all_embeds)


def dropped_of(work: Work, near: Near) -> Pairs:
    """As ``find_duplicates`` finds them, without Ray."""
    finder = FindPairs(str(work.out), near)
    equal = settle(all_pairs(finder, searches(1, 1)))
    np.save(work.folder / "settled.npy", equal.later)
    finder = FindPairs(str(work.out), near, str(work.folder / "settled.npy"))
    return with_roots(equal, settle(all_pairs(finder, searches(1, len(masks(near.bits))))))


def all_pairs(finder: FindPairs, tasks: Iterable[Search]) -> Pairs:
    return Pairs.concatenate([finder(task).pairs for task in tasks])


def test_the_same_pixels_are_the_same_at_any_limit(checked, tmp_path):
    work, *_ = set_of(tmp_path, checked, units=1, size=40, seed=0)
    finder = FindPairs(str(work.out), Near(bits=6, cosine=1.0))
    cosine = np.array([0.9999999, 0.5])
    ids = np.arange(2)
    pairs = Pairs(later=ids + 1, earlier=ids, cosine=cosine, equal=np.array([True, False]))
    assert finder._show_the_same(pairs).tolist() == [True, False]


@pytest.mark.parametrize("seed", range(4))
def test_what_goes_is_what_comparing_all_with_all_finds(seed, checked, tmp_path):
    near = Near(bits=6, cosine=0.8)
    work, hashes, embeds = set_of(tmp_path, checked, units=3, size=80, seed=seed)
    dropped = dropped_of(work, near)
    ids = []
    for unit in range(3):
        ids += [sample_id(unit, row) for row in range(len(np.load(work.checked(unit, ".npy"))))]
    distance = np.array([[(int(one) ^ int(other)).bit_count() for other in hashes] for one in hashes])
    like = embeds @ embeds.T >= near.cosine
    expected: set[int] = set()
    for bits in (0, near.bits):  # those of equal hashes go first
        stay: list[int] = []
        for place in range(len(ids)):
            if place in expected:
                continue
            if any(distance[place, other] <= bits and like[place, other] for other in stay):
                expected.add(place)
            else:
                stay.append(place)
    assert dropped.later.tolist() == [ids[place] for place in sorted(expected)]
    assert 20 < len(expected) < len(ids) - 20
    assert not set(dropped.earlier.tolist()) & set(dropped.later.tolist())


def test_parts_and_steps_change_nothing(checked, tmp_path, monkeypatch):
    """A large set is looked through in parts, and by many tasks."""
    work, _, _ = set_of(tmp_path, checked, units=3, size=80, seed=9)
    near = Near(bits=4, cosine=0.8)
    at_once = dropped_of(work, near)
    monkeypatch.setattr(near_pairs, "_SAMPLES_PER_SEARCH", 30)
    several = [Search(choice, choice + 1, part, 5) for choice in range(len(masks(4))) for part in range(5)]
    assert len(searches(140, 15)) == 75 == len(several)
    finder = FindPairs(str(work.out), near)
    equal = settle(all_pairs(finder, [Search(0, 1, part, 5) for part in range(5)]))
    np.save(work.folder / "settled.npy", equal.later)
    finder = FindPairs(str(work.out), near, str(work.folder / "settled.npy"))
    parts = with_roots(equal, settle(all_pairs(finder, reversed(several))))
    assert len(at_once) > 10
    for column in fields(Pairs):
        assert np.array_equal(getattr(at_once, column.name), getattr(parts, column.name))


def test_a_picture_that_is_everywhere_makes_no_more_pairs_than_pictures(checked, tmp_path):
    work, _, _ = set_of(tmp_path, checked, units=1, size=10, seed=0)
    rows = RowWriter()
    checked.phash = 77
    for _ in range(3000):
        rows.add(checked)
    rows.write(work.checked(0, ".parquet"))
    np.save(work.checked(0, ".npy"), np.tile(checked.sample.embed, (3000, 1)))
    pairs = FindPairs(str(work.out), Near())(Search(0, 1, 0, 1)).pairs
    assert pairs.later.tolist() == list(range(1, 3000)) and set(pairs.earlier.tolist()) == {0}
    assert pairs.equal.all()


@pytest.mark.parametrize("wrong", [{"bits": -1}, {"bits": 9}, {"cosine": 1.5}, {"cosine": float("nan")}])
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(HyperLoRAError):
        Near(**wrong)
