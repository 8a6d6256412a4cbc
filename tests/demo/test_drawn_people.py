"""The drawn world: its people are found and told apart by real face models, and captions say what is to be seen."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from demo.drawn import people, scenes
from demo.drawn.drawing import SIZE, draw
from demo.drawn.folder import as_image, write_people
from hyperlora_core import FaceAnalyzer, HyperLoRAError

PEOPLE, PHOTOS = 60, 2


@pytest.fixture(scope="module")
def described(face_pack):
    """Of ``PHOTOS`` pictures of each of ``PEOPLE`` the surest face's score, 0 where there is none, and embedding."""
    analyzer = FaceAnalyzer.load(face_pack)
    who = people.people(4242, range(PEOPLE))
    scores, embeds = np.zeros((PHOTOS, PEOPLE)), np.zeros((PHOTOS, PEOPLE, 512))
    for photo in range(PHOTOS):
        for person, picture in enumerate(draw(who, scenes.scenes(4243, PEOPLE, PEOPLE * photo))):
            for face in analyzer.detect(as_image(picture), embed=True)[:1]:
                scores[photo, person], embeds[photo, person] = face.score, face.embedding
    return scores, embeds


@pytest.mark.long
def test_the_detector_finds_them_with_room_to_its_limit(described):
    scores, _ = described
    assert (scores > 0.5).mean() >= 0.99
    assert np.quantile(scores, 0.05) > 0.58 and np.median(scores) > 0.7


def test_the_embedder_tells_them_apart(described):
    _, (one, other) = described
    cosines = one @ other.T
    same, different = np.diag(cosines), cosines[~np.eye(PEOPLE, dtype=bool)]
    assert np.searchsorted(np.sort(different), same).mean() / len(different) >= 0.98
    nearest = cosines.argmax(axis=1) == np.arange(PEOPLE)
    assert nearest.mean() >= 0.7


def test_a_person_is_the_same_whoever_else_is_drawn():
    alone, among = people.people(7, [5]), people.people(7, range(10))
    assert torch.equal(alone[0], among[5]) and len(among.unique(dim=0)) == 10
    assert not torch.isin(people.people(8, range(10)), among).any()
    assert torch.equal(scenes.scenes(7, 1, 5).jitter[0], scenes.scenes(7, 10).jitter[5])
    assert not torch.isin(scenes.scenes(7, 10).jitter, among * 2 - 1).any(), "chance that is used twice"


def test_a_drawing_is_the_same_alone_and_among_others():
    who, where = people.people(3, range(4)), scenes.scenes(3, 4, styled=1.0)
    together = draw(who, where)
    assert together.shape == (4, 3, SIZE, SIZE) and together.min() >= 0 and together.max() <= 1
    for i in range(4):
        assert torch.allclose(draw(who[i : i + 1], where.rows(slice(i, i + 1)))[0], together[i], atol=1e-5)


@pytest.mark.parametrize("name", people.TRAITS)
def test_each_trait_is_to_be_seen(name):
    middle = torch.full((2, len(people.TRAITS)), 0.7)
    middle[:, people.TRAITS.index(name)] = torch.tensor([0.02, 0.98])
    low, high = draw(middle, scenes.plain(2))
    assert (low - high).abs().amax(dim=0).gt(0.06).sum() > 12


@pytest.mark.parametrize(
    ("values", "phrase"),
    [
        ({"background": list(scenes.BACKGROUNDS).index("beach")}, "at the beach"),
        ({"background": list(scenes.BACKGROUNDS).index("red")}, "red background"),
        ({"colour": list(scenes.CLOTHING_COLOURS).index("orange"), "clothing": 3}, "wearing an orange hoodie"),
        ({"headwear": 1}, "wearing a hat"),
        ({"headwear": 2}, "wearing wolf ears"),
        ({"glasses": True}, "wearing glasses"),
        ({"smile": True}, "smiling"),
        ({"gaze": -1.0}, "looking left"),
        ({"light": 1.0}, "light from the right"),
        ({"style": 1}, "pencil sketch of a person"),
    ],
)
def test_captions_say_what_the_picture_shows(values, phrase):
    before = scenes.plain(1)
    after = before.replace(**values)
    who, chance = people.people(1, [0]), torch.Generator().manual_seed(0)
    assert phrase in scenes.caption(after, 0, [], chance, said=1.0)
    assert phrase not in scenes.caption(before, 0, [], chance, said=1.0)
    assert (draw(who, before) - draw(who, after)).abs().amax(dim=1).gt(0.1).sum() > 30


def test_captions_say_nothing_that_is_not_on_the_list():
    vocabulary = {*scenes.every_phrase(), *people.every_description()}
    chance, where = torch.Generator().manual_seed(0), scenes.scenes(1, 50, styled=0.5)
    for i, person in enumerate(people.people(1, range(50))):
        assert set(scenes.caption(where, i, people.described(person), chance).split(", ")) <= vocabulary


@pytest.mark.long
def test_a_folder_of_people_is_drawn_by_one_command_and_goes_on_where_it_was_stopped(tmp_path):
    command = [sys.executable, "-m", "demo.drawn", str(tmp_path), "--people", "2", "--photos", "2", "--seed", "9"]
    subprocess.run([*command, "--side", "96"], check=True, timeout=120)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert files == [f"person-0000{i}/{j}.{kind}" for i in (0, 1) for j in (0, 1) for kind in ("json", "png", "txt")]
    first = tmp_path / "person-00000" / "0.png"
    assert Image.open(first).size == (96, 96) and "of a person" in first.with_suffix(".txt").read_text()
    assert json.loads(first.with_suffix(".json").read_text())["licence"].startswith("CC0")
    bytes_, stamp = first.read_bytes(), (tmp_path / "person-00001" / "1.png").stat().st_mtime_ns
    first.unlink()
    subprocess.run([*command, "--side", "96"], check=True, timeout=120)
    assert first.read_bytes() == bytes_ and (tmp_path / "person-00001" / "1.png").stat().st_mtime_ns == stamp


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "person-00000").write_text("in the way")
    with pytest.raises(HyperLoRAError, match=r"person-00000/0\.png cannot be written: "):
        write_people(tmp_path, 0, 1)
