"""What an evaluation came to: means over people with intervals, tests between methods, seconds, frontiers of sweeps."""

import statistics
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from .methods import BASELINE, STAGES, Method
from .plan import Plan, Variant
from .protocol import EDITABLE, GROUPS, HEADSHOT, STYLE
from .scoring import DONE, FAILED, Row
from .statistics import Difference, Estimate, adjusted, compare, estimate

Cell = tuple[str, str, int]
"""Person, prompt's name, seed."""

Cells = dict[Cell, float]


@dataclass(frozen=True)
class Column:
    """Something measured of some of the prompts.

    Attributes:
        metric: a field of ``Scores``.
        groups: of prompts.
        title: of the column.
        about: what it is.
        more_is_better: whether a larger number is better; None where neither is.
        of_person: whether it says nothing of pictures that show nobody in particular.
    """

    metric: str
    groups: tuple[str, ...]
    title: str
    about: str
    more_is_better: bool | None = True
    of_person: bool = True

    @property
    def key(self) -> str:
        """Its name in files."""
        return "_".join((self.metric, *(() if self.groups == GROUPS else self.groups)))


COLUMNS = (
    Column("clip_i", (HEADSHOT,), "CLIP-I fidelity", "headshots against the photos that are given to methods"),
    Column("id_sim", (HEADSHOT,), "ID Sim", "their faces against those photos' faces; 0 where there is no face"),
    Column("held_out", (HEADSHOT,), "ID Sim, held out", "their faces against photos that are given to no method"),
    Column(
        "copy_paste", (HEADSHOT,), "Copy-paste", "ID Sim minus ID Sim of held-out photos, where there is a face", None
    ),
    Column(
        "clip_i_edit",
        (EDITABLE,),
        "CLIP-I editability",
        "the editable prompts against the same prompt and seed without a person",
    ),
    Column("clip_t", (EDITABLE,), "CLIP-T", "the editable prompts' pictures against their prompts", of_person=False),
    Column("id_sim", (EDITABLE,), "ID Sim, edited", "faces on the editable prompts' pictures"),
    Column("clip_t", (STYLE,), "CLIP-T, styles", "pictures in a style against their prompts", of_person=False),
    Column("face_found", GROUPS, "Face found", "part of all pictures on which a face is found", of_person=False),
)

PAPER = {
    "IP-Adapter-FaceID-Portrait": (0.764, 0.566, 0.725, 0.244),
    "InstantID": (0.734, 0.681, 0.688, 0.237),
    "PuLID": (0.771, 0.613, 0.805, 0.259),
    "Arc2Face": (0.786, 0.643, None, None),
    "HyperLoRA Full": (0.853, 0.678, 0.710, 0.243),
    "HyperLoRA ID": (0.831, 0.625, 0.748, 0.252),
}
PAPER_COLUMNS = ("CLIP-I fidelity", "ID Sim", "CLIP-I editability", "CLIP-T")
PAPER_SECONDS = {
    "IP-Adapter": (2.996, 6.148, 9.144),
    "InstantID": (0.758, 8.037, 8.795),
    "PuLID": (0.236, 6.616, 6.852),
    "HyperLoRA": (1.143, 4.327, 5.470),
}
PAPER_NOTE = (
    "Quoted from HyperLoRA (Li et al., CVPR 2025, arXiv 2503.16944) as a secondary source gives it: HelloWorld XL, "
    "Unsplash-50, CurricularFace. Not measured here, and not to be compared number by number with another CLIP, face "
    "embedder, set of people or prompts."
)
SPEED_NOTE = (
    "Medians, by the server's own events: of the first picture of a method on a server, which lets go of all models "
    "before, and of the others, whose loading again after another method is left out. A stage that came from "
    "ComfyUI's cache is left out of its median, - where none ran; the total is the sum of the stages shown. Stages "
    "are nodes: where one node finds the face, encodes and applies, as the rivals' do, all of it is apply; moving "
    "models to the device and patching their weights is sample, in which Arc2Face's node also loads and decodes. Face "
    "models that a pack keeps by itself stay loaded. Memory is what was seen of the device's, - where the server "
    "computes on a CPU."
)


@dataclass(frozen=True)
class Summary:
    """One method, or one at a value of a sweep.

    Attributes:
        variant: which.
        cells: a column's key -> its estimate; None where nothing was measured.
        against: a column's key -> the difference to the method compared with, and its p after Holm's correction.
        drawn, failed, missing: pictures.
        cold, warm: stage -> seconds of a picture, the median; of the first on each server, and of the others.
        peak_memory: bytes of the device, the most; None where no server tells.
    """

    variant: Variant
    cells: Mapping[str, Estimate | None]
    against: Mapping[str, tuple[Difference, float]]
    drawn: int
    failed: int
    missing: int
    cold: Mapping[str, float]
    warm: Mapping[str, float]
    peak_memory: int | None


@dataclass(frozen=True)
class Tables:
    """All of it.

    Attributes:
        summaries: in the order of the plan.
        reference: the method that the others are compared with.
        unavailable: methods that were left out -> why.
    """

    summaries: tuple[Summary, ...]
    reference: str
    unavailable: Mapping[str, str]

    @property
    def whole(self) -> list[Summary]:
        """Of the methods as they are, without sweeps."""
        return [summary for summary in self.summaries if not summary.variant.sweep]

    def frontiers(self) -> dict[str, dict[str, list[Summary]]]:
        """Swept slot -> family -> its summaries, by the slot's value."""
        swept: dict[str, dict[str, list[Summary]]] = {}
        for summary in self.summaries:
            variant = summary.variant
            if variant.sweep and variant.method.identity:
                swept.setdefault(variant.sweep, {}).setdefault(variant.family, []).append(summary)
        for families in swept.values():
            for summaries in families.values():
                summaries.sort(key=lambda summary: summary.variant.value or 0)
        return swept


@dataclass(frozen=True)
class Evaluation:
    """All that a report is made of.

    Attributes:
        plan: what was to be drawn.
        rows: what was measured.
        tables: what it comes to.
        folder: below the report's, that the rows' pictures lie in.
        clip, judge: which models scored.
        remarks: what is to be known of it all.
        hosts: where it was drawn: servers' addresses -> what computes there.
    """

    plan: Plan
    rows: Sequence[Row]
    tables: Tables
    folder: str
    clip: str
    judge: str
    remarks: Sequence[str]
    hosts: Mapping[str, str]

    @cached_property
    def pictures(self) -> list[Row]:
        """One row for each picture: where people or variants share it, the first's."""

        def place(method: str, person: str, name: str, seed: int) -> tuple[str, str, str, int]:
            return method, person if method in self.plan.of_people else "", name, seed

        keys = {
            place(task.labels["method"], task.job.person, task.labels["name"], task.labels["seed"]): task.key
            for task in self.plan.tasks
        }
        first_rows: dict[str, Row] = {}
        for row in self.rows:
            first_rows.setdefault(keys[place(row.method, row.person, row.name, row.seed)], row)
        return list(first_rows.values())


def tables(plan: Plan, rows: Sequence[Row], reference: str, unavailable: Mapping[str, str]) -> Tables:
    """Sum up what was measured.

    Args:
        plan: what was to be drawn.
        rows: what was measured.
        reference: the method that the others are compared with.
        unavailable: methods that were left out -> why.
    """
    by_method: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.method, row.person, row.name, row.seed)):
        by_method.setdefault(row.method, []).append(row)
    measured = {
        name: {column.key: _cells(method_rows, column) for column in COLUMNS} for name, method_rows in by_method.items()
    }
    against = _differences(measured, reference, [variant for variant in plan.variants if not variant.sweep])
    return Tables(
        tuple(
            _summary(variant, by_method.get(variant.method.name, []), measured, against.get(variant.method.name, {}))
            for variant in plan.variants
        ),
        reference,
        unavailable,
    )


def _cells(rows: Sequence[Row], column: Column) -> Cells:
    """What was measured of each picture."""
    cells = {}
    for row in rows:
        value = getattr(row.scores, column.metric)
        if row.group in column.groups and value is not None:
            cells[row.person, row.name, row.seed] = value
    return cells


def _by_person(cells: Cells, shared: Container[Cell] | None = None) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for cell, value in cells.items():
        if shared is None or cell in shared:
            values.setdefault(cell[0], []).append(value)
    return values


def _differences(
    measured: Mapping[str, Mapping[str, Cells]], reference: str, variants: Sequence[Variant]
) -> dict[str, dict[str, tuple[Difference, float]]]:
    """Of each method and column to the reference, on the pictures that both have; p corrected for all methods."""
    differences: dict[str, dict[str, tuple[Difference, float]]] = {variant.method.name: {} for variant in variants}
    baseline = next((variant.baseline for variant in variants if variant.method.name == reference), "")
    for column in COLUMNS:
        names = [
            variant.method.name
            for variant in variants
            if (variant.method.identity and variant.method.name != reference)
            or (variant.method.name == baseline and not column.of_person)
        ]
        theirs = measured[reference][column.key] if reference in measured else {}
        shared = {name: measured[name][column.key].keys() & theirs.keys() for name in names if name in measured}
        compared = {name: cells for name, cells in shared.items() if cells}
        tests = {}
        for name, cells in compared.items():
            ours = _by_person(measured[name][column.key], cells)
            difference = compare(ours, _by_person(theirs, cells), len(compared))
            if difference is not None:
                tests[name] = difference
        corrected = adjusted({name: difference.p for name, difference in tests.items()})
        for name, difference in tests.items():
            differences[name][column.key] = (difference, corrected[name])
    return differences


def _summary(
    variant: Variant,
    rows: Sequence[Row],
    measured: Mapping[str, Mapping[str, Cells]],
    against: Mapping[str, tuple[Difference, float]],
) -> Summary:
    name = variant.method.name
    once = list({(row.person if variant.method.identity else "", row.name, row.seed): row for row in rows}.values())
    timings = [row.timing for row in once if row.timing and row.timing.get("heard")]
    peaks = [row.timing["peak_memory"] for row in once if row.timing and row.timing.get("peak_memory")]
    return Summary(
        variant,
        {
            column.key: _estimate(measured[name][column.key], variant) if name in measured else None
            for column in COLUMNS
        },
        against,
        sum(row.state == DONE for row in once),
        sum(row.state == FAILED for row in once),
        sum(row.state not in (DONE, FAILED) for row in once),
        _seconds(variant.method, [timing for timing in timings if timing["cold"]]),
        _seconds(variant.method, [timing for timing in timings if not timing["cold"]], without=("load",)),
        max(peaks, default=None),
    )


def _estimate(cells: Cells, variant: Variant) -> Estimate | None:
    """An interval over people says nothing of pictures that are the same for all of them."""
    interval = estimate(_by_person(cells))
    return interval if interval is None or variant.method.identity else replace(interval, low=None, high=None)


def _seconds(method: Method, timings: Sequence[Mapping], without: Container[str] = ()) -> dict[str, float]:
    """Stage -> the median of the pictures for which it ran, and their sum; one that came from a cache is absent.

    Without stages of which a picture now and then tells nothing: a model is loaded again after another method.
    """
    seconds_of: dict[str, list[float]] = {}
    for timing in timings:
        stages: dict[str, float] = {}
        for kind, seconds in timing["nodes"].items():
            stage = method.stage_of(kind)
            stages[stage] = stages.get(stage, 0.0) + seconds
        for stage, seconds in stages.items():
            seconds_of.setdefault(stage, []).append(seconds)
    medians = {
        stage: statistics.median(seconds_of[stage]) for stage in STAGES if stage in seconds_of and stage not in without
    }
    return medians | ({"total": sum(medians.values())} if medians else {})


def default_reference(methods: Sequence[Method]) -> str:
    """HyperLoRA's own, or else the first that draws a person by prompts."""
    drawing = [method for method in methods if method.identity]
    names = [method.name for method in sorted(drawing, key=lambda method: method.fidelity_only)]
    return "hyperlora-id" if "hyperlora-id" in names else [*names, BASELINE][0]
