"""The loops that sample until a picture is alike, and that draw faces again, with sampling replaced by arithmetic."""

import numpy as np
import pytest
import torch
from PIL import Image

from hyperlora_core import HyperLoRAError, open_photo
from hyperlora_core.errors import NoFaceError
from hyperlora_core.faces import sort_faces
from hyperlora_core.judging.likeness import Judged, Person, judge
from hyperlora_core.judging.redraw import Framing, redraw_faces
from hyperlora_core.judging.until_alike import sample_until_alike, settings

FRAMING = Framing(size=64, surroundings=1.6, feather=0.08)


def test_attempts_are_each_seed_with_each_strength():
    assert settings(7, 2, [0.5, 1.0]) == [(7, 0.5), (7, 1.0), (8, 0.5), (8, 1.0)]
    assert settings((1 << 64) - 1, 2, [1.0]) == [((1 << 64) - 1, 1.0), (0, 1.0)], "seeds have 64 bits"


def search(scores: dict[int, list[float | None]], enough: float):
    """Sample until alike where seed N gives two pictures with the scores of N; the seeds used, all, and the best."""
    seeds = []

    def sample(seed: int, strength: float):
        seeds.append(seed)
        return torch.full((2, 4, 8, 8), float(seed)), torch.full((2, 64, 64, 3), float(seed))

    def judge_images(images: torch.Tensor) -> list[Judged]:
        picture = Image.new("RGB", (64, 64))
        numbered = enumerate(scores[int(images[0, 0, 0, 0])], start=1)
        return [Judged(number, picture, (), () if score is None else (score,)) for number, score in numbered]

    return seeds, *sample_until_alike(settings(1, len(scores), [1.0]), sample, judge_images, enough)


def test_it_ends_at_the_first_batch_with_a_picture_that_is_enough():
    seeds, pictures, best = search({1: [0.1, None], 2: [0.3, 0.6], 3: [0.9, 0.9]}, enough=0.5)
    assert seeds == [1, 2] and len(pictures) == 4
    assert (best.seed, best.rank, best.latent.shape, best.image.shape) == (2, 0.6, (1, 4, 8, 8), (1, 64, 64, 3))


def test_the_best_comes_where_none_is_enough_and_without_a_face_there_is_none():
    seeds, _, best = search({1: [-0.9, None], 2: [None, None]}, enough=0.5)
    assert seeds == [1, 2] and best.rank == -0.9
    with pytest.raises(NoFaceError, match="on any of the 4 pictures"):
        search({1: [None, None], 2: [None, None]}, enough=0.5)


def tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255)[None]


@pytest.fixture(scope="module")
def group(photos) -> Image.Image:
    photo = open_photo(photos["group"])
    photo.thumbnail((900, 900))
    return photo


def black_or_white(pixels: torch.Tensor, mask: torch.Tensor, person: int) -> torch.Tensor:
    """Draws person 0 black and person 1 white."""
    assert pixels.shape == (1, 64, 64, 3) and mask.shape[0] == 1
    return torch.full_like(pixels, float(person))


def redraw(pictures, people, detect, judges, least=0.0, skip=True):
    images = torch.cat([tensor(picture) for picture in pictures])
    return redraw_faces(images, pictures, people, detect, judges, black_or_white, FRAMING, least, skip)


def test_faces_go_to_the_people_from_left_to_right(analyzer, group):
    redrawn = redraw([group], 2, analyzer.detect, None)
    faces = sort_faces(analyzer.detect(group), "left to right")
    assert redrawn.lines[:3] == [
        "picture 1, face 1: person 1",
        "picture 1, face 2: person 2",
        "picture 1, face 3: nobody's, as it was",
    ]
    assert len(redrawn.lines) == len(faces) == 6 and redrawn.remarks == []
    for face, expected in zip(faces, (0.0, 1.0), strict=False):
        x, y = face.landmarks.mean(axis=0).round().astype(int)
        assert redrawn.masks[0, y, x] > 0.9 and (redrawn.images[0, y, x] - expected).abs().max() < 0.1
    untouched = redrawn.masks[0] == 0
    assert torch.equal(redrawn.images[0][untouched], tensor(group)[0][untouched]) and untouched.float().mean() > 0.8


def test_faces_go_to_whom_they_are_like(analyzer, references, photos):
    photo = open_photo(photos["obama"])
    photo.thumbnail((600, 600))
    people = [Person.of_references([references[name]]) for name in ("biden", "obama2")]
    judges = [lambda picture, person=person: judge(analyzer, person, [picture])[0] for person in people]
    redrawn = redraw([photo], 2, analyzer.detect, judges, least=0.1)
    assert len(redrawn.lines) == 1 and redrawn.lines[0].startswith("picture 1, face 1: person 2, likeness 0.")
    redrawn = redraw([photo], 2, analyzer.detect, judges, least=0.99)
    assert torch.equal(redrawn.images, tensor(photo)) and not redrawn.masks.any()
    assert redrawn.remarks == ["no face on picture 1 of 1 is like a person connected: it stays as it is"]
    with pytest.raises(HyperLoRAError, match="1 identities are connected for 2 LoRAs"):
        redraw([photo], 2, analyzer.detect, judges[:1])


def test_a_picture_without_a_face_is_let_through_or_an_error(analyzer):
    grey = Image.new("RGB", (300, 200), "gray")
    redrawn = redraw([grey], 1, analyzer.detect, None)
    assert torch.equal(redrawn.images, tensor(grey))
    assert redrawn.remarks == ["no face was found on picture 1 of 1: it stays as it is"]
    with pytest.raises(NoFaceError, match="picture 1 of 1: set on_no_face to skip"):
        redraw([grey], 1, analyzer.detect, None, skip=False)
