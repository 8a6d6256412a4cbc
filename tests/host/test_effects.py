"""What each way does to a portrait, by likeness: the demo's trained models on a real server."""

import csv
import json
import subprocess
import sys
from statistics import fmean

import pytest
import torch
from PIL import Image

from demo import face_pack, play
from demo.compared import __main__ as compared
from demo.drawn import judge, scenes
from demo.drawn.folder import scene_of
from demo.server import PACK, ComfyServer
from demo.shown import examples, material, world
from demo.shown.studio import SIZE, Studio, workflow
from demo.trained import folders
from tests.evaluation.towers import clip_folder

if not folders.NARROW.exists():
    pytest.skip("the small HyperLoRA is not among the weights yet", allow_module_level=True)

PEOPLE = (3, 12, 20, 31)
STEPS = 12


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Studio:
    """A server with the demo's models, whose pictures nobody kept."""
    with ComfyServer(tmp_path_factory.mktemp("effects"), folders.models()) as server:
        yield Studio(server, tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def judged_by() -> dict[int, torch.Tensor]:
    """The people's embeddings on photos that nothing is made of."""
    return {person: world.face(Image.open(world.photo(person, world.JUDGED_BY))) for person in PEOPLE}


@pytest.fixture(scope="module")
def alike(judged_by):
    """How like a person the largest face of a picture is; 0 where there is none."""

    def measure(picture: Image.Image, person: int) -> float:
        embed = world.face(picture)
        return 0.0 if embed is None else float(embed @ judged_by[person])

    return measure


@pytest.fixture(scope="module")
def draw(studio):
    """Draw an example with a plain prompt, in few steps; values by nodes' titles, with _ for blanks."""

    def run(name: str, text: str = material.plain_text(), **by_title: dict[str, object]) -> list[Image.Image]:
        values = {title.replace("_", " "): given for title, given in by_title.items()}
        sampler = {"sample_until_alike": "HyperLoRA Sample until Alike", "faces_refine": "HyperLoRA Refine Faces"}
        title = sampler.get(name, "KSampler")
        values[title] = {"steps": STEPS, "seed": 1} | values.get(title, {})
        return studio.draw(workflow(name, text, values))

    return run


@pytest.fixture(scope="module")
def portraits(studio, draw) -> dict[float, dict[int, Image.Image]]:
    """By the weight of the ID-LoRA, a portrait of each person."""
    return {
        weight: {
            person: draw(
                "portrait_simple",
                Photo={"image": studio.send(world.photo(person))},
                HyperLoRA_Portrait={"id_weight": weight},
            )[0]
            for person in PEOPLE
        }
        for weight in (0.0, 0.5, 1.0)
    }


def test_a_portrait_is_nearest_to_its_person(portraits, alike):
    nearest = [
        max(PEOPLE, key=lambda other: alike(picture, other)) == person for person, picture in portraits[1.0].items()
    ]
    assert sum(nearest) >= len(PEOPLE) - 1


def test_without_the_lora_it_is_nobodys(portraits, alike):
    own = fmean(alike(picture, person) for person, picture in portraits[0.0].items())
    others = fmean(
        alike(picture, other) for person, picture in portraits[0.0].items() for other in PEOPLE if other != person
    )
    assert abs(own - others) < 0.15
    assert fmean(alike(picture, person) for person, picture in portraits[1.0].items()) > own + 0.2


def test_more_weight_is_more_likeness(portraits, alike):
    by_weight = [fmean(alike(picture, person) for person, picture in drawn.items()) for drawn in portraits.values()]
    assert by_weight[0] < by_weight[1] < by_weight[2]


def test_the_prompt_is_followed_beside_the_person(studio, draw):
    asked = scenes.plain(1).replace(
        background=list(scenes.BACKGROUNDS).index("beach"),
        colour=list(scenes.CLOTHING_COLOURS).index("red"),
        headwear=1,
    )
    (picture,) = draw(
        "portrait_simple",
        world.prompt(asked, 0),
        Photo={"image": studio.send(world.photo(PEOPLE[0]))},
        HyperLoRA_Portrait={"id_weight": 1.0},
    )
    found, wanted = judge.load().read(world.pixels([picture])), judge.asked(asked)
    assert all(found[name] == wanted[name] for name in ("background", "colour", "headwear"))


def test_the_base_lora_brings_the_photos_background(studio, draw):
    def background(weight: float) -> list[bool]:
        found = []
        for person in PEOPLE:
            (picture,) = draw(
                "portrait_steps_base",
                world.told("photo of a person"),
                Photo={"image": studio.send(world.photo(person))},
                HyperLoRA_Generate_LoRA={"base_weight": weight},
            )
            there = judge.asked(scene_of(world.SEED, person, world.GIVEN))["background"]
            found.append(bool(judge.load().read(world.pixels([picture]))["background"] == there))
        return found

    assert sum(background(1.0)) > sum(background(0.0))


def test_a_blend_lies_between(studio, draw, alike):
    one, other = PEOPLE[:2]
    leaning = []
    for amount in (0.0, 0.5, 1.0):
        (picture,) = draw(
            "people_blend",
            Photo_of_one={"image": studio.send(world.photo(one))},
            Photo_of_the_other={"image": studio.send(world.photo(other))},
            HyperLoRA_Blend_People={"amount": amount},
        )
        leaning.append(alike(picture, other) - alike(picture, one))
    assert leaning[0] < leaning[1] < leaning[2] and leaning[0] < 0 < leaning[2]


def test_a_slider_of_age_goes_both_ways(studio, draw):
    young, old = material.young_and_old()
    towards = world.face(Image.open(old)) - world.face(Image.open(young))
    seen = []
    for strength in (-1.0, 0.0, 1.0):
        (picture,) = draw(
            "slider",
            Photo={"image": studio.send(world.photo(PEOPLE[0]))},
            More_of_it={"image": studio.send(old)},
            Less_of_it={"image": studio.send(young)},
            HyperLoRA_Save_Slider={"overwrite": True},
            Apply_the_slider={"strength": strength},
        )
        seen.append(float(world.face(picture) @ towards))
    assert seen[0] < seen[1] < seen[2]


def two(studio, one: int, other: int) -> dict[str, dict[str, object]]:
    return {
        "The_first_person": {"identity_name": material.kept(studio, one)},
        "The_second_person": {"identity_name": material.kept(studio, other)},
    }


def test_each_picture_of_a_batch_is_its_own_persons(studio, draw, alike):
    one, other = PEOPLE[:2]
    first, second = draw("people_batch", **two(studio, one, other))
    assert alike(first, one) > alike(first, other) and alike(second, other) > alike(second, one)


def test_each_region_is_its_own_persons(studio, draw, alike):
    one, other = PEOPLE[:2]
    wide = {"width": 2 * SIZE, "height": SIZE}
    (picture,) = draw(
        "people_regions",
        **two(studio, one, other),
        The_whole_picture=wide,
        Half_of_it={"width": SIZE, "height": SIZE},
        Size=wide,
    )
    left, right = picture.crop((0, 0, SIZE, SIZE)), picture.crop((SIZE, 0, 2 * SIZE, SIZE))
    assert alike(left, one) > alike(left, other) and alike(right, other) > alike(right, one)


def test_a_schedule_that_never_begins_draws_nobody(studio, draw, alike):
    person = PEOPLE[0]
    like = []
    for points in ("0: 0, 1: 0", "0: 1, 0.45: 1, 0.5: 0, 1: 0", "0: 1, 1: 1"):
        (picture,) = draw(
            "schedule",
            HyperLoRA_Load_Identity={"identity_name": material.kept(studio, person)},
            HyperLoRA_Schedule={"points": points},
        )
        like.append(alike(picture, person))
    assert like[0] < like[1] and like[0] < like[2]


def test_refined_faces_are_nearer_to_their_people(studio, draw, alike):
    one, other = PEOPLE[:2]
    strangers = material.two_strangers(0)
    (after,) = draw(
        "faces_refine",
        **two(studio, one, other),
        Picture_with_two_people={"image": studio.send(strangers)},
        HyperLoRA_Refine_Faces=material.REFINING,
    )
    before = Image.open(strangers).convert("RGB")
    for place, person in enumerate((one, other)):
        half = (place * SIZE, 0, (place + 1) * SIZE, SIZE)
        assert alike(after.crop(half), person) > alike(before.crop(half), person)


def test_the_best_of_several_seeds_is_no_worse_than_the_first(studio, draw, alike):
    person = PEOPLE[1]
    like = [
        alike(
            draw(
                "sample_until_alike",
                HyperLoRA_Load_Identity={"identity_name": material.kept(studio, person)},
                HyperLoRA_Sample_until_Alike={"enough": 1.0, "seeds": seeds},
            )[0],
            person,
        )
        for seeds in (1, 3)
    ]
    assert like[1] >= like[0] - 0.02, "the node judges by what it encoded, this by another photo"


def test_the_likeness_node_puts_the_person_first(studio, draw, alike):
    person = PEOPLE[0]
    drawn = draw(
        "likeness",
        HyperLoRA_Load_Identity={"identity_name": material.kept(studio, person)},
        Another_photo_of_the_person={"image": studio.send(world.photo(person, world.JUDGED_BY))},
    )
    like = [alike(picture, person) for picture in drawn]
    assert len(drawn) == 4 and like == sorted(like, reverse=True)


def test_a_batch_queue_draws_each_person(studio, alike, tmp_path):
    people = tmp_path / "people"
    for person in PEOPLE[:2]:
        (people / f"p{person}").mkdir(parents=True)
        (people / f"p{person}" / "0.png").write_bytes(world.photo(person).read_bytes())
    prompt = workflow("portrait_simple", material.plain_text(), {"KSampler": {"steps": STEPS}})
    (tmp_path / "portrait.json").write_text(json.dumps(prompt))
    command = [sys.executable, "-m", "hyperlora_core.cli", "batch", str(people), "--workflow"]
    command += [str(tmp_path / "portrait.json"), "--out", str(tmp_path / "out"), "--server", studio.server.url]
    subprocess.run(command, check=True, cwd=PACK, capture_output=True)
    for person, other in (PEOPLE[:2], PEOPLE[1::-1]):
        (picture,) = (tmp_path / "out").rglob(f"*p{person}*.png")
        assert alike(Image.open(picture), person) > alike(Image.open(picture), other)


def test_an_evaluation_tells_who_draws_the_person(studio, tmp_path):
    for person in PEOPLE[:3]:
        for number in (world.GIVEN, world.JUDGED_BY):
            photo = world.photo(person, number)
            place = tmp_path / "people" / photo.parent.name / photo.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(photo.read_bytes())
    told = compared.protocol() | {"headshots": [1], "steps": STEPS}
    told["prompts"] = told["prompts"][:1]
    (tmp_path / "told.json").write_text(json.dumps(told))
    values = {"hyperlora-id.model": folders.HYPER_LORA, "hyperlora-id.weight": 1.0, "hyperlora-id.cfg": 3.0}
    command = [sys.executable, "-m", "hyperlora_core.cli", "evaluate", str(tmp_path / "people"), "--out"]
    command += [str(tmp_path / "out"), "--protocol", str(tmp_path / "told.json"), "--methods", "hyperlora-id,none"]
    command += ["--clip", str(clip_folder(tmp_path / "clip")), "--faces", str(face_pack.face_pack())]
    command += ["--server", studio.server.url, *(f"--set={name}={value}" for name, value in values.items())]
    subprocess.run(command, check=True, cwd=PACK, capture_output=True)
    with (tmp_path / "out" / "pictures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    held_out = {
        way: [float(row["held_out"]) for row in rows if row["method"].startswith(way)] for way in ("hyper", "none")
    }
    assert len(held_out["hyper"]) == 3, rows
    assert fmean(held_out["hyper"]) > fmean(held_out["none"]) + 0.1


def test_the_editors_copies_of_the_examples_are_filled_in(studio):
    play.furnish(studio.server)
    written = list((studio.server.base / "user" / "default" / "workflows").rglob("*.json"))
    assert {path.stem for path in written} == set(examples.examples())
    for path in written:
        nodes = [node for node in json.loads(path.read_text())["nodes"] if node["type"] != "MarkdownNote"]
        text = json.dumps(nodes)
        assert folders.CHECKPOINT in text and "RealVisXL" not in text and "photo1.png" not in text
        sizes = [node["widgets_values"] for node in nodes if node["type"] == "EmptyLatentImage"]
        assert all(height == SIZE for _, height, _ in sizes)
