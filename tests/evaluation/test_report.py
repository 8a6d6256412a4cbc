"""The report says what was measured: as a page in a real browser, as Markdown, as CSV."""

import csv
import html
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hyperlora_core.evaluation.lines import drawn_table, failure_table, remarks, speed_table
from hyperlora_core.evaluation.methods import chosen
from hyperlora_core.evaluation.plan import Person, Plan, Sweep, plan, read_persons
from hyperlora_core.evaluation.protocol import Protocol
from hyperlora_core.evaluation.report import MARKDOWN, PAGE, ROWS, SUMMARY, write
from hyperlora_core.evaluation.scoring import DONE, FAILED, Row, Scores
from hyperlora_core.evaluation.tables import PAPER, Evaluation, tables
from tests.support.pages import look

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
    drawn = plan(Protocol(), read_persons(folder), chosen(METHODS), [Sweep("weight", (0.4, 0.8))])
    numbers = np.random.default_rng(0)
    pictures = folder.parent / "evaluation" / "pictures"
    pictures.mkdir(parents=True)
    Image.fromarray(numbers.integers(0, 256, (96, 64, 3), dtype=np.uint8)).save(pictures / "one.png")
    better = {"hyperlora-full": 0.1}
    of_person = numbers.normal(size=PEOPLE) * 0.05
    rows = []
    for task in drawn.tasks:
        labels = task.labels
        names = [task.job.person] if labels["family"] != "none" else [person.name for person in drawn.people]
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
                "nodes": {"KSampler": 2.0, "CheckpointLoaderSimple": 3.0},
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
        hosts={"http://127.0.0.1:8188": "cuda:0 Some GPU, ComfyUI 0.30.0, PyTorch 2.14.1"},
    )


@pytest.fixture(scope="module")
def page_file(found):
    return write(found.plan.people[0].photos[0].parents[2] / "evaluation", found)


@pytest.mark.long
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


def test_each_is_compared_with_the_baseline_at_the_references_cfg_alone(found):
    names = [one.variant.method.name for one in found.tables.whole]
    assert [name for name in names if name.startswith("none")] == ["none@cfg=4.5", "none@cfg=5"]
    against = {one.variant.method.name: one.against for one in found.tables.whole}
    assert against["none@cfg=4.5"] == {} and set(against["none@cfg=5"]) >= {"clip_t_editable", "clip_t_style"}
    assert not any("id_sim" in key for key in against["none@cfg=5"])
    more = plan(
        found.plan.protocol,
        [Person(each.name, (*each.photos, *each.held_out)) for each in found.plan.people],
        chosen(METHODS),
        [Sweep("cfg", (2.0, 7.0))],
    )
    again = tables(more, found.rows, "hyperlora-id", {})
    assert [one.variant.method.name for one in again.whole] == names  # a sweep adds nothing to the main table
    assert set(again.frontiers()["cfg"]) == {"hyperlora-id", "hyperlora-full", "instantid"}
    full = next(one for one in again.whole if one.variant.family == "hyperlora-full")
    assert full.against == against["hyperlora-full"]


def test_what_each_is_drawn_with_is_told(found, page_file):
    lines = drawn_table(found)
    of = {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines}
    assert (of["InstantID"]["cfg"], of["InstantID"]["weight"], of["HyperLoRA Full"]["base_weight"]) == (
        "4.5",
        "0.8",
        "0.4",
    )
    assert of["HyperLoRA ID"]["checkpoint"] == "HelloWorldXL.safetensors" and of["No identity, CFG 5"]["photos"] == "-"
    text = (page_file.parent / MARKDOWN).read_text()
    assert "What each is drawn with" in text and "cuda:0 Some GPU" in text and "HelloWorldXL.safetensors, 1024" in text


def test_the_worst_stand_first(found, page_file):
    rows = [row for row in found.rows if row.method == "hyperlora-id" and row.group == "headshot"]
    worst = min(rows, key=lambda row: row.scores.id_sim)
    page = (page_file.parent / PAGE).read_text()
    strip = page[page.index("HyperLoRA ID: the headshots least like the person") :]
    caption = strip[strip.index("<figcaption>") :]
    assert caption.startswith(f"<figcaption>{html.escape(worst.person)}: {worst.prompt}, seed {worst.seed}<br>")
    assert "the pictures least like their prompts" in page and "the pictures that the person changed most" in page


def test_seconds_are_of_stages_cold_and_warm(found):
    (line,) = [line for line in speed_table(found.tables) if line[:2] == ["HyperLoRA ID", "others"]]
    first = next(line for line in speed_table(found.tables) if line[:2] == ["HyperLoRA ID", "first"])
    heading = speed_table(found.tables)[0]
    assert dict(zip(heading, first, strict=True))["load"] == "3.00" and first[heading.index("total")] == "5.00"
    assert dict(zip(heading, line, strict=True))["load"] == "-" and line[heading.index("total")] == "2.00"
    assert line[-1] == "8.0 GB"


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


def test_a_picture_that_variants_share_is_counted_once(found, page_file):
    pictures = found.pictures
    assert len(pictures) == len({task.key for task in found.plan.tasks}) < len(found.plan.tasks)
    page = (page_file.parent / PAGE).read_text()
    assert f"<b>{len(pictures) - 1:,}</b>pictures" in page and "<b>1</b>failed" in page
    (failed,) = failure_table(found)[1:]
    assert (failed[0], failed[-1]) == ("instantid", "<script>alert(1)</script>")
    text = (page_file.parent / MARKDOWN).read_text()
    assert "## Failures" in text and "| instantid | <b>person 0 |" in text and "wolf ears: portrait photo" in text


def test_a_column_is_corrected_for_those_that_have_it(found):
    """InstantID here has no edited pictures, as Arc2Face: there is one test fewer of them."""
    rows = [row for row in found.rows if row.method != "instantid" or row.group == "headshot"]
    again = {one.variant.method.name: one.against for one in tables(found.plan, rows, "hyperlora-id", {}).whole}
    full = again["hyperlora-full"]
    assert (full["id_sim_headshot"][0].tests, full["id_sim_editable"][0].tests) == (2, 1)
    assert full["id_sim_editable"][1] == full["id_sim_editable"][0].p and "id_sim_editable" not in again["instantid"]


def test_a_negative_prompt_is_told_where_it_is_not_the_same(found):
    assert "negative" not in drawn_table(found)[0]
    first = next(one for one in found.tables.summaries if one.variant.method.name == "instantid")
    other = replace(
        first, variant=replace(first.variant, method=first.variant.method.with_settings("x", "X", {"negative": ""}))
    )
    lines = drawn_table(replace(found, tables=replace(found.tables, summaries=(*found.tables.summaries, other))))
    place = lines[0].index("negative")
    assert lines[-1][place] == "" and lines[1][place] == Protocol().negative


def test_few_people_and_none_held_out_are_said(found):
    few = Plan(
        found.plan.protocol,
        tuple(Person(person.name, person.photos) for person in found.plan.people[:3]),
        found.plan.variants,
    )
    told = " ".join(remarks(replace(found, plan=few)))
    assert "of 3 people no difference between methods can be told from chance: 7 are the least" in told
    half = replace(few, people=(*few.people[:2], found.plan.people[2]))
    assert "1 of 3 people have photos that are held out" in " ".join(remarks(replace(found, plan=half)))
    assert "no person has a photo that was held out" in told and "1 pictures failed or are missing" in told
