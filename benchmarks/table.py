"""The table of ``docs/BENCHMARKS.md``, out of the JSON that ``make bench`` wrote."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .measure import Spread
from .rows import Row

DOCUMENT = Path(__file__).parent.parent / "docs" / "BENCHMARKS.md"
RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- make bench -->", "<!-- end -->"


def markdown(result: Mapping[str, Any]) -> str:
    """The machine, the rows and the growth, as Markdown."""
    machine = result["machine"]
    lines = [
        f"{machine['name']}; {machine['gflops']:.0f} GFLOP/s of matrix products in single precision, "
        f"{machine['bandwidth']:.0f} GB/s of reading.",
        "",
        "| | median (quartiles) | wanted | ours / other |",
        "|---|---|---|---|",
    ]
    lines += [_line(_row(entry)) for entry in result["rows"]]
    growth = ["```text", *result["growth"], "```"]
    return "\n".join(
        [*lines, "", "Tokens to LoRA as it grows (20 of the 140 attentions), and straight lines:", "", *growth]
    )


def _row(entry: Mapping[str, Any]) -> Row:
    spreads = {key: Spread(**entry[key]) for key in ("value", "cpu") if entry[key] is not None}
    return Row(**{**entry, **spreads, "profile": tuple(entry["profile"])})


def _line(row: Row) -> str:
    unit = f" {row.unit}" if row.unit else ""
    median, low, high = (_number(value) for value in (row.value.median, row.value.low, row.value.high))
    wanted = "" if row.required is None else f"{row.required:g}{unit}{', **missed**' if row.short else ''}"
    name = f"&nbsp;&nbsp;{row.name.strip()}" if row.name.startswith(" ") else row.name
    return f"| {name} | {median}{unit} ({low} .. {high}) | {wanted} | {row.sides} |"


def _number(value: float) -> str:
    return (
        f"{value:.0f}" if abs(value) >= 10 else f"{value:.3f}" if abs(value) >= 1e-3 or value == 0 else f"{value:.0e}"
    )


def put_into_document(device: str = "cpu") -> None:
    """Put the table of a device's JSON between the marks in ``DOCUMENT``."""
    result = json.loads((RESULTS / f"{device}.json").read_text())
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{markdown(result)}\n{END}{after}")
