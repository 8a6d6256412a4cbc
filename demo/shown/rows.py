"""The rows of the table: means over people, and differences between two ways with the same people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hyperlora_core.evaluation.statistics import Difference, Estimate, compare, estimate

Values = Mapping[str, Sequence[float]]
"""Person -> a number of each of their pictures."""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        what: is measured.
        found: mean over people, or a difference between two ways with the same people.
        wanted: in words; empty where nothing was asked for.
        met: whether it is that.
        share: whether it is a share, to be written in per cent.
    """

    what: str
    found: Estimate | Difference
    wanted: str = ""
    met: bool | None = None
    share: bool = False


def row(what: str, values: Values, least: float | None = None, most: float | None = None, share: bool = True) -> Row:
    """A row of means, of which at least or at most so much is wanted."""
    found = estimate(values)
    assert found is not None
    for limit, word, met in ((least, "least", found.mean >= (least or 0)), (most, "most", found.mean <= (most or 0))):
        if limit is not None:
            return Row(what, found, f"at {word} {limit:{'.0%' if share else '.2f'}}", met, share)
    return Row(what, found, share=share)


def difference(what: str, first: Values, second: Values, sign: int = 0) -> Row:
    """A row of a paired difference, the first minus the second, which is to be above or below 0 with its interval."""
    found = compare(first, second)
    assert found is not None
    if not sign:
        return Row(what, found)
    nearest = found.low if sign > 0 else found.high
    return Row(what, found, "above 0" if sign > 0 else "below 0", nearest is not None and nearest * sign > 0)


def per_person(numbers: Sequence[float]) -> Values:
    """One number a person, in order."""
    return {name_of(person): [float(value)] for person, value in enumerate(numbers)}


def name_of(person: int) -> str:
    """As the table and files call a person."""
    return f"person-{person:05d}"
