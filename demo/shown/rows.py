"""The rows of the table: means over people, and differences between two ways with the same people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hyperlora_core.evaluation.statistics import compare, estimate

Values = Mapping[str, Sequence[float]]
"""Person -> a number of each of their pictures."""


SHARE, MEAN, DIFFERENCE = "share", "mean", "difference"
"""The kinds of rows: a share of people, to be written in per cent; a mean over them; the mean of paired differences."""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        what: is measured.
        kind: ``SHARE``, ``MEAN`` or ``DIFFERENCE``.
        mean: over people.
        low, high: of its interval; None where there are too few people for one.
        people: how many.
        wanted: in words; empty where nothing was asked for.
        met: whether it is that.
    """

    what: str
    kind: str
    mean: float
    low: float | None
    high: float | None
    people: int
    wanted: str = ""
    met: bool | None = None

    def __str__(self) -> str:
        """As the table has it."""
        style = {SHARE: ".0%", MEAN: ".2f", DIFFERENCE: "+.3f"}[self.kind]
        mean, low, high = ("?" if value is None else f"{value:{style}}" for value in (self.mean, self.low, self.high))
        met = {True: "yes", False: "**no**", None: ""}[self.met]
        return f"| {self.what} | {mean} | {low} .. {high} | {self.people} | {self.wanted} | {met} |"


def row(what: str, values: Values, least: float | None = None, most: float | None = None, share: bool = True) -> Row:
    """A row of means, of which at least or at most so much is wanted."""
    mean = estimate(values)
    assert mean is not None
    result = Row(what, SHARE if share else MEAN, mean.mean, mean.low, mean.high, mean.people)
    for limit, word, met in ((least, "least", mean.mean >= (least or 0)), (most, "most", mean.mean <= (most or 0))):
        if limit is not None:
            return replace(result, wanted=f"at {word} {limit:{'.0%' if share else '.2f'}}", met=met)
    return result


def difference(what: str, minuend: Values, second: Values, sign: int = 0) -> Row:
    """A row of a paired difference, the first minus the second, which is to be above or below 0 with its interval."""
    paired = compare(minuend, second)
    assert paired is not None
    result = Row(what, DIFFERENCE, paired.mean, paired.low, paired.high, paired.people)
    if not sign:
        return result
    nearest = paired.low if sign > 0 else paired.high
    wanted = "above 0" if sign > 0 else "below 0"
    return replace(result, wanted=wanted, met=nearest is not None and nearest * sign > 0)


def per_person(numbers: Sequence[float]) -> Values:
    """One number a person, in order."""
    return {name_of(person): [float(value)] for person, value in enumerate(numbers)}


def name_of(person: int) -> str:
    """As the table and files call a person."""
    return f"person-{person:05d}"
