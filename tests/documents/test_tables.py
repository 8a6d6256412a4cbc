"""A table that a command writes says so, and names the command."""

import re

import pytest

from tests.documents import reading

WRITTEN = {
    "benchmarks/results/toy_world/report.md": "make toy-world",
    "demo/weights/RESULTS.md": "make demo-results",
    "docs/BENCHMARKS.md": "make bench",
    "docs/COMPATIBILITY.md": "make test-hosts",
    "docs/example_report/report.md": "make demo-report",
}
"""Document -> the command that writes it, or a table in it."""


@pytest.mark.parametrize("document", WRITTEN)
def test_it_names_its_command(document):
    sentence = rf"\b[Bb]y `{WRITTEN[document]}`|`{WRITTEN[document]}`.{{0,400}}written by it"
    assert re.search(sentence, reading.read(document), re.DOTALL)


def test_marked_tables_are_known():
    marks = {
        document: command
        for document in reading.documents()
        for command in re.findall(r"^<!-- (make [\w-]+) -->$", reading.read(document), re.MULTILINE)
    }
    assert marks.items() <= WRITTEN.items() and len(marks) == 2
