"""The report says what was measured: as a page in a real browser, as Markdown, as CSV."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hyperlora_core.evaluation.methods import chosen
from hyperlora_core.evaluation.plan import Person, Plan, Sweep, plan
from hyperlora_core.evaluation.protocol import Protocol
from hyperlora_core.evaluation.report import MARKDOWN, PAGE, ROWS, SUMMARY, write
from hyperlora_core.evaluation.scoring import DONE, FAILED, Row, Scores
from hyperlora_core.evaluation.tables import PAPER, Evaluation, tables
from tests.pages import look

PEOPLE = 9
METHODS = ("hyperlora-id", "hyperlora-full", "none", "instantid")


@pytest.fixture(scope="module")
def found(photos, tmp_path_factory) -> Evaluation:
    """Of made-up scores: HyperLoRA Full is more like the person, InstantID the same, and a picture failed."""
    folder = tmp_path_factory.mktemp("people")
    for number in range(PEOPLE):
        (folder / f"<b>person {number}").mkdir()
        for name in ("obama", "biden"):
            Image.open(photos[name]).convert("RGB").resize((160, 200)).save(
                folder / f"<b>person {number}" / f"{name}.jpg"
            )
    drawn = plan(Protocol(), folder, chosen(METHODS), [Sweep("weight", (0.4, 0.8))])
    numbers = np.random.default_rng(0)
    pictures = folder.parent / "evaluation" / "pictures"
    pictures.mkdir(parents=True)
    Image.fromarray(numbers.integers(0, 256, (96, 64, 3), dtype=np.uint8)).save(pictures / "one.png")
    better = {"hyperlora-full": 0.1}
    of_person = numbers.normal(size=PEOPLE) * 0.05
    rows = []
    for task in drawn.tasks:
        labels = task.labels
        names = [task.job.person] if labels["method"] != "none" else [person.name for person in drawn.people]
        for name in names:
            mean = (
                0.5
                + better.get(labels["family"], 0)
                + of_person[int(name[-1])]
                + (labels["sweep"].get("weight") or 0) / 9
            )
            some = [float(value) for value in mean + numbers.normal(size=7) * 0.01]
            timing = {
                "cold": labels["seed"] == 1,
                "heard": True,
                "seconds": 2.5,
                "nodes": {"KSampler": 2.0},
                "peak_memory": 2**33,
            }
            asked = [labels[key] for key in ("group", "name", "prompt", "seed")]
            rows.append(Row(labels["method"], name, *asked, DONE, "one.png", "", Scores(*some), timing))
    lost = next(place for place, row in enumerate(rows) if row.method == "instantid")
    rows[lost] = replace(rows[lost], state=FAILED, picture="", error="<script>alert(1)</script>", scores=Scores())
    return Evaluation(
        plan=drawn,
        rows=rows,
        tables=tables(drawn, rows, "hyperlora-id", {"pulid": "its nodes ApplyPulid are not installed"}),
        folder="pictures",
        clip="ViT-L-14 (0123456789), by open_clip",
        judge="CurricularFace_Backbone.pth (0123456789)",
        remarks=["ID Sim is by CurricularFace_Backbone.pth (0123456789)"],
        servers=["http://127.0.0.1:8188"],
    )


@pytest.fixture(scope="module")
def page_file(found):
    return write(found.plan.people[0].photos[0].parents[2] / "evaluation", found)


@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_and_asks_for_nothing(page_file, width):
    seen = look(page_file, width, scrolling=".wide, .strip")
    assert seen.overflow <= 0 and seen.asked == [] and seen.said == []
    assert (seen.widths.count(0), seen.outside) == (0, 0) and seen.images > 100
    for text in (
        "HyperLoRA Full",
        "<b>person 3",
        "<script>alert(1)</script>",
        "method pulid was left out",
        "wolf ears",
        "Quoted",
    ):
        assert text in seen.text, text


def test_a_difference_is_told_and_none_is_not(found):
    against = {one.variant.method.name: one.against for one in found.tables.whole}
    better, corrected = against["hyperlora-full"]["id_sim_headshot"]
    assert better.tells and corrected < 0.05 and better.mean == pytest.approx(0.1, abs=0.01)
    assert not against["instantid"]["id_sim_headshot"][0].tells and against["hyperlora-id"] == {}


def test_markdown_and_csv_say_the_same(found, page_file):
    folder = page_file.parent
    text = (folder / MARKDOWN).read_text()
    full = next(one for one in found.tables.whole if one.variant.method.name == "hyperlora-full")
    cell = full.cells["id_sim_headshot"]
    assert f"| {cell.mean:.3f} [{cell.low:.3f}, {cell.high:.3f}] |" in text
    assert all(f"{PAPER['PuLID'][place]:.3f}" in text for place in range(4)) and "Quoted from HyperLoRA" in text
    rows = list(csv.DictReader(io.StringIO((folder / ROWS).read_text())))
    assert len(rows) == len(found.rows) and sum(row["state"] == "failed" for row in rows) == 1
    summary = list(csv.DictReader(io.StringIO((folder / SUMMARY).read_text())))
    (line,) = [
        one
        for one in summary
        if (one["method"], one["measure"], one["sweep"]) == ("hyperlora-full", "id_sim_headshot", "")
    ]
    assert float(line["mean"]) == pytest.approx(cell.mean, rel=1e-5) and int(line["people"]) == PEOPLE
    assert (folder / PAGE).stat().st_size < 20e6


def test_few_people_and_none_held_out_are_said(found):
    from hyperlora_core.evaluation.lines import remarks

    few = Plan(
        found.plan.protocol,
        tuple(Person(person.name, person.photos) for person in found.plan.people[:3]),
        found.plan.variants,
    )
    told = " ".join(remarks(replace(found, plan=few)))
    assert "of 3 people no difference between methods can be told from chance: 7 are the least" in told
    assert "no person has a photo that was held out" in told and "1 pictures failed or are missing" in told
