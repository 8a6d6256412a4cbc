"""What is read off drawn pictures, and the numbers that are made of readings.

Shapes: N people, P of the ten parameters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .encoders import Judge
from .people import People
from .world import BACKGROUNDS, COLOURS, GEOMETRY, IDENTITY, background_of, clothing_of, palette

RESAMPLES = 1000
SPREAD = np.sqrt(1 / 12)  # of each parameter among all people
GROUPS = {"all": IDENTITY, "colour": COLOURS, "geometry": GEOMETRY} | {name: (name,) for name in IDENTITY}


@dataclass(frozen=True)
class Reading:
    """What is read off the pictures of N people.

    Attributes:
        identity: ``(N, 10)``.
        background: ``(N, 3)``.
        clothing: ``(N, 3)``.
    """

    identity: np.ndarray
    background: np.ndarray
    clothing: np.ndarray

    @classmethod
    @torch.no_grad()
    def of(cls, pictures: Tensor, judge: Judge) -> "Reading":
        """Read pictures ``(N, 3, 32, 32)``."""
        return cls(judge(pictures).numpy(), background_of(pictures).numpy(), clothing_of(pictures).numpy())

    def to_json(self) -> dict[str, list]:
        """Rounded to the hundredth, a hundredth of a spread's thirtieth."""
        return {name: np.round(value.astype(float), 2).tolist() for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, stored: dict[str, list]) -> "Reading":
        """What ``to_json`` made."""
        return cls(**{name: np.array(value) for name, value in stored.items()})


@dataclass(frozen=True)
class Number:
    """A measurement and the 95% interval of it, bootstrapped over people."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} … {self.high:.2f})"


@dataclass(frozen=True)
class Truth:
    """What readings are held against: persons ``(N, 10)``, the colours of references and of prompts, ``(N, 3)``."""

    identity: np.ndarray
    reference_background: np.ndarray
    prompted_background: np.ndarray

    @classmethod
    def of(cls, people: People) -> "Truth":
        """Of people."""
        prompted = palette(BACKGROUNDS)[people.background]
        return cls(people.identity.numpy(), people.reference_background.numpy(), prompted.numpy())

    def first(self, count: int) -> "Truth":
        """Of the first of them."""
        return Truth(*(value[:count] for value in vars(self).values()))


def nrmse(readings: Sequence[Reading], truth: Truth, group: str) -> Number:
    """The error of a group of parameters, as a share of their spread: 1 a constant guess, 1.41 another person.

    Args:
        readings: of the same people, one a seed.
        truth: of these people.
        group: of ``GROUPS``.
    """
    return _number(_error_of(readings, truth, group), len(truth.identity))


def nrmse_difference(one: Sequence[Reading], other: Sequence[Reading], truth: Truth, group: str) -> Number:
    """How much larger the first's error is, of the same people."""
    sides = [_error_of(side, truth, group) for side in (one, other)]
    return _number(lambda times: sides[0](times) - sides[1](times), len(truth.identity))


def correlation(readings: Sequence[Reading], truth: Truth, group: str) -> Number:
    """The mean correlation of a group's parameters with the truth."""
    return _number(_person_of(readings, truth, group), len(truth.identity))


def correlation_difference(one: Sequence[Reading], other: Sequence[Reading], truth: Truth, group: str) -> Number:
    """How much larger the first's mean correlation is."""
    sides = [_person_of(side, truth, group) for side in (one, other)]
    return _number(lambda times: sides[0](times) - sides[1](times), len(truth.identity))


def leak(readings: Sequence[Reading], truth: Truth) -> Number:
    """Correlation of drawn backgrounds with the reference's."""
    return _number(_background_of(readings, truth.reference_background), len(truth.identity))


def leak_difference(one: Sequence[Reading], other: Sequence[Reading], truth: Truth) -> Number:
    """How much more of the reference's background the first has."""
    sides = [_background_of(side, truth.reference_background) for side in (one, other)]
    return _number(lambda times: sides[0](times) - sides[1](times), len(truth.identity))


def obey(readings: Sequence[Reading], truth: Truth) -> Number:
    """Correlation of drawn backgrounds with the prompted."""
    return _number(_background_of(readings, truth.prompted_background), len(truth.identity))


# From how many times each person counts, (S, N), to S values.
Statistic = Callable[[np.ndarray], np.ndarray]


def _number(of: Statistic, people: int) -> Number:
    """A statistic of all people, and its interval over people drawn again."""
    numbers = np.random.default_rng(0)
    times = numbers.multinomial(people, np.full(people, 1 / people), RESAMPLES)
    (value,) = of(np.ones((1, people)))
    return Number(float(value), *np.percentile(of(times), [2.5, 97.5]).tolist())


def _error_of(readings: Sequence[Reading], truth: Truth, group: str) -> Statistic:
    columns = [IDENTITY.index(name) for name in GROUPS[group]]
    squares = [((each.identity - truth.identity)[:, columns] / SPREAD) ** 2 for each in readings]
    a_person = np.concatenate(squares, axis=1).mean(axis=1)
    return lambda times: np.sqrt(times @ a_person / times.sum(axis=1))


def _person_of(readings: Sequence[Reading], truth: Truth, group: str) -> Statistic:
    columns = [IDENTITY.index(name) for name in GROUPS[group]]
    return _correlation_of([each.identity[:, columns] for each in readings], truth.identity[:, columns])


def _background_of(readings: Sequence[Reading], colours: np.ndarray) -> Statistic:
    return _correlation_of([each.background for each in readings], colours)


def _correlation_of(read: Sequence[np.ndarray], true: np.ndarray) -> Statistic:
    """The mean correlation, over columns and over readings, of ``(N, C)`` each with ``(N, C)``."""
    one = np.concatenate(read, axis=1)
    other = np.concatenate([true] * len(read), axis=1)
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)

    def of(times: np.ndarray) -> np.ndarray:
        def mean(values: np.ndarray) -> np.ndarray:
            return times @ values / times.sum(axis=1, keepdims=True)

        covariance = mean(one * other) - mean(one) * mean(other)
        spreads = (mean(one**2) - mean(one) ** 2) * (mean(other**2) - mean(other) ** 2)
        return (covariance / np.sqrt(np.maximum(spreads, 1e-12))).mean(axis=1)

    return of
