"""What a report says, as sentences and as tables of text: the first line of a table is its heading."""

from dataclasses import asdict

from ..version import __version__
from .methods import STAGES
from .protocol import FILLED
from .scoring import DONE, FAILED
from .statistics import LEVEL, Estimate, least_people
from .tables import COLUMNS, PAPER, PAPER_COLUMNS, PAPER_SECONDS, Column, Evaluation, Tables

Lines = list[list[str]]

COMMON = (*FILLED, "cfg")
"""Slots that the protocol fills for every method, and what each has of its own but should have a slot for."""

OWN = ("weight", "base_weight", "start", "end", "lora", "model", "provider")


def main_table(tables: Tables) -> Lines:
    lines = [["Method", *(column.title for column in COLUMNS), "Pictures"]]
    for summary in tables.whole:
        counts = f"{summary.drawn}" + (
            f" of {summary.drawn + summary.failed + summary.missing}" if summary.failed or summary.missing else ""
        )
        lines.append([summary.variant.method.title, *(_cell(summary.cells[column.key]) for column in COLUMNS), counts])
    return lines


def drawn_table(evaluation: Evaluation) -> Lines:
    """What each method is drawn with: its own, where the protocol does not say it."""
    methods = [summary.variant.method for summary in evaluation.tables.whole]
    values_of = {method.name: method.values_in(method.filled(evaluation.plan.protocol.values())) for method in methods}
    negatives = {values["negative"] for values in values_of.values() if "negative" in values}
    hidden = "negative" if len(negatives) < 2 else ""  # it is long, and mostly the same for all
    slots = [slot for slot in (*COMMON, *OWN) if slot != hidden]
    lines = [["Method", *slots, "photos"]]
    for summary in evaluation.tables.whole:
        method = summary.variant.method
        values = values_of[method.name]
        cells = [_value(values.get(slot)) for slot in slots]
        lines.append([method.title, *cells, str(summary.variant.photos or "-")])
    return lines


def _value(value: object) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:.3f}"
    return f"{estimate.mean:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def difference_table(tables: Tables) -> Lines:
    lines = [["Method", "Measure", "Difference", "p", "p, corrected", "Of how many people", "What it tells"]]
    for summary in tables.whole:
        for column in COLUMNS:
            if column.key in summary.against:
                difference, corrected = summary.against[column.key]
                interval = (
                    f" [{difference.low:+.3f}, {difference.high:+.3f}]"
                    if difference.low is not None and difference.high is not None
                    else ""
                )
                lines.append(
                    [
                        summary.variant.method.title,
                        column.title,
                        f"{difference.mean:+.3f}{interval}",
                        f"{difference.p:.4f}",
                        f"{corrected:.4f}",
                        str(difference.people),
                        difference.warning or _verdict(column, difference.mean, corrected),
                    ]
                )
    return lines


def _verdict(column: Column, mean: float, corrected: float) -> str:
    if corrected >= 1 - LEVEL:
        return "told from chance alone, not among so many methods"
    if column.more_is_better is None:
        return "told from chance"
    return "better" if (mean > 0) == column.more_is_better else "worse"


def sweep_tables(tables: Tables) -> list[tuple[str, Lines]]:
    columns = [
        column
        for column in COLUMNS
        if column.key in ("id_sim_headshot", "held_out_headshot", "clip_i_edit_editable", "clip_t_editable")
    ]
    sections = []
    for slot, families in tables.frontiers().items():
        lines = [["Method", slot, *(column.title for column in columns)]]
        for summaries in families.values():
            lines += [
                [
                    title_of(tables, summary.variant.family),
                    f"{summary.variant.value:g}",
                    *(_cell(summary.cells[column.key]) for column in columns),
                ]
                for summary in summaries
            ]
        sections.append((slot, lines))
    return sections


def speed_table(tables: Tables) -> Lines:
    lines = [["Method", "", *STAGES, "total", "Peak memory"]]
    for summary in tables.whole:
        for label, seconds in (("first", summary.cold), ("others", summary.warm)):  # the others load nothing
            if seconds:
                peak = f"{summary.peak_memory / 2**30:.1f} GB" if summary.peak_memory and label == "others" else "-"
                stages = [f"{seconds[stage]:.2f}" if stage in seconds else "-" for stage in (*STAGES, "total")]
                lines.append([summary.variant.method.title, label, *stages, peak])
    return lines


def paper_table() -> Lines:
    return [["Method", *PAPER_COLUMNS]] + [
        [name, *("-" if value is None else f"{value:.3f}" for value in numbers)] for name, numbers in PAPER.items()
    ]


def paper_speed_table() -> Lines:
    return [["Method", "preprocessing", "inference", "total"]] + [
        [name, *(f"{value:.2f}" for value in numbers)] for name, numbers in PAPER_SECONDS.items()
    ]


def failure_table(evaluation: Evaluation) -> Lines:
    return [["Method", "Person", "Prompt", "Seed", "Why"]] + [
        [row.method, row.person if row.method in evaluation.plan.of_people else "-", row.name, str(row.seed), row.error]
        for row in evaluation.pictures
        if row.state == FAILED
    ]


def made_table(evaluation: Evaluation) -> Lines:
    lines = [["What", "With"], ["hyperlora", __version__], ["CLIP", evaluation.clip], ["Faces", evaluation.judge]]
    lines += [["Server", f"{url}: {host}"] for url, host in evaluation.hosts.items()]
    for name, value in asdict(evaluation.plan.protocol).items():
        if name == "prompts":
            cell = "; ".join(f"{prompt['name']}: {prompt['text']}" for prompt in value)
        else:
            cell = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        lines.append([name, cell])
    for summary in evaluation.tables.whole:
        method = summary.variant.method
        own = ", ".join(f"{key} {value}" for key, value in method.settings.items())
        lines.append([method.title, " ".join(filter(None, [method.about, method.source, own]))])
    return lines


def title_of(tables: Tables, name: str) -> str:
    return next(
        (summary.variant.method.title for summary in tables.summaries if summary.variant.method.name == name), name
    )


def sentence(evaluation: Evaluation) -> str:
    protocol = evaluation.plan.protocol
    model = protocol.checkpoint or "Each workflow's own base model"
    return (
        f"{model}, {protocol.width} x {protocol.height}, {protocol.sampler} {protocol.scheduler}, steps: "
        f"{protocol.steps}; the same prompts and seeds for every method, each at its own CFG, see below. "
        f"CLIP: {evaluation.clip}. Faces: {evaluation.judge}. Intervals hold the mean over people at {LEVEL:.0%}."
    )


def remarks(evaluation: Evaluation) -> list[str]:
    sentences = list(evaluation.remarks)
    sentences += [f"the method {name} was left out: {why}" for name, why in evaluation.tables.unavailable.items()]
    people = len(evaluation.plan.people)
    least = least_people(sum(summary.variant.method.identity for summary in evaluation.tables.whole) - 1)
    if people < least:
        sentences.append(
            f"of {people} people no difference between methods can be told from chance: {least} are the least"
        )
    with_held_out = sum(bool(person.held_out) for person in evaluation.plan.people)
    if not with_held_out:
        sentences.append("no person has a photo that was held out: whether a method copies the photo cannot be told")
    if 0 < with_held_out < people:
        sentences.append(
            f"{with_held_out} of {people} people have photos that are held out: "
            "what is compared with those is of them alone"
        )
    if with_held_out:
        blind = [summary.variant.method for summary in evaluation.tables.whole if summary.variant.method.identity]
        sentences += [
            f"{method.title} is given no photo here: if it was trained on photos that are held out, they flatter it"
            for method in blind
            if not method.photos
        ]
    untimed = len({row.picture for row in evaluation.rows if row.state == DONE and not (row.timing or {}).get("heard")})
    if untimed:
        sentences.append(
            f"{untimed} pictures were not timed: the server's events were not heard, or the run was killed there"
        )
    if len(evaluation.hosts) > 1:
        sentences.append(
            f"{len(evaluation.hosts)} servers drew: seconds of methods can be compared if the servers are alike"
        )
    for summary in evaluation.tables.whole:
        method = summary.variant.method
        lacking = [slot for slot in COMMON if slot not in method.slots and not (slot == "cfg" and not method.identity)]
        if lacking:
            sentences.append(
                f"{method.title} has no slot for {', '.join(lacking)}: there it is drawn as its workflow says"
            )
    enough = {
        summary.variant.family: (len(summary.variant.draws(evaluation.plan.people)), summary.variant.least)
        for summary in evaluation.tables.summaries
        if summary.variant.least
    }
    sentences += [
        f"{title_of(evaluation.tables, family)} over photos is of {count} of {people} people, who have {least} photos"
        for family, (count, least) in enough.items()
        if count < people
    ]
    lost = {summary.variant.method.title: summary.failed + summary.missing for summary in evaluation.tables.summaries}
    for title, count in lost.items():
        if count:
            sentences.append(f"{title}: {count} pictures failed or are missing; its means are of the others")
    return sentences
