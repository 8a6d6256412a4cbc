"""Faces cut out of a picture and laid back, and whose they are."""

import numpy as np
import pytest
import torch
from PIL import Image

from hyperlora_core import HyperLoRAError, open_photo
from hyperlora_core.faces import Face
from hyperlora_core.judging.likeness import Judged
from hyperlora_core.judging.refine import Cut, assign


@pytest.fixture(scope="module")
def photo(photos) -> Image.Image:
    return open_photo(photos["group"])


@pytest.fixture(scope="module")
def faces(analyzer, photo) -> list[Face]:
    return sorted(analyzer.detect(photo), key=lambda face: face.box[0])


@pytest.fixture(scope="module")
def image(photo) -> torch.Tensor:
    return torch.from_numpy(np.asarray(photo, dtype=np.float32) / 255)


@pytest.mark.parametrize("surroundings", [1.0, 1.6, 4.0, 40.0])
def test_a_cut_holds_the_face_and_stays_in_the_picture(photo, faces, surroundings):
    for face in faces:
        cut = Cut.around(face, photo.size, surroundings)
        assert cut.left >= 0 and cut.top >= 0
        assert cut.left + cut.side <= photo.width and cut.top + cut.side <= photo.height
        x, y = face.landmarks.mean(axis=0)
        assert cut.left < x < cut.left + cut.side and cut.top < y < cut.top + cut.side
    assert cut.side == (photo.height if surroundings == 40.0 else cut.side)


def test_a_mask_covers_the_face_and_ends_within_the_cut(photo, faces):
    for face in faces:
        cut = Cut.around(face, photo.size, 1.6)
        mask = cut.mask(face, 0.08)
        assert mask.shape == (cut.side, cut.side) and mask.min() >= 0 and mask.max() <= 1
        inner = face.keypoints.round().astype(int) - (cut.left, cut.top)
        assert min(mask[y, x] for x, y in inner) > 0.8
        edges = torch.cat([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert edges.max() < 0.1


def test_what_is_no_face_stays_to_the_pixel(photo, faces, image):
    face = faces[2]
    cut = Cut.around(face, photo.size, 1.6)
    mask = cut.mask(face, 0.08)
    before = image.clone()
    result = cut.put_back(image, torch.zeros(1, 64, 64, 3), mask)
    assert torch.equal(image, before)
    changed = (result != image).any(dim=-1)
    inside = torch.zeros_like(changed)
    inside[cut.top : cut.top + cut.side, cut.left : cut.left + cut.side] = mask > 0
    assert not (changed & ~inside).any()
    x, y = face.keypoints[2].round().astype(int)
    assert result[y, x].max() < 0.02


def test_a_face_laid_back_as_it_was_is_as_it_was(photo, faces, image):
    face = faces[0]
    cut = Cut.around(face, photo.size, 1.6)
    square = cut.take(image, 1024)
    assert square.shape == (1, 1024, 1024, 3)
    result = cut.put_back(image, square, cut.mask(face, 0.08))
    assert float((result - image).abs().max()) < 0.06


def test_a_face_is_the_same_on_a_larger_picture(photo, faces):
    cut, larger = (Cut.around(faces[0].scaled(by), (photo.width * by, photo.height * by), 1.6) for by in (1, 3))
    assert (larger.left, larger.top, larger.side) == pytest.approx((cut.left * 3, cut.top * 3, cut.side * 3), abs=3)


def judged(*scores: float | None) -> Judged:
    return Judged(1, Image.new("RGB", (8, 8)), (), scores)


@pytest.mark.parametrize(
    ("people", "by", "least", "expected"),
    [
        (2, None, -1.0, {0: 0, 1: 1}),
        (5, None, -1.0, {0: 0, 1: 1, 2: 2}),
        (2, [judged(0.1, 0.7, 0.2), judged(0.6, 0.65, 0.1)], -1.0, {1: 0, 0: 1}),
        (2, [judged(0.1, 0.7, 0.2), judged(0.6, 0.65, 0.1)], 0.65, {1: 0}),
        (1, [judged(0.1, None, 0.2)], -1.0, {2: 0}),
        (1, [judged(0.1, None, 0.2)], 0.5, {}),
        (2, [judged(None, None, None), judged(0.3, 0.1, 0.2)], -1.0, {0: 1}),
    ],
)
def test_faces_are_given_to_people(people, by, least, expected, faces):
    assert assign(faces[:3], people, by, least) == expected


def test_every_person_has_to_judge(faces):
    with pytest.raises(HyperLoRAError, match="0 identities are connected for 2 LoRAs: connect one for each, in order"):
        assign(faces, 2, [])
