"""What docs/EVALUATION.md shows: a method of one's own as the command reads it, and the numbers of the example."""

import json
import re

from hyperlora_core.evaluation.methods import read_method
from tests.documents import reading

DOCUMENT = "docs/EVALUATION.md"


def test_its_method_is_read(tmp_path):
    (block,) = reading.blocks(DOCUMENT, "json")
    description = json.loads(block.text)
    workflow: dict[str, dict[str, object]] = {}
    for number, slot in enumerate(description["slots"].values()):
        title, _, name = slot.partition(".")
        node = {"class_type": title.replace(" ", ""), "inputs": {}, "_meta": {"title": title}}
        workflow.setdefault(title, node)["inputs"][name] = number
    workflow["Save"] = {"class_type": "SaveImage", "inputs": {"images": ["KSampler", 0]}, "_meta": {"title": "Save"}}
    for classes in description["stages"].values():
        workflow |= {name: {"class_type": name, "inputs": {}, "_meta": {"title": f"{name}'s"}} for name in classes}
    (tmp_path / description["workflow"]).write_text(json.dumps(workflow))
    (tmp_path / "mine.json").write_text(block.text)
    method = read_method(tmp_path / "mine.json")
    assert method.title == "Mine" and set(method.slots) == set(description["slots"])


def test_its_numbers_are_those_of_the_report():
    table = reading.read("docs/example_report/report.md").partition("## Methods\n\n")[2].partition("\n\n")[0]
    report = {line.split("|")[1].strip(): line for line in table.splitlines()}
    rows = re.findall(r"^\| ([^|]+) \| ([-\d.]+) (.+)$", reading.read(DOCUMENT), re.MULTILINE)
    assert len(rows) == 4
    for title, fidelity, cells in rows:
        for number in re.findall(r"\d\.\d{3}", fidelity + cells):
            assert number in report[title], f"{title}: {number}"
