"""How far a number can be believed: intervals and tests over people, for pictures of one person are no new evidence.

Each person counts once, by the mean of their pictures. Nothing depends on the order in which they come.
"""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import MissingPackageError

try:
    from scipy import stats
except ImportError as missing:
    raise MissingPackageError(f"comparing methods needs scipy ({missing}): pip install -e .[evaluate]") from missing

LEVEL = 0.95
_DRAWS = 9999
_SEED = 0
_POWER = 0.8


@dataclass(frozen=True)
class Estimate:
    """A mean over people.

    Attributes:
        mean: of the people's means.
        low, high: of the interval that holds it at ``LEVEL``; None where there are too few people for one.
        people: how many there are.
        pictures: of all of them.
    """

    mean: float
    low: float | None
    high: float | None
    people: int
    pictures: int


@dataclass(frozen=True)
class Difference:
    """One method against another, on the people whom both have drawn.

    Attributes:
        mean: of the differences, the first minus the second.
        low, high: of its interval; None where there are too few people for one.
        p: how often signs by chance give a mean as far from 0; exact for up to 13 people. 1 for fewer than two.
        people: how many there are.
        needed: people for whom a difference of this size would be seen four times of five; None where there is none.
        tests: how many are made at once, for which p is to be corrected.
    """

    mean: float
    low: float | None
    high: float | None
    p: float
    people: int
    needed: int | None
    tests: int = 1

    @property
    def tells(self) -> bool:
        """Whether it is one, as far as this many people can say."""
        return self.p < 1 - LEVEL

    @property
    def warning(self) -> str:
        """What keeps it from telling; empty where it tells."""
        least = least_people(self.tests)
        if self.people < least:
            return f"of {self.people} people no difference can be told from chance: {least} are the least"
        if self.tells:
            return ""
        enough = f"; about {self.needed} people would tell one of this size" if self.needed else ""
        return f"not told from chance by {self.people} people{enough}"


def least_people(tests: int = 1) -> int:
    """With fewer, no exact test of signs comes below 1 - ``LEVEL``, corrected for so many tests at once."""
    return math.ceil(math.log2(2 * max(1, tests) / (1 - LEVEL)))


def estimate(values: Mapping[str, Sequence[float]]) -> Estimate | None:
    """The mean over people, with a bootstrap over them (bias-corrected and accelerated; Efron, 1987).

    Args:
        values: person -> a value of each of their pictures; people without one are left out.

    Returns:
        None where nobody has a value.
    """
    means = _means(values)
    if not means.size:
        return None
    low, high = _interval(means)
    return Estimate(_mean(means), low, high, len(means), sum(map(len, values.values())))


def compare(
    first: Mapping[str, Sequence[float]], second: Mapping[str, Sequence[float]], tests: int = 1
) -> Difference | None:
    """A paired test: the signs of the people's differences are permuted.

    Args:
        first, second: person -> a value of each of their pictures.
        tests: how many are made at once.

    Returns:
        None where no person has values of both.
    """
    people = sorted(name for name in first if first[name] and second.get(name))
    differences = np.sort([_mean(first[name]) - _mean(second[name]) for name in people])
    if not differences.size:
        return None
    low, high = _interval(differences)
    needed = _needed(differences, tests)
    return Difference(_mean(differences), low, high, _p(differences), len(people), needed, tests)


def adjusted(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's correction (1979) for as many tests as there are."""
    corrected: dict[str, float] = {}
    most = 0.0
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda entry: (entry[1], entry[0]))):
        most = max(most, min(1.0, (len(p_values) - place) * p))
        corrected[name] = most
    return corrected


def _means(values: Mapping[str, Sequence[float]]) -> np.ndarray:
    return np.sort([_mean(numbers) for numbers in values.values() if len(numbers)])


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return math.fsum(numbers) / len(numbers)


def _interval(values: np.ndarray) -> tuple[float | None, float | None]:
    if len(values) < least_people():  # a bootstrap of fewer is far too narrow
        return None, None
    if values[0] == values[-1]:
        return float(values[0]), float(values[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a bootstrap that is degenerate, for which the percentiles stand in
        interval = stats.bootstrap(
            (values,), np.mean, n_resamples=_DRAWS, confidence_level=LEVEL, method="BCa", rng=_SEED
        ).confidence_interval
        if not np.isfinite(interval).all():
            interval = stats.bootstrap(
                (values,), np.mean, n_resamples=_DRAWS, confidence_level=LEVEL, method="percentile", rng=_SEED
            ).confidence_interval
    return float(interval.low), float(interval.high)


def _p(differences: np.ndarray) -> float:
    if len(differences) < 2 or not differences.any():
        return 1.0
    test = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=_DRAWS, rng=_SEED, vectorized=True
    )
    return float(test.pvalue)


def _needed(differences: np.ndarray, tests: int) -> int | None:
    """By the normal approximation of a paired test, at the level that the strictest of so many has."""
    mean = _mean(differences)
    if len(differences) < 2 or mean == 0:
        return None
    quantiles = stats.norm.ppf(1 - (1 - LEVEL) / 2 / max(1, tests)) + stats.norm.ppf(_POWER)
    return max(least_people(tests), math.ceil((quantiles * float(np.std(differences, ddof=1)) / mean) ** 2))
