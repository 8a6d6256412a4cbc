"""Duplicates are found without comparing all with all, and as if all were compared."""

import random

import numpy as np
import pytest

from hyperlora_core import HyperLoRAError
from hyperlora_core.data import duplicates
from hyperlora_core.data.checks import Checked
from hyperlora_core.data.duplicates import FindPairs, Near, joined, masks, sample_id, settle, tasks, with_roots
from hyperlora_core.data.rows import RowWriter
from hyperlora_core.data.sources import Item
from hyperlora_core.data.work import Work


@pytest.mark.parametrize("bits", range(1, duplicates.MOST_BITS + 1))
def test_near_hashes_agree_in_one_choice_of_bits(bits):
    numbers = random.Random(bits)
    chosen = masks(bits)
    assert all(mask.bit_count() >= 20 for mask in chosen) and len(chosen) <= 1000
    for _ in range(300):
        one = numbers.getrandbits(64)
        other = one
        for place in numbers.sample(range(64), bits):
            other ^= 1 << place
        assert any(one & mask == other & mask for mask in chosen)


@pytest.fixture(scope="module")
def some(checker, photos) -> Checked:
    return checker(Item("obama", photos["obama"].read_bytes()))


def made(folder, some, units: int, size: int, seed: int) -> tuple[Work, np.ndarray, np.ndarray]:
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
            some.phash, some.pixels = phash, numbers.bytes(16)
            rows.add(some)
            all_hashes.append(phash)
        np.save(work.checked(unit, ".npy"), np.stack(embeds))
        rows.write(work.checked(unit, ".parquet"))
        all_embeds += embeds
    return work, np.array(all_hashes, np.uint64), np.stack(all_embeds)


def found_of(work: Work, near: Near) -> dict[str, np.ndarray]:
    """As ``prepare`` finds them, without Ray."""
    finder = FindPairs(str(work.out), near)
    equal = settle(joined([finder(task) for task in tasks(1, 1)]))
    np.save(work.folder / "settled.npy", equal["later"])
    finder = FindPairs(str(work.out), near, str(work.folder / "settled.npy"))
    pairs = [finder(task) for task in tasks(1, len(masks(near.bits)))]
    return with_roots(equal, settle(joined(pairs)))


def test_the_same_pixels_are_the_same_at_any_limit(some, tmp_path):
    work, *_ = made(tmp_path, some, units=1, size=40, seed=0)
    finder = FindPairs(str(work.out), Near(bits=6, cosine=1.0))
    cosine = np.array([0.9999999, 0.5])
    assert finder._same({"cosine": cosine, "equal": np.array([True, False])}).tolist() == [True, False]


@pytest.mark.parametrize("seed", range(4))
def test_what_goes_is_what_comparing_all_with_all_finds(seed, some, tmp_path):
    near = Near(bits=6, cosine=0.8)
    work, hashes, embeds = made(tmp_path, some, units=3, size=80, seed=seed)
    found = found_of(work, near)
    ids = []
    for unit in range(3):
        ids += [sample_id(unit, row) for row in range(len(np.load(work.checked(unit, ".npy"))))]
    distance = np.array([[(int(one) ^ int(other)).bit_count() for other in hashes] for one in hashes])
    like = embeds @ embeds.T >= near.cosine
    gone: set[int] = set()
    for bits in (0, near.bits):  # those of equal hashes go first
        stay: list[int] = []
        for place in range(len(ids)):
            if place in gone:
                continue
            if any(distance[place, other] <= bits and like[place, other] for other in stay):
                gone.add(place)
            else:
                stay.append(place)
    assert found["later"].tolist() == [ids[place] for place in sorted(gone)]
    assert 20 < len(gone) < len(ids) - 20
    assert not set(found["earlier"].tolist()) & set(found["later"].tolist())


def test_parts_and_steps_change_nothing(some, tmp_path, monkeypatch):
    """A large set is looked through in parts, and by many tasks."""
    work, _, _ = made(tmp_path, some, units=3, size=80, seed=9)
    near = Near(bits=4, cosine=0.8)
    whole = found_of(work, near)
    monkeypatch.setattr(duplicates, "_ROWS_A_TASK", 30)
    several = [{"first": c, "end": c + 1, "part": part, "parts": 5} for c in range(len(masks(4))) for part in range(5)]
    assert len(tasks(140, 15)) == 75 == len(several)
    finder = FindPairs(str(work.out), near)
    equal = settle(joined([finder({"first": 0, "end": 1, "part": part, "parts": 5}) for part in range(5)]))
    np.save(work.folder / "settled.npy", equal["later"])
    finder = FindPairs(str(work.out), near, str(work.folder / "settled.npy"))
    parts = with_roots(equal, settle(joined([finder(task) for task in reversed(several)])))
    assert len(whole["later"]) > 10 and all(np.array_equal(whole[name], parts[name]) for name in whole)


def test_a_picture_that_is_everywhere_makes_no_more_pairs_than_pictures(some, tmp_path):
    work, _, _ = made(tmp_path, some, units=1, size=10, seed=0)
    rows = RowWriter()
    some.phash = 77
    for _ in range(3000):
        rows.add(some)
    rows.write(work.checked(0, ".parquet"))
    np.save(work.checked(0, ".npy"), np.tile(some.sample.embed, (3000, 1)))
    pairs = FindPairs(str(work.out), Near())({"first": 0, "end": 1, "part": 0, "parts": 1})
    assert pairs["later"].tolist() == list(range(1, 3000)) and set(pairs["earlier"].tolist()) == {0}
    assert pairs["equal"].all()


@pytest.mark.parametrize("wrong", [{"bits": -1}, {"bits": 9}, {"cosine": 1.5}, {"cosine": float("nan")}])
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(HyperLoRAError):
        Near(**wrong)
