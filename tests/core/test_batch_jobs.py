"""What a batch queue has to draw, and how it is filled into workflows."""

import json
import shutil

import pytest

from demo import workflows
from hyperlora_core.comfy.jobs import Job, jobs_of, read_people, read_seeds, with_readable_photos
from hyperlora_core.comfy.manifest import Manifest
from hyperlora_core.comfy.tasks import Task
from hyperlora_core.comfy.workflows import fill, read_workflow
from hyperlora_core.errors import HyperLoRAError


@pytest.fixture
def people(photos, tmp_path):
    """A folder of people: one of two photos, one of one."""
    folder = tmp_path / "people"
    (folder / "barack").mkdir(parents=True)
    for name in ("obama", "obama2"):
        shutil.copy(photos[name], folder / "barack")
    shutil.copy(photos["biden"], folder / f"joe{photos['biden'].suffix}")
    (folder / "notes.txt").write_text("not a person")
    return folder


def test_a_folder_of_people(people):
    jobs = read_people(people)
    assert [(job.person, len(job.photos)) for job in jobs] == [("barack", 2), ("joe", 1)]
    drawn = jobs_of(jobs, ["in a garden", "fcsks fxhks fhyks, at sea"], read_seeds("1, 4-5"))
    assert len(drawn) == 2 * 2 * 3
    assert {job.prompt for job in drawn} == {"fcsks fxhks fhyks, in a garden", "fcsks fxhks fhyks, at sea"}
    assert {job.seed for job in drawn} == {1, 4, 5}


def test_leftovers_are_nobody(people, photos):
    """Of macOS, of Windows, of a Synology, and of a program that was stopped while it wrote."""
    before = read_people(people)
    picture = photos["biden"].read_bytes()
    for name in (
        "._joe.jpg",
        ".joe.png",
        "Thumbs.db",
        "desktop.ini",
        "__MACOSX/joe.jpg",
        "@eaDir/joe.jpg",
        "barack/._obama.jpg",
        "barack/.obama.jpg.part",
        "barack/.obama3.png",
        "barack/Thumbs.db",
        "barack/desktop.ini",
    ):
        (people / name).parent.mkdir(exist_ok=True)
        (people / name).write_bytes(picture)
    assert read_people(people) == before


def test_a_photo_that_cannot_be_read_costs_its_person_alone(people, photos):
    everyone = read_people(people)
    assert with_readable_photos(everyone) == (everyone, {})
    (people / "anna").mkdir()
    (people / "anna" / "cut.jpg").write_bytes(photos["obama"].read_bytes()[:5000])
    shutil.copy(photos["biden"], people / "anna")
    (people / "otto.png").write_text("<html>not found</html>")
    readable, left_out = with_readable_photos(read_people(people))
    assert readable == everyone and list(left_out) == ["anna", "otto"]
    assert f"the photo {people / 'anna' / 'cut.jpg'} cannot be read" in left_out["anna"]
    assert left_out["otto"] == f"{people / 'otto.png'} is no picture that can be read: it is a web page"
    with pytest.raises(HyperLoRAError, match=r"nobody is left to draw: .*otto\.png is no picture"):
        with_readable_photos([person for person in read_people(people) if person.person == "otto"])


@pytest.mark.parametrize("name", ["anna/anna.heic", "anna.heic"])
def test_who_has_no_photo_that_can_be_read_is_named(people, name):
    read_people(people)
    (people / name).parent.mkdir(exist_ok=True)
    (people / name).write_bytes(b"x")
    with pytest.raises(HyperLoRAError, match=r"anna.*: no photo that can be read is there \(\.jpg"):
        read_people(people)


def test_a_table_says_more_and_goes_before(people):
    table = people.parent / "table.csv"
    table.write_text(
        "person,photos,prompt,seed,KSampler.cfg\n"
        f"one,people/barack/obama.jpg;people/joe{next(people.glob('joe*')).suffix},at sea,7,4.5\n"
        "two,people/barack/obama2.jpg,,,\n".replace("obama2.jpg", next(people.glob("barack/obama2*")).name)
    )
    table.write_text(table.read_text().replace("obama.jpg", next(people.glob("barack/obama.*")).name))
    row_job, *two = jobs_of(read_people(table), ["in a garden"], [1, 2])
    assert (row_job.prompt, row_job.seed, row_job.inputs) == ("fcsks fxhks fhyks, at sea", 7, {"KSampler.cfg": "4.5"})
    assert [job.seed for job in two] == [1, 2] and two[0].inputs == {}
    filled = fill(workflows.load("portrait_simple"), row_job, ["a.png", "b.png"])
    assert workflows.load("portrait_simple") != filled
    sampler = filled[workflows.node(filled, "KSampler")]["inputs"]
    assert (sampler["cfg"], sampler["seed"]) == (4.5, 7)
    portrait = filled[workflows.node(filled, "HyperLoRAPortrait")]["inputs"]
    slots = [filled[portrait[f"images.image{i}"][0]]["inputs"]["image"] for i in range(2)]
    assert slots == ["a.png", "b.png"] and "images.image2" not in portrait
    texts = [node["inputs"].get("text") for node in filled.values()]
    assert texts.count("fcsks fxhks fhyks, at sea") == 1


def test_names_have_dots_and_numbers_become_whole_or_not(people):
    shutil.copytree(people / "barack", people / "J. Smith")
    assert "J. Smith" in [job.person for job in read_people(people)]
    for cell, expected in (("4.5", 4.5), ("4", 4)):
        filled = fill(workflows.load("portrait_simple"), Job("one", inputs={"KSampler.cfg": cell}), [])
        assert filled[workflows.node(filled, "KSampler")]["inputs"]["cfg"] == expected


def test_a_line_ends_where_json_says(tmp_path):
    manifest = Manifest.open(tmp_path)
    manifest.add({"job": "a", "state": "done", "prompt": "one\u2028two\u0085three"})
    assert Manifest.open(tmp_path).last == manifest.last


def test_a_photo_less_takes_a_slot_away():
    workflow = workflows.load("portrait_several_photos")
    filled = fill(workflow, Job("one"), ["a.png"])
    portrait = filled[workflows.node(filled, "HyperLoRAPortrait")]["inputs"]
    assert [name for name in portrait if name.startswith("images.")] == ["images.image0"]


def test_a_jobs_key_is_of_contents(people):
    def key(job, name="portrait_simple", **labels):
        return Task(workflows.load(name), job, labels).key

    job = read_people(people)[0]
    copy = shutil.copytree(people / "barack", people.parent / "elsewhere" / "barack")
    assert key(Job("barack", tuple(sorted(copy.iterdir())))) == key(job)
    other_jobs = [Job("barack", job.photos[:1]), Job("barack", job.photos, "a"), Job("barack", job.photos, None, 1)]
    keys = {key(each_job) for each_job in [job, *other_jobs]} | {key(job, "portrait_steps"), key(job, method="other")}
    assert len(keys) == 5 and key(job, method="other") == key(job)  # the same picture by another name


@pytest.mark.parametrize(
    ("name", "job", "message"),
    [
        ("people_batch", Job("one", prompt="x", inputs={"Nobody.x": "1"}), "no node 'Nobody' with an input 'x'"),
        ("portrait_simple", Job("one", inputs={"KSampler.steps": "many"}), "KSampler.steps is 'many', where a value"),
        ("saved_lora", Job("one"), "one node of the workflow has to take the photos"),
        ("slider", Job("one"), "one node of the workflow has to take the photos"),
        ("people_prompts", Job("one", prompt="x"), "one text of the workflow has to be the prompt"),
    ],
)
def test_what_cannot_be_filled_in_is_said(name, job, message):
    with pytest.raises(HyperLoRAError, match=message):
        fill(workflows.load(name), job, ["a.png"] if name in ("saved_lora", "slider") else [])


def test_what_is_no_input_is_said(people, tmp_path):
    with pytest.raises(HyperLoRAError, match="choose File › Export"):
        read_workflow(workflows.FOLDER / "portrait_simple.json")
    (tmp_path / "list.json").write_text(json.dumps([1]))
    for path, message in ((tmp_path / "list.json", "is no workflow"), (tmp_path / "none.json", "cannot be read")):
        with pytest.raises(HyperLoRAError, match=message):
            read_workflow(path)
    empty = people / "empty"
    empty.mkdir()
    with pytest.raises(HyperLoRAError, match="has no photo in it"):
        read_people(empty)
    with pytest.raises(HyperLoRAError, match="is no folder of photos"):
        read_people(tmp_path / "list.json")
    table = tmp_path / "table.csv"
    for text, message in (
        ("person\n", "has no row"),
        ("person,photos\na,nobody.jpg\n", r"line 2: there is no photo .*nobody\.jpg"),
        ("person,seed\na,1.5\n", "line 2: the seed '1.5' is no whole number"),
        ("person,colour\na,red\n", "the column 'colour' is unknown"),
    ):
        table.write_text(text)
        with pytest.raises(HyperLoRAError, match=message):
            read_people(table)
    for text in ("a", "1-b", "-3", "1;2"):
        with pytest.raises(HyperLoRAError, match="cannot be read"):
            read_seeds(text)
