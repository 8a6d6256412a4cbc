"""The targets that were set before the real runs, and whether they are met."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .measured import Measured
from .readings import (
    Number,
    correlation,
    correlation_difference,
    leak,
    leak_difference,
    nrmse,
    nrmse_difference,
    obey,
)

ALL_STRENGTHS = ("none", "id at 0.25", "id at 0.5", "id at 0.75", "id")


@dataclass(frozen=True)
class Check:
    """One number that a target asks for.

    Attributes:
        target: in words.
        wanted: in words.
        number: what was measured; None where it was not.
        met: whether it is as wanted.
        seeds: it was measured with.
    """

    target: str
    wanted: str
    number: Number | None
    met: bool
    seeds: tuple[int, ...] = ()


def checks(measured: Measured) -> Iterator[Check]:
    """All targets, in order."""
    truth = measured.truth
    end = ("full", "id_embed")
    seeds = tuple(measured.seeds(*end))
    none = measured.of_plain("none")
    ids = measured.of(*end, "id")
    base_unprompted = measured.of("full", "base", "base, unprompted")
    base = measured.of("full", "base", "base")
    base_seeds = tuple(measured.seeds("full", "base"))

    def check(
        target: str,
        wanted: str,
        ready: bool,
        number: Callable[[], Number],
        met: Callable[[float], bool],
        of: tuple[int, ...] = seeds,
    ) -> Check:
        if not ready:
            return Check(target, wanted, None, False)
        found = number()
        return Check(target, wanted, found, met(found.value), of)

    yield check(
        "1. no LoRA: NRMSE of all ten",
        "1.25 to 1.5",
        bool(none),
        lambda: nrmse(none, truth, "all"),
        lambda value: 1.25 <= value <= 1.5,
        (),
    )
    yield check("1. no LoRA: obeys the prompt", "≥ 0.9", bool(none), lambda: obey(none, truth), _at_least(0.9), ())
    yield check(
        "2. stage 1: background, unprompted",
        "≥ 0.6",
        bool(base_unprompted),
        lambda: leak(base_unprompted, truth),
        _at_least(0.6),
        base_seeds,
    )
    yield check(
        "2. stage 1: identity's correlation moves by",
        "< 0.08",
        bool(base and none),
        lambda: correlation_difference(base, none, truth, "all"),
        lambda value: abs(value) < 0.08,
        base_seeds,
    )
    yield check(
        "3. ID-LoRA: NRMSE of colours", "≤ 0.85", bool(ids), lambda: nrmse(ids, truth, "colour"), _at_most(0.85)
    )
    yield check(
        "3. ID-LoRA: correlation of colours",
        "≥ 0.65",
        bool(ids),
        lambda: correlation(ids, truth, "colour"),
        _at_least(0.65),
    )
    yield check("3. ID-LoRA: obeys the prompt", "≥ 0.85", bool(ids), lambda: obey(ids, truth), _at_least(0.85))
    shared = tuple(sorted({*measured.seeds("no-base", "id_clip")} & {*measured.seeds("full", "id_clip")}))
    way = "id, unprompted"
    leaks = [measured.of(variant, "id_clip", way, shared) for variant in ("no-base", "full")]
    yield check(
        "4. without Base, end of stage 2: unprompted leak higher by",
        "≥ 0.2",
        bool(shared),
        lambda: leak_difference(leaks[0], leaks[1], truth),
        _at_least(0.2),
        shared,
    )
    steps = [measured.of(*end, strength) for strength in ALL_STRENGTHS[1:]]
    for before, after, name, other in zip([none, *steps], steps, ALL_STRENGTHS[1:], ALL_STRENGTHS, strict=False):
        yield check(
            f"5. colours' NRMSE, {name.replace('id', 'ID')} against {other.replace('id', 'ID')}",
            "falls",
            bool(before and after),
            lambda before=before, after=after: nrmse_difference(after, before, truth, "colour"),
            lambda value: value < 0,
        )
    off = [measured.of(*end, f"id, {what} off") for what in ("CLIP", "embedding")]
    yield check(
        "6. CLIP off against embedding off: correlation of colours higher by",
        "≥ 0.2",
        bool(off[0]),
        lambda: correlation_difference(off[0], off[1], truth, "colour"),
        _at_least(0.2),
    )
    both = measured.of(*end, "id + base, unprompted")
    yield check("7. ID + Base, unprompted: background", "≥ 0.8", bool(both), lambda: leak(both, truth), _at_least(0.8))
    yield check("Beyond: NRMSE of all ten", "≤ 0.6", bool(ids), lambda: nrmse(ids, truth, "all"), _at_most(0.6))


def _at_least(low: float) -> Callable[[float], bool]:
    return lambda value: value >= low


def _at_most(high: float) -> Callable[[float], bool]:
    return lambda value: value <= high
