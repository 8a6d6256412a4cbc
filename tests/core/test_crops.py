"""The pictures that CLIP is shown, against the public implementation's."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hyperlora_core import HyperLoRAError
from hyperlora_core.clip.vision import STD, ClipVision
from hyperlora_core.clip.weights import TowerConfig
from hyperlora_core.faces import crops
from hyperlora_core.files.encoders import Encoder

GOLDEN = Path(__file__).parent / "golden" / "preprocess"
LANDMARKS = {name: np.array(points) for name, points in json.loads((GOLDEN / "landmarks.json").read_text()).items()}
EXPECTED = sorted(path.stem for path in GOLDEN.glob("*.*.*.png"))

# A tower of which only the picture's size matters here.
CLIP = ClipVision(None, TowerConfig(64, 1, 1, 256, 32, 224, True, 1e-5), Encoder("none", ""))  # type: ignore[arg-type]


def photo(name: str) -> Image.Image:
    return Image.open(GOLDEN / f"{name}.png").convert("RGB")


def crop_of(case: str) -> Image.Image:
    name, kind, arguments = case.split(".", 2)
    if kind == "id":
        return crops.id_image(photo(name), LANDMARKS[name], "rmbg1" in arguments, "gray1" in arguments)
    scales = tuple(float(scale) for scale in arguments[len("crop0.") : -len(".safe0")].split("_"))
    return crops.base_image(
        photo(name), LANDMARKS[name], arguments.startswith("crop1"), scales, arguments.endswith("safe1")
    )


def test_every_setting_is_covered():
    assert len(EXPECTED) == 2 * 9


@pytest.mark.parametrize("case", EXPECTED)
def test_clip_sees_what_the_public_implementation_shows_it(case):
    expected = CLIP.preprocess([Image.open(GOLDEN / f"{case}.png")])
    pixels = CLIP.preprocess([crop_of(case)])
    assert (pixels - expected).abs().mean() <= 5e-4  # required: 5e-3, in CLIP's units
    assert (pixels - expected).abs().max() <= 4 / 255 / min(STD)


def test_the_photo_is_left_as_it_was():
    original, landmarks = photo("centre"), LANDMARKS["centre"]
    before = original.tobytes(), landmarks.copy()
    crops.id_image(original, landmarks)
    crops.base_image(original, landmarks, crop=False)
    assert original.tobytes() == before[0] and (landmarks == before[1]).all()


def test_what_lies_outside_the_photo_is_black():
    landmarks = LANDMARKS["centre"] - LANDMARKS["centre"].mean(axis=0)  # the face's middle in the photo's corner
    picture = np.asarray(crops.id_image(photo("centre"), landmarks, remove_background=False))
    assert (picture[: len(picture) // 4] == 0).all() and (picture[:, : picture.shape[1] // 4] == 0).all()
    assert picture.max() > 0


def test_a_safe_crop_stays_within_the_photo():
    original, landmarks = photo("border"), LANDMARKS["border"]
    safe = crops.base_image(original, landmarks, scale_lrtb=(9, 9, 9, 9))
    assert safe.size == original.size
    wide = crops.base_image(original, landmarks, scale_lrtb=(9, 9, 9, 9), safe_crop=False)
    assert wide.width > original.width and wide.height > original.height


@pytest.mark.parametrize("size", [(1, 1), (5, 400)])
def test_tiny_photos_do_not_crash(size):
    tiny = Image.new("RGB", size)
    assert crops.id_image(tiny, LANDMARKS["centre"]).size == crops.id_image(photo("centre"), LANDMARKS["centre"]).size


@pytest.mark.parametrize(
    ("landmarks", "message"),
    [
        (np.zeros((68, 2)), r"106 finite face landmarks are needed, got an array of shape \(68, 2\)"),
        (np.full((106, 2), np.nan), "106 finite face landmarks"),
        (np.full((106, 2), 7.0), "all in one place"),
    ],
)
def test_landmarks_that_are_none(landmarks, message):
    for make in (crops.id_image, crops.base_image):
        with pytest.raises(HyperLoRAError, match=message):
            make(photo("centre"), landmarks)


@pytest.mark.parametrize("scales", [(1, 1, 1), (0, 1, 1, 1), (1, -1, 1, 1), (1, 1, np.nan, 1)])
def test_scales_that_are_none(scales):
    with pytest.raises(HyperLoRAError, match="four numbers above 0"):
        crops.base_image(photo("centre"), LANDMARKS["centre"], scale_lrtb=scales)


def test_a_cut_outside_the_photo_is_named():
    with pytest.raises(HyperLoRAError, match="nothing of the photo"):
        crops.base_image(photo("centre"), LANDMARKS["centre"] + 5000)
