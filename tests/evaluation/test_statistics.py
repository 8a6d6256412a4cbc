"""Intervals hold what they claim to, tests are exact where they can be, and order means nothing."""

import itertools
import random

import numpy as np
import pytest

from hyperlora_core.evaluation.statistics import LEVEL, adjusted, compare, estimate


def people(values):
    return {f"person {number}": [float(value)] for number, value in enumerate(values)}


def test_each_person_counts_once():
    found = estimate({"a": [0.0, 0.0, 0.0, 0.0], "b": [1.0]})
    assert (found.mean, found.people, found.pictures) == (0.5, 2, 5)
    assert estimate({"a": [0.3]}).low is None and estimate({"a": []}) is None and estimate({}) is None


def test_the_order_of_people_and_pictures_means_nothing():
    numbers = random.Random(0)
    values = {f"person {number}": [numbers.gauss(0.5, 0.1) for _ in range(5)] for number in range(17)}
    others = {name: [value + numbers.gauss(0.01, 0.05) for value in some] for name, some in values.items()}
    for seed in range(3):
        shuffled = [(name, random.Random(seed).sample(some, len(some))) for name, some in values.items()]
        random.Random(seed).shuffle(shuffled)
        assert estimate(dict(shuffled)) == estimate(values)
        assert compare(dict(shuffled), others) == compare(values, others)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    numbers = np.random.default_rng(0)
    held = 0
    for _ in range(120):
        found = estimate(people(numbers.normal(0.6, 0.1, 50)))
        held += found.low <= 0.6 <= found.high
    assert LEVEL - 0.06 <= held / 120 <= LEVEL + 0.05


def test_the_test_is_the_exact_one():
    """Of all signs that differences can have, those whose mean is as far from 0."""
    differences = [0.3, 0.1, -0.2, 0.4, 0.25, 0.05, 0.15]
    means = [np.mean(np.array(signs) * differences) for signs in itertools.product((1, -1), repeat=7)]
    expected = np.mean(np.abs(means) >= abs(np.mean(differences)) - 1e-12)
    found = compare(people(differences), people([0] * 7))
    assert found.p == pytest.approx(expected) and found.mean == pytest.approx(np.mean(differences))


@pytest.mark.long
def test_chance_is_seldom_taken_for_a_difference():
    numbers = np.random.default_rng(1)
    told = [compare(people(numbers.normal(size=12)), people(numbers.normal(size=12))).tells for _ in range(200)]
    assert np.mean(told) <= 0.09


def test_a_sample_that_is_too_small_is_said_to_be():
    few = compare(people([1.0] * 5), people([0.0] * 5))
    assert not few.tells and "6 are the least" in few.warning
    enough = compare(people([1.0, 1.1, 0.9, 1.0, 1.2, 1.0]), people([0.0] * 6))
    assert enough.tells and enough.warning == ""
    unclear = compare(people([0.1, -0.1, 0.2, -0.2, 0.1, 0.0, 0.05, -0.05]), people([0.0] * 8))
    assert "not told from chance by 8 people; about" in unclear.warning and unclear.needed > 8
    equal = compare(people([0.5] * 8), people([0.5] * 8))
    assert equal.p == 1 and equal.needed is None and (equal.low, equal.high) == (0, 0)


@pytest.mark.slow
def test_the_people_that_are_said_to_suffice_do():
    numbers = np.random.default_rng(2)
    needed = compare(people(numbers.normal(0.3, 1, 4000)), people([0] * 4000)).needed
    told = [compare(people(numbers.normal(0.3, 1, needed)), people([0] * needed)).tells for _ in range(60)]
    assert 0.65 <= np.mean(told) <= 0.95


def test_only_people_of_both_are_compared():
    found = compare({"a": [1.0], "b": [2.0], "c": [5.0]}, {"b": [1.0], "c": [], "d": [0.0]})
    assert (found.mean, found.people) == (1.0, 1)
    assert compare({"a": [1.0]}, {"b": [1.0]}) is None


def test_many_tests_are_corrected_as_holm_does():
    found = adjusted({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert found == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert adjusted({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0} and adjusted({}) == {}
