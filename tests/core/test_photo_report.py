"""What photos are worth, on real photos; and keypoints as a picture, against OpenCV."""

import math

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFilter

from hyperlora_core import HyperLoRAError, open_photo
from hyperlora_core.faces.keypoints import COLOURS, keypoints_picture
from hyperlora_core.faces.photo_report import _FACE, PhotoQuality, examine, pose, sharpness, summary
from hyperlora_core.faces.references import find_references


def turned(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The average face's keypoints at a pose, seen from afar."""
    y, p, r = np.radians([yaw, pitch, roll])
    aside = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    down = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    over = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return (_FACE @ (over @ aside @ down).T)[:, :2] * 60 + (300, 200)


@pytest.mark.parametrize(
    "angles", [(0, 0, 0), (35, 0, 0), (-50, 0, 0), (0, 25, 0), (0, -25, 0), (0, 0, 40), (20, 10, 5), (-40, -15, 30)]
)
def test_a_pose_is_read_off_keypoints(angles):
    assert pose(turned(*angles)) == pytest.approx(angles, abs=1e-6)


def test_signs_are_as_a_viewer_sees_them():
    assert turned(30, 0, 0)[2, 0] > turned(0, 0, 0)[2, 0]  # the nose to the right
    assert turned(0, 20, 0)[2, 1] > turned(0, 0, 0)[2, 1]  # the nose down
    eyes = turned(0, 0, 10)[:2]
    assert eyes[1, 1] > eyes[0, 1]  # the eye on the right lower: clockwise


def test_a_mirrored_photo_looks_the_other_way(analyzer, photos):
    photo = open_photo(photos["obama2"])
    mirrored = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    (one,), (other,) = (examine(find_references(analyzer, [each])) for each in (photo, mirrored))
    assert one.yaw < -10 < 10 < other.yaw and one.yaw == pytest.approx(-other.yaw, abs=6)


@pytest.mark.parametrize(("blur", "low", "high"), [(0.0, 0.4, 1.0), (0.01, 0.05, 0.12), (0.03, 0.0, 0.08)])
@pytest.mark.parametrize("name", ["obama", "obama2", "obama3", "biden"])
def test_sharpness_tells_a_blurred_face(references, name, blur, low, high):
    ref = references[name]
    width = float(ref.face.box[2] - ref.face.box[0])
    photo = ref.photo.filter(ImageFilter.GaussianBlur(blur * width)) if blur else ref.photo
    assert low < sharpness(photo, ref.face.landmarks) < high


def test_sharpness_does_not_know_brightness_contrast_or_size(references):
    ref = references["obama"]
    expected = sharpness(ref.photo, ref.face.landmarks)
    darker = ref.photo.point(lambda value: value * 0.5 + 20)
    assert sharpness(darker, ref.face.landmarks) == pytest.approx(expected, rel=0.05)
    larger = ref.photo.resize((ref.photo.width * 2, ref.photo.height * 2), Image.Resampling.NEAREST)
    assert sharpness(larger, ref.face.landmarks * 2) == pytest.approx(expected, rel=0.15)


def test_good_photos_of_one_person_are_kept(references):
    qualities = examine([references[name] for name in ("obama", "obama2", "obama3")])
    assert [(quality.is_bad, quality.faults) for quality in qualities] == [(False, [])] * 3
    assert all(quality.agreement > 0.6 for quality in qualities)
    assert summary(qualities) == "nothing has to be replaced"
    assert str(qualities[0]).startswith("photo 1: keep. face ") and str(qualities[0]).endswith(". good")


def test_the_one_that_is_somebody_else_is_named(references):
    qualities = examine([references[name] for name in ("obama", "biden", "obama3", "obama2")])
    assert [photo.is_bad for photo in qualities] == [False, True, False, False]
    assert qualities[1].faults[0] == "looks like somebody else than the others: check who it is"
    assert summary(qualities) == f"replace photo {references['biden'].number}"


def test_two_people_and_no_majority(references):
    qualities = examine([references[name] for name in ("obama", "biden")])
    assert summary(qualities).startswith("these photos show several people")


def test_a_single_photo_has_nothing_to_agree_with(references):
    (only,) = examine([references["obama"]])
    assert only.agreement is None and "agreement" not in str(only)


def quality(**changes) -> PhotoQuality:
    good = {"pixels": 300.0, "sharpness": 0.5, "yaw": 0.0, "pitch": 0.0, "roll": 0.0, "score": 0.9, "agreement": 0.7}
    return PhotoQuality(1, (800, 600), **good | changes)


@pytest.mark.parametrize(
    ("changes", "bad", "said"),
    [
        ({"pixels": 60.0}, True, "the face is too small"),
        ({"pixels": 120.0}, False, "the face is small"),
        ({"sharpness": 0.1}, True, "blurred"),
        ({"sharpness": 0.2}, False, "a little soft"),
        ({"yaw": -30.0}, False, "turned aside"),
        ({"pitch": 50.0}, False, "turned far away"),
        ({"roll": -60.0}, True, "turned by 60 degrees: turn the photo upright"),
        ({"score": 0.5}, True, "hardly recognised"),
        ({"agreement": 0.1}, True, "somebody else"),
    ],
)
def test_every_fault_has_its_word(changes, bad, said):
    report = quality(**changes)
    assert report.is_bad is bad and any(said in fault for fault in report.faults)


def test_a_person_from_the_side_only():
    assert summary([quality(yaw=40.0), quality(yaw=-30.0)]) == "add a photo from the front"


def opencvs(size: tuple[int, int], keypoints: np.ndarray) -> np.ndarray:
    """The same picture by OpenCV's ellipses and circles, in whole pixels."""
    picture = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    for number in (0, 1, 3, 4):
        end, nose = keypoints[number], keypoints[2]
        angle = math.degrees(math.atan2(end[1] - nose[1], end[0] - nose[0]))
        middle, half = (end + nose) / 2, float(np.hypot(*(end - nose))) / 2
        polygon = cv2.ellipse2Poly((int(middle[0]), int(middle[1])), (int(half), 4), int(angle), 0, 360, 1)
        cv2.fillConvexPoly(picture, polygon, COLOURS[number])
    picture = (picture * 0.6).astype(np.uint8)
    for point, colour in zip(keypoints, COLOURS, strict=True):
        cv2.circle(picture, (int(point[0]), int(point[1])), 10, colour, -1)
    return picture


def test_keypoints_are_drawn_as_instantids_controlnet_knows_them(references):
    ref = references["obama"]
    pixels = np.asarray(keypoints_picture(ref.photo.size, [ref.face.keypoints])).astype(int)
    expected = opencvs(ref.photo.size, ref.face.keypoints).astype(int)
    drawn = (expected.max(axis=-1) > 0) | (pixels.max(axis=-1) > 0)
    off = np.abs(pixels - expected).max(axis=-1)
    assert off[~drawn].max() == 0
    assert np.mean(off[drawn] > 60) < 0.2  # edges alone: it is drawn in whole pixels there
    for point, colour in zip(ref.face.keypoints.round().astype(int), COLOURS, strict=True):
        assert tuple(pixels[point[1], point[0]]) == colour


def test_what_is_no_face_is_refused():
    for wrong in (np.zeros((4, 2)), np.full((5, 2), np.nan)):
        with pytest.raises(HyperLoRAError, match="five finite keypoints are needed"):
            keypoints_picture((64, 64), [wrong])


def test_points_outside_the_picture_are_cut_off():
    points = np.array([[-50, 10], [20, 10], [10, 90], [500, 500], [30, 40]], dtype=np.float32)
    assert keypoints_picture((64, 48), [points]).size == (64, 48)
