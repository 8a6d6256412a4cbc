"""The table of docs/BENCHMARKS.md is what ``make bench`` measured."""

import json

from benchmarks.table import BEGIN, DOCUMENT, END, RESULTS, markdown


def test_the_table_is_the_last_measurement():
    result = json.loads((RESULTS / "cpu.json").read_text())
    table = DOCUMENT.read_text().partition(BEGIN)[2].partition(END)[0].strip()
    assert table == markdown(result).strip()
    assert len(result["rows"]) >= 18 and len(result["growth"]) == 3
    for row in result["rows"]:
        if row["required"] is not None and row["value"]["median"] > row["required"]:
            assert "**missed**" in next(line for line in table.splitlines() if row["name"].strip() in line)
