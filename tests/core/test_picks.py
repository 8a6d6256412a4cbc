"""Faces that somebody pointed at."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hyperlora_core.cache import digest
from hyperlora_core.errors import HyperLoRAError
from hyperlora_core.faces import Face, FaceAnalyzer
from hyperlora_core.faces.picks import Pick, read_picks
from hyperlora_core.faces.references import find_references
from hyperlora_core.files.photos import open_photo

SHARED = json.loads((Path(__file__).parents[1] / "web" / "picks.json").read_text())
"""Texts of picks, and places with the faces that they mean, which the editor's own code is tested with too."""


@pytest.fixture(scope="module")
def analyzer(face_pack) -> FaceAnalyzer:
    return FaceAnalyzer.load(face_pack)


@pytest.fixture(scope="module")
def group(photos) -> Image.Image:
    return open_photo(photos["group"])


@pytest.mark.long
def test_each_face_of_a_group_can_be_picked_through_json(analyzer, group):
    faces = analyzer.detect(group)
    assert len(faces) == 6
    for face in faces:
        pick = Pick.of(face, group, digest(group))
        (again,) = read_picks(json.dumps([{"photo": pick.photo, "x": pick.x, "y": pick.y}]))
        (reference,) = find_references(analyzer, [group], picks=[again])
        assert np.array_equal(reference.face.box, face.box) and len(reference.faces) == 6


@pytest.mark.long
def test_several_picks_on_a_photo_are_so_many_references_in_their_order(analyzer, group, photos):
    faces = analyzer.detect(group)
    picks = [Pick.of(face, group, digest(group)) for face in (faces[3], faces[1])]
    alone, reports = open_photo(photos["obama"]), []
    references = find_references(analyzer, [alone, group], picks=picks, report=reports.append)
    assert [reference.number for reference in references] == [1, 2, 2]
    assert [tuple(reference.face.box) for reference in references[1:]] == [tuple(faces[i].box) for i in (3, 1)]
    assert any("may show two people" in remark for remark in reports)


@pytest.mark.long
def test_two_people_picked_on_one_photo_are_said_to_be_two(analyzer, group):
    faces = analyzer.detect(group, embed=True)
    pairs = [(a, b) for a in faces for b in faces if a is not b and float(a.embedding @ b.embedding) < 0.1]
    reports = []
    find_references(
        analyzer, [group], picks=[Pick.of(f, group, digest(group)) for f in pairs[0]], report=reports.append
    )
    assert reports and reports[0].startswith("the faces picked on photo 1 may show two people")


def test_a_pick_on_another_photo_is_refused(analyzer, group, photos):
    pick = Pick.of(analyzer.detect(group)[0], group, digest(group))
    changed = group.copy()
    changed.putpixel((0, 0), (1, 2, 3))
    for other_photo in (changed, group.resize((group.width // 2, group.height // 2)), open_photo(photos["obama"])):
        with pytest.raises(HyperLoRAError, match=r"picked on another photo \(\w{8}\) than is connected now \(\w{8}\)"):
            find_references(analyzer, [other_photo], picks=[pick])


def test_a_pick_beside_every_face_is_refused(analyzer, group):
    with pytest.raises(HyperLoRAError, match="1% from the left and 99% from the top, where none of the 6 faces"):
        find_references(analyzer, [group], picks=[Pick(digest(group), 0.01, 0.99)])


def test_of_two_faces_over_each_other_the_nearer_is_meant(analyzer, group):
    face = analyzer.detect(group)[0]
    larger = face.scaled(1.0)
    larger.box[:] = face.box + np.array([-40, -40, 120, 120], dtype=np.float32)
    pick = Pick.of(face, group, "")
    assert pick.find([larger, face], group, 1) is face
    assert Pick.of(larger, group, "").find([face, larger], group, 1) is larger


@pytest.mark.parametrize("text", ["", "  ", "[]"])
def test_nothing_is_no_pick(text):
    assert read_picks(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "3",
        '"a"',
        "[1]",
        '[{"photo": "a"}]',
        '[{"photo": "a", "x": 1.5, "y": 0}]',
        '[{"photo": "a", "x": NaN, "y": 0}]',
    ]
    + [
        '{"photo": "a", "x": 0, "y": 0}',
        '[{"photo": "a", "x": null, "y": 0}]',
        '[{"photo": "a", "x": "left", "y": 0}]',
    ],
)
def test_what_is_no_pick_is_refused(text):
    with pytest.raises(HyperLoRAError, match="the picked faces cannot be read from"):
        read_picks(text)


@pytest.mark.parametrize(("text", "picks"), SHARED["read"])
def test_picks_are_read_as_the_editor_reads_them(text, picks):
    if picks is None:
        with pytest.raises(HyperLoRAError):
            read_picks(text)
    else:
        assert read_picks(text) == [Pick(**pick) for pick in picks]


@pytest.mark.parametrize(("place", "index"), SHARED["faces"])
def test_a_pick_means_the_face_that_the_editor_shows(place, index):
    width, height = SHARED["photo"]["width"], SHARED["photo"]["height"]
    photo, sizes, points = Image.new("RGB", (width, height)), np.array([width, height] * 2), np.zeros((1, 2))
    faces = [Face(np.array(box) * sizes, 1.0, points, points) for box in SHARED["boxes"]]
    pick = Pick("", *place)
    if index is None:
        with pytest.raises(HyperLoRAError, match="none of the 4 faces"):
            pick.find(faces, photo, 1)
    else:
        assert pick.find(faces, photo, 1) is faces[index]
