"""The report's tables, in Markdown, each of what is measured."""

from collections.abc import Iterable, Sequence

from . import personal
from .measured import Measured
from .readings import (
    GROUPS,
    Number,
    Reading,
    correlation,
    correlation_difference,
    leak,
    leak_difference,
    nrmse,
    nrmse_difference,
    obey,
)
from .targets import ALL_STRENGTHS, checks
from .variants import STEPS
from .world import IDENTITY

NOT_RUN = "not run"
_END = ("full", "id_embed")

# What is held against the full recipe: variant, stage, the full recipe's stage, and what differs.
ABLATIONS = (
    ("no-base", "id_clip", "id_clip", "stage 1 left out, no Base-LoRA, end of stage 2"),
    ("no-base", "id_embed", "id_embed", "stage 1 left out, no Base-LoRA, end of stage 3"),
    ("full", "id_clip", "id_embed", "before stage 3, with fewer steps"),
    ("stage-2-only", "id_clip", "id_embed", "stage 3's steps given to stage 2"),
    ("no-stage-2", "id_embed", "id_embed", "stage 2's steps given to stage 3, which trains bases and queries too"),
    ("thawed", "id_embed", "id_embed", "bases and output train on in stage 3"),
    ("other-photo", "id_embed", "id_embed", "the reference is another photo than the target"),
)

# Where it is asked which of the two conditions carries the person: variant, stage, what it is.
CARRIERS = (
    ("full", "id_clip", "stage 2"),
    ("full", "id_embed", "stage 3"),
    ("stage-2-only", "id_clip", "stage 3's steps given to stage 2"),
    ("no-stage-2", "id_embed", "stage 2's steps given to stage 3"),
    ("other-photo", "id_embed", "the reference is another photo"),
    ("no-base", "id_embed", "no Base parts"),
)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; all but its first column stand right."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def targets(measured: Measured) -> str:
    """What was aimed at, and what came of it."""
    rows = []
    for each in checks(measured):
        number = NOT_RUN if each.number is None else str(each.number)
        seeds = ", ".join(map(str, each.seeds)) or "–"
        outcome = "–" if each.number is None else "met" if each.met else "**missed**"
        rows.append((each.target, each.wanted, number, seeds, outcome))
    return table(("target", "wanted", "measured (95%)", "seeds", "outcome"), rows)


def states(measured: Measured) -> str:
    """How each stage draws: who is in the pictures, and which background."""
    rows = []
    ways = [("no LoRA", measured.of_plain("none"), measured.of_plain("none, unprompted"), 1)]
    for name, variant, stage, way in (
        ("stage 1, Base", "full", "base", "base"),
        ("stage 1 at four times the learning rates, Base", "fast", "base", "base"),
        ("stage 2, ID", "full", "id_clip", "id"),
        ("stage 2, ID + Base", "full", "id_clip", "id + base"),
        ("stage 3, ID", "full", "id_embed", "id"),
        ("stage 3, ID + Base", "full", "id_embed", "id + base"),
    ):
        unprompted = measured.of(variant, stage, f"{way}, unprompted")
        ways.append((name, measured.of(variant, stage, way), unprompted, len(measured.seeds(variant, stage))))
    for name, prompted, unprompted, seeds in ways:
        if not prompted:
            rows.append((name, *[NOT_RUN] * 7))
            continue
        groups = [_short(nrmse(prompted, measured.truth, group)) for group in ("all", "colour", "geometry")]
        backgrounds = [of(prompted, measured.truth) for of in (obey, leak)] + [leak(unprompted, measured.truth)]
        rows.append((name, *groups, *map(_short, backgrounds), seeds))
    head = ("", "NRMSE, all ten", "colours", "geometry", "obeys", "leaks", "leaks, unprompted", "seeds")
    return table(head, rows)


def last_stage(measured: Measured) -> str:
    """What stage 3 adds to stage 2, in a sentence."""
    seeds = measured.seeds(*_END)
    if not seeds:
        return f"What stage 3 adds to stage 2: {NOT_RUN}."
    sides = [measured.of("full", stage, "id", seeds) for stage in ("id_embed", "id_clip")]
    off = [measured.of("full", stage, "id, CLIP off", seeds) for stage in ("id_embed", "id_clip")]
    changes = [_signed(nrmse_difference(*pair, measured.truth, "all")) for pair in (sides, off)]
    return (
        f"Stage 3 changes the NRMSE of all ten by {changes[0]} in {STEPS['id_embed']} steps; with CLIP off, where the "
        f"embedding is alone, by {changes[1]}."
    )


def parameters(measured: Measured) -> str:
    """Each of the ten, from what the judge cannot read to what the HyperLoRA makes."""
    truth = measured.truth
    columns: list[list[str]] = []
    for readings in (
        measured.of_plain("real"),
        measured.of_plain("words of the person"),
        measured.of_plain("none"),
        measured.of("full", "id_clip", "id"),
        measured.of(*_END, "id"),
        measured.of("thawed", "id_embed", "id"),
    ):
        columns.append([f"{nrmse(readings, truth, name).value:.2f}" if readings else NOT_RUN for name in GROUPS])
    end = measured.of(*_END, "id")
    columns.append([f"{correlation(end, truth, name).value:.2f}" if end else NOT_RUN for name in GROUPS])
    head = (
        "NRMSE",
        "judge, real",
        "base, told in words",
        "no LoRA",
        "stage 2",
        "stage 3",
        "thawed",
        "stage 3: correlation",
    )
    names = [name if name in IDENTITY else f"**{name}**" for name in GROUPS]
    return table(head, zip(names, *columns, strict=True))


def strengths(measured: Measured) -> str:
    """How strength tells."""
    rows = []
    for name in (*ALL_STRENGTHS, "id at 1.2"):
        readings = measured.of_plain(name) if name == "none" else measured.of(*_END, name)
        strength = {"none": "0", "id": "1"}.get(name, name.removeprefix("id at "))
        rows.append((strength, *_summary(readings, measured)))
    return table(("strength", "NRMSE, all ten", "colours", "geometry", "obeys", "leaks"), rows)


def deciders(measured: Measured) -> str:
    """Which of the two conditions decides, and what more photos add."""
    rows = []
    for name in ("id", "id, CLIP off", "id, embedding off", "id, CLIP of another", "id, 2 photos", "id, 4 photos"):
        readings = measured.of(*_END, name)
        colours = _short(correlation(readings, measured.truth, "colour")) if readings else NOT_RUN
        rows.append((name.replace("id", "ID", 1), colours, *_summary(readings, measured)))
    return table(("", "correlation, colours", "NRMSE, all ten", "colours", "geometry", "obeys", "leaks"), rows)


def carriers(measured: Measured) -> str:
    """Whether the face embedding or CLIP carries the person, by how the HyperLoRA was trained."""
    rows = []
    for variant, stage, what in CARRIERS:
        seeds = measured.seeds(variant, stage)
        ways = [measured.of(variant, stage, way, seeds) for way in ("id", "id, CLIP off", "id, embedding off")]
        if not all(ways):
            rows.append((what, *[NOT_RUN] * 4, "–"))
            continue
        truth = measured.truth
        colours = [_short(correlation(each, truth, "colour")) for each in ways]
        decides = _signed(correlation_difference(ways[1], ways[2], truth, "colour"))
        rows.append((what, *colours, decides, ", ".join(map(str, seeds))))
    head = ("correlation, colours", "ID", "CLIP off", "embedding off", "the embedding alone over CLIP alone", "seeds")
    return table(head, rows)


def ablations(measured: Measured) -> str:
    """Each variant, less the full recipe of the same seeds."""
    rows = []
    for variant, stage, other, what in ABLATIONS:
        seeds = tuple(sorted({*measured.seeds(variant, stage)} & {*measured.seeds("full", other)}))
        if not seeds:
            rows.append((what, *[NOT_RUN] * 5, "–"))
            continue
        ours, whole = (measured.of(*side, "id", seeds) for side in ((variant, stage), ("full", other)))
        plain = [measured.of(*side, "id, unprompted", seeds) for side in ((variant, stage), ("full", other))]
        truth = measured.truth
        rows.append(
            (
                what,
                _signed(nrmse_difference(ours, whole, truth, "all")),
                _signed(nrmse_difference(ours, whole, truth, "colour")),
                _signed(nrmse_difference(ours, whole, truth, "geometry")),
                _signed(correlation_difference(ours, whole, truth, "all")),
                _signed(leak_difference(plain[0], plain[1], truth)),
                ", ".join(map(str, seeds)),
            )
        )
    head = ("against the full recipe", "NRMSE, all ten", "colours", "geometry", "correlation, all", "leak, unprompted")
    return table((*head, "seeds"), rows)


def each_seed(measured: Measured) -> str:
    """The full recipe's end, seed by seed."""
    rows = []
    for seed in measured.seeds(*_END):
        readings = measured.of(*_END, "id", [seed])
        both = measured.of(*_END, "id + base, unprompted", [seed])
        rows.append((seed, *_summary(readings, measured), _short(leak(both, measured.truth))))
    head = ("seed", "NRMSE, all ten", "colours", "geometry", "obeys", "leaks", "ID + Base, unprompted: background")
    return table(head, rows or [(NOT_RUN, *["–"] * 6)])


def personalised(measured: Measured) -> str:
    """What training on a person's photos makes of the generated LoRA, and of nothing, step by step."""
    asked = personal.Recipe()
    rows = []
    for start in personal.STARTS:
        for rate in asked.rates:
            sides = [measured.of_personal(personal.way(start, rate, step)) for step in asked.marks]
            if not sides[0]:
                return f"{NOT_RUN.capitalize()}."
            truth = measured.truth.first(asked.people)
            rows.append(
                (
                    f"from {start}, {rate:g}",
                    *[_short(nrmse(side, truth, "all")) for side in sides],
                    *[f"{obey(side, truth).value:.2f}" for side in (sides[0], sides[-1])],
                )
            )
    marks = [f"after {step}" for step in asked.marks]
    head = ("begun, learning rate", *marks, "obeys at first", f"obeys after {asked.marks[-1]}")
    return table(head, rows)


def minutes(measured: Measured) -> str:
    """What training took."""
    rows = []
    for stage, steps in STEPS.items():
        done = measured.seeds("full", stage)
        rows.append((stage, steps, f"{measured.minutes('full', stage):.0f}" if done else NOT_RUN, len(done)))
    longest = measured.longest()
    told = (
        f"\n\nThe longest chain of stages ended with {longest[0]}: {longest[1]:.0f} minutes of one core."
        if longest
        else ""
    )
    return table(("stage", "steps of 16 samples", "minutes, mean", "seeds"), rows) + told


def _summary(readings: list[Reading], measured: Measured) -> list[str]:
    if not readings:
        return [NOT_RUN] * 5
    groups = [nrmse(readings, measured.truth, group) for group in ("all", "colour", "geometry")]
    return [_short(each) for each in (*groups, obey(readings, measured.truth), leak(readings, measured.truth))]


def _short(number: Number) -> str:
    return f"{number.value:.2f} ±{(number.high - number.low) / 2:.2f}"


def _signed(number: Number) -> str:
    return f"{number.value:+.2f} ({number.low:+.2f} … {number.high:+.2f})"
