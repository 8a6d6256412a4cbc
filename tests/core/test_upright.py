"""Heads that lie on their side are read upright, or it is said; small faces of huge photos are found."""

import numpy as np
import pytest
from PIL import Image

from hyperlora_core import find_references, open_photo
from hyperlora_core.faces.photo_report import examine, summary
from hyperlora_core.faces.references import on_photos
from hyperlora_core.faces.upright import roll, turned_back
from hyperlora_core.faces.warping import aligned_places

LIKE = 0.85  # cosine of one photo's embedding, resampled; of two photos of one person .66 to .71


@pytest.fixture(scope="module")
def small(photos) -> dict[str, Image.Image]:
    originals = {name: open_photo(photos[name]) for name in ("obama", "biden", "group")}
    originals["obama"].thumbnail((600, 600))
    originals["biden"].thumbnail((600, 600))
    return originals


def lain(photo: Image.Image, degrees: float) -> Image.Image:
    """A photo turned clockwise."""
    return photo.rotate(-degrees, Image.Resampling.BICUBIC, expand=True)


@pytest.mark.parametrize("degrees", [0, 30, -100, 179.9])
def test_the_roll_of_a_face(degrees):
    angle = np.radians(degrees)
    clockwise = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert roll(aligned_places() @ clockwise * 3 + 100) == pytest.approx(degrees, abs=1e-4)


def test_a_photo_is_turned_back_without_loss_by_quarters(small):
    photo = small["obama"]
    for quarter in (90, 180, 270, -90):
        assert turned_back(lain(photo, quarter), quarter).tobytes() == photo.tobytes()


@pytest.mark.long
@pytest.mark.parametrize("degrees", [45, 60, 90, 180, 270])
def test_a_head_that_lies_is_read_upright_and_it_is_said(analyzer, small, degrees):
    reports = []
    (upright,) = find_references(analyzer, [small["obama"]])
    (ref,) = find_references(analyzer, [lain(small["obama"], degrees)], report=reports.append)
    assert abs(roll(ref.view.face.keypoints)) <= 30 and abs(roll(ref.face.keypoints)) > 30
    assert float(ref.id_embed @ upright.id_embed) > LIKE
    assert len(reports) == 1 and reports[0].startswith("photo 1 of 1: the head was turned by some ")
    if degrees % 90 == 0:
        assert ref.view.turned % 360 == degrees and ref.view.photo.tobytes() == small["obama"].tobytes()
    (quality,) = examine([ref])
    assert not quality.is_bad and "turned upright by" in str(quality)


def test_an_upright_photo_stays_the_photo(analyzer, small):
    reports = []
    for name in ("obama", "biden"):
        (ref,) = find_references(analyzer, [lain(small[name], 10)], report=reports.append)
        assert ref.view.photo is ref.photo and ref.view.face is ref.face and ref.view.turned == 0
    assert reports == []


def test_where_it_is_not_turned_it_is_said_what_that_makes(analyzer, small):
    reports, photo = [], lain(small["obama"], 180)
    (upright,) = find_references(analyzer, [small["obama"]])
    (ref,) = find_references(analyzer, [photo], report=reports.append, turn_upright=False)
    assert float(ref.id_embed @ upright.id_embed) < 0.6
    assert ref.view.photo is ref.photo
    assert reports[0].endswith("and is read as another person's: turn the photo upright")
    (quality,) = examine([ref])
    assert quality.is_bad and any("turn the photo upright" in fault for fault in quality.faults)
    assert summary([quality]) == "replace photo 1"


def test_the_face_that_was_chosen_is_the_one_that_is_turned(analyzer, small):
    group = small["group"]
    lying = group.transpose(Image.Transpose.ROTATE_180)
    ref = find_references(analyzer, [lying], "left to right", 1)[0]
    x, y = np.array(group.size) - (ref.face.box[:2] + ref.face.box[2:]) / 2
    (lain_face,) = [
        face for face in analyzer.detect(group) if face.box[0] < x < face.box[2] and face.box[1] < y < face.box[3]
    ]
    assert len(ref.faces) > 2 and float(ref.id_embed @ analyzer.id_embedding(group, lain_face)) > 0.99


def test_a_retouched_photo_is_turned_as_the_first_was(analyzer, small):
    lying = lain(small["obama"], 90)
    (ref,) = find_references(analyzer, [lying])
    pixels = np.array(lying)
    pixels[:20] = 0
    (again,) = on_photos(analyzer, [ref], [Image.fromarray(pixels)])
    assert again.view.photo.size == small["obama"].size and again.view.turned == ref.view.turned
    assert float(again.id_embed @ ref.id_embed) > 0.99


@pytest.mark.long
@pytest.mark.parametrize("size", [(8192, 5000), (13000, 2000)])
def test_a_face_of_a_hundred_pixels_is_found_on_a_photo_of_any_size(analyzer, photos, size):
    photo = open_photo(photos["obama"])
    wide = float(np.diff(analyzer.detect(photo)[0].box[::2])[0])
    face = photo.resize([round(side * 100 / wide) for side in photo.size], Image.Resampling.LANCZOS)
    noise = (np.random.default_rng(0).random((size[1] // 40, size[0] // 40, 3)) * 60 + 90).astype("u1")
    huge = Image.fromarray(noise).resize(size)
    huge.paste(face, (size[0] // 2, size[1] // 3))
    huge.paste(photo, (0, 0))  # one that is seen at any size hides no other
    places = [np.round(detected.box).astype(int) for detected in analyzer.detect(huge, margins=False)]
    assert len(places) == 2
    assert abs(places[0][2] - places[0][0] - wide) < 0.2 * wide and 80 < places[1][2] - places[1][0] < 140
    assert size[0] // 2 < places[1][0] < size[0] // 2 + face.width
