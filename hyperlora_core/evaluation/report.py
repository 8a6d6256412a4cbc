"""The report of an evaluation: a page, the same as Markdown, and CSV of pictures and of means."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..files import atomic
from .lines import (
    difference_table,
    drawn_table,
    failure_table,
    made_table,
    main_table,
    paper_speed_table,
    paper_table,
    remarks,
    sentence,
    speed_table,
    sweep_tables,
    title_of,
)
from .page import page
from .scoring import METRICS, Row
from .tables import COLUMNS, PAPER_NOTE, SPEED_NOTE, Evaluation, Tables

PAGE, MARKDOWN, ROWS, SUMMARY = "report.html", "report.md", "pictures.csv", "summary.csv"


def write(folder: Path, evaluation: Evaluation) -> Path:
    """Write the page, the Markdown and both CSV files.

    Args:
        folder: of the evaluation; the pictures lie below it.
        evaluation: what the report is made of.

    Returns:
        The page.

    Raises:
        HyperLoRAError: one of them cannot be written.
    """
    atomic.write_text(folder / ROWS, rows_csv(evaluation.rows))
    atomic.write_text(folder / SUMMARY, summary_csv(evaluation.tables))
    atomic.write_text(folder / MARKDOWN, markdown(evaluation))
    atomic.write_text(folder / PAGE, page(folder, evaluation))
    return folder / PAGE


def rows_csv(rows: Iterable[Row]) -> str:
    """A line for each picture and person."""
    names = ["method", "person", "group", "name", "prompt", "seed", "state", "picture", "error"]
    lines = [
        [*(getattr(row, name) for name in names), *(_bare(getattr(row.scores, metric)) for metric in METRICS)]
        for row in sorted(rows, key=lambda row: (row.method, row.person, row.name, row.seed))
    ]
    return _csv([[*names, *METRICS], *lines])


def summary_csv(tables: Tables) -> str:
    """A line for each method and column."""
    heading = ["method", "sweep", "value", "measure", "mean", "low", "high", "people", "pictures"]
    heading += ["difference", "difference_low", "difference_high", "p", "p_corrected"]
    lines = []
    for summary in tables.summaries:
        variant = summary.variant
        for column in COLUMNS:
            cell, against = summary.cells[column.key], summary.against.get(column.key)
            if cell is None:
                continue
            line: list[Any] = [variant.method.name, variant.sweep, _bare(variant.value), column.key]
            line += [_bare(value) for value in (cell.mean, cell.low, cell.high)] + [cell.people, cell.pictures]
            if against is not None:
                difference, corrected = against
                line += map(_bare, (difference.mean, difference.low, difference.high, difference.p, corrected))
            lines.append(line)
    return _csv([heading, *lines])


def markdown(evaluation: Evaluation) -> str:
    """The tables, without pictures."""
    parts = ["# Identity methods compared", "", sentence(evaluation), ""]
    parts += [f"- {remark}" for remark in remarks(evaluation)] + [""]
    parts += ["## Methods", "", *_markdown_table(main_table(evaluation.tables)), ""]
    parts += [f"- **{column.title}**: {column.about}" for column in COLUMNS] + [""]
    parts += ["### The paper's table, quoted", "", *_markdown_table(paper_table()), "", PAPER_NOTE, ""]
    parts += ["## What each is drawn with", "", *_markdown_table(drawn_table(evaluation)), ""]
    differences = difference_table(evaluation.tables)
    if differences[1:]:
        parts += [
            f"## Against {title_of(evaluation.tables, evaluation.tables.reference)}",
            "",
            *_markdown_table(differences),
            "",
        ]
    for slot, table in sweep_tables(evaluation.tables):
        parts += [f"## Sweep of {slot}", "", *_markdown_table(table), ""]
    parts += ["## Seconds a picture", "", *_markdown_table(speed_table(evaluation.tables)), "", SPEED_NOTE, ""]
    parts += ["### The paper's seconds, quoted", "", *_markdown_table(paper_speed_table()), ""]
    failures = failure_table(evaluation)
    if failures[1:]:
        parts += ["## Failures", "", *_markdown_table(failures), ""]
    parts += ["## Made with", "", *_markdown_table(made_table(evaluation)), ""]
    return "\n".join(parts)


def _markdown_table(lines: Sequence[Sequence[str]]) -> list[str]:
    clean = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return [
        f"| {' | '.join(clean[0])} |",
        f"|{'|'.join(' --- ' for _ in clean[0])}|",
        *(f"| {' | '.join(line)} |" for line in clean[1:]),
    ]


def _csv(lines: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()


def _bare(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
