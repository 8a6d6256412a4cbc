"""What each node does to a portrait, measured by likeness: the demo's trained models on a real server."""

import csv
import json
import subprocess
import sys
from statistics import fmean

import pytest
from PIL import Image

from demo import play
from demo.compared import __main__ as compared
from demo.drawn import judge, scenes
from demo.server import PACK, ComfyServer
from demo.shown import examples, material, world
from demo.shown.studies import STUDIES
from demo.shown.studio import SIZE, Studio, workflow
from demo.trained import folders
from tests.evaluation.towers import clip_folder

PEOPLE, STEPS = 5, 8
PAIR = (3, 12)


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Studio:
    """A server with the demo's models and an empty output folder."""
    with ComfyServer(tmp_path_factory.mktemp("effects"), folders.models()) as server:
        yield Studio(server, tmp_path_factory.mktemp("drawn"), STEPS)


def alike(picture: Image.Image, person: int) -> float:
    """Likeness of a picture's largest face to a photo of the person that no LoRA was made from; 0 without a face."""
    return material.likeness(world.face(picture), person)


def test_portraits_are_of_their_people(studio):
    def draw(person: int, weight: float) -> list[float]:
        picture = material.simple(studio, person, material.plain_text(), 1, id_weight=weight)
        return [alike(picture, someone) for someone in range(PEOPLE)]

    nobody, drawn = draw(0, 0.0), [draw(person, 1.0) for person in range(PEOPLE)]
    own = [like[person] for person, like in enumerate(drawn)]
    strangers = [fmean(like[:person] + like[person + 1 :]) for person, like in enumerate(drawn)]
    assert fmean(own) > fmean(nobody) + 0.1 and fmean(own) > fmean(strangers) + 0.1
    assert sum(mine > stranger for mine, stranger in zip(own, strangers, strict=True)) >= PEOPLE - 1


def test_the_prompt_is_followed_beside_the_person(studio):
    scene = scenes.plain(1).replace(
        background=list(scenes.BACKGROUNDS).index("beach"),
        colour=list(scenes.CLOTHING_COLOURS).index("red"),
        headwear=1,
    )
    picture = material.simple(studio, 3, world.prompt(scene, 0), 1, id_weight=1.0)
    answers, expected = judge.load().read(world.pixels([picture])), judge.asked(scene)
    assert all(answers[name] == expected[name] for name in ("background", "colour", "headwear"))


@pytest.mark.parametrize(
    ("study", "people"),
    [
        ("regions", 4),
        *(
            pytest.param(name, people, marks=pytest.mark.slow)
            for name, people in (
                ("blend", 4),
                ("one person a picture", 4),
                ("full", 8),
                ("strength", 6),
                ("schedule", 6),
                ("slider", 4),
                ("refine", 4),
                ("until alike", 4),
            )
        ),
    ],
)
def test_each_way_does_what_it_says(studio, study, people):
    rows = STUDIES[study](studio, people)
    signed = [row for row in rows if row.wanted in ("above 0", "below 0")]
    assert signed and all((row.mean > 0) == (row.wanted == "above 0") and row.mean for row in signed), rows


def test_the_likeness_node_puts_the_person_first(studio):
    person = 3
    values = {
        "HyperLoRA Load Identity": {"identity_name": material.kept(studio, person)},
        "Another photo of the person": {"image": studio.send(world.photo(person, world.JUDGED_BY))},
    }
    drawn = studio.draw(workflow("likeness", material.plain_text(), values))
    like = [alike(picture, person) for picture in drawn]
    assert len(drawn) == 4 and like == sorted(like, reverse=True)


@pytest.mark.slow
def test_a_batch_queue_draws_each_person(studio, tmp_path):
    people = tmp_path / "people"
    for person in PAIR:
        (people / f"p{person}").mkdir(parents=True)
        (people / f"p{person}" / "0.png").write_bytes(world.photo(person).read_bytes())
    prompt = workflow("portrait_simple", material.plain_text(), {"KSampler": {"steps": STEPS}})
    (tmp_path / "portrait.json").write_text(json.dumps(prompt))
    command = [sys.executable, "-m", "hyperlora_core.cli", "batch", str(people), "--workflow"]
    command += [str(tmp_path / "portrait.json"), "--out", str(tmp_path / "out"), "--server", studio.server.url]
    subprocess.run(command, check=True, cwd=PACK, capture_output=True)
    for person, stranger in (PAIR, PAIR[::-1]):
        (picture,) = (tmp_path / "out").rglob(f"*p{person}*.png")
        assert alike(Image.open(picture), person) > alike(Image.open(picture), stranger)


@pytest.mark.slow
def test_an_evaluation_tells_who_draws_the_person(studio, tmp_path):
    who = compared.people(3, tmp_path)
    protocol = compared.protocol() | {"headshots": [1], "steps": STEPS}
    protocol["prompts"] = protocol["prompts"][:1]
    words = compared.words(
        tmp_path, who, studio.server.url, protocol, clip_folder(tmp_path / "clip"), ("hyperlora-id", "none")
    )
    command = [sys.executable, "-m", "hyperlora_core.cli", *words]
    result = subprocess.run(command, check=False, cwd=PACK, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    with (tmp_path / "evaluation" / "pictures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    held_out = {
        way: [float(row["held_out"]) for row in rows if row["method"].startswith(way)] for way in ("hyper", "none")
    }
    assert len(held_out["hyper"]) == 3, rows
    assert fmean(held_out["hyper"]) > fmean(held_out["none"]) + 0.005, "two strangers have .8 by this embedder"
    like = {"hyper": [], "none": []}
    for row in rows:
        picture = Image.open(tmp_path / "evaluation" / "pictures" / row["picture"])
        like["none" if row["method"].startswith("none") else "hyper"].append(alike(picture, int(row["person"][-5:])))
    assert fmean(like["hyper"]) > fmean(like["none"]) + 0.1


def test_the_editors_copies_of_the_examples_are_filled_in(studio):
    play.furnish(studio.server)
    copies = list((studio.server.base / "user" / "default" / "workflows").rglob("*.json"))
    assert {path.stem for path in copies} == set(examples.examples())
    for path in copies:
        nodes = [node for node in json.loads(path.read_text())["nodes"] if node["type"] != "MarkdownNote"]
        text = json.dumps(nodes)
        assert folders.CHECKPOINT in text and "RealVisXL" not in text and "photo1.png" not in text
        sizes = [node["widgets_values"] for node in nodes if node["type"] == "EmptyLatentImage"]
        assert all(height == SIZE for _, height, _ in sizes)
