"""Likeness of faces on real photos, by the stand-in face models."""

import numpy as np
import pytest
import torch
from PIL import Image

from hyperlora_core import Cache, HyperLoRAError, open_photo
from hyperlora_core.faces.references import find_references
from hyperlora_core.files.encoders import Encoder
from hyperlora_core.identity.value import Identity
from hyperlora_core.judging.likeness import Judged, Person, judge, select, written
from hyperlora_core.network.config import Source


@pytest.fixture(scope="module")
def pictures(photos) -> dict[str, Image.Image]:
    return {name: open_photo(path) for name, path in photos.items()}


@pytest.fixture(scope="module")
def obama(analyzer, pictures) -> Person:
    return Person.of_references(find_references(analyzer, [pictures["obama"]]))


def scores(analyzer, person: Person, *images: Image.Image) -> list[float | None]:
    return [picture.score for picture in judge(analyzer, person, images)]


@pytest.mark.long
def test_the_same_picture_has_one_and_other_people_less(analyzer, pictures, obama):
    names = ("obama", "obama2", "obama3", "biden", "astronaut")
    same, *lower = scores(analyzer, obama, *(pictures[name] for name in names))
    assert same == pytest.approx(1, abs=1e-5)
    assert min(lower[:2]) > 0.5 and max(lower[2:]) < 0.36


@pytest.mark.long
def test_every_face_of_a_group_is_judged_from_left_to_right(analyzer, pictures, obama):
    group, portrait = pictures["group"], pictures["obama2"]
    height = group.height
    scaled = portrait.resize((portrait.width * height // portrait.height, height))
    together = Image.new("RGB", (group.width + scaled.width, height))
    together.paste(group, (0, 0))
    together.paste(scaled, (group.width, 0))
    (judged,) = judge(analyzer, obama, [together])
    assert len(judged.faces) == len(judged.scores) >= 6
    assert [face.box[0] for face in judged.faces] == sorted(face.box[0] for face in judged.faces)
    assert judged.score == judged.scores[-1] > 0.5 > max(judged.scores[:-1])
    assert str(judged).startswith(f"picture 1: {judged.score:.3f}, of faces ")


@pytest.mark.long
def test_a_picture_without_a_face_has_no_score(analyzer, obama):
    (judged,) = judge(analyzer, obama, [Image.new("RGB", (300, 200), "grey")])
    assert judged.score is None and judged.faces == () and str(judged) == "picture 1: no face"
    assert written(None) == "no face"


@pytest.mark.long
def test_several_photos_are_a_weighted_mean_of_cosines(analyzer, pictures, obama):
    references = find_references(analyzer, [pictures[name] for name in ("obama", "obama2", "biden")])
    people = [Person.of_references([ref]) for ref in references]
    (together,) = scores(analyzer, Person.of_references(references), pictures["obama3"])
    alone = [scores(analyzer, person, pictures["obama3"])[0] for person in people]
    assert together == pytest.approx(np.mean(alone), abs=1e-6)
    embeds = torch.stack([torch.from_numpy(ref.id_embed) for ref in references])
    weighed = Person(embeds, (3.0, 1.0, 0.0), references[0].embedder)
    assert scores(analyzer, weighed, pictures["obama3"])[0] == pytest.approx((3 * alone[0] + alone[1]) / 4, abs=1e-6)


@pytest.mark.long
def test_an_identity_judges_as_its_photos_do(analyzer, people, pictures):
    person = Person.of_identity(people["obama"])
    assert scores(analyzer, person, pictures["obama"])[0] == pytest.approx(1, abs=1e-5)
    assert "by which this person was encoded too: that flatters" in person.remark


def test_who_judges_is_said(obama):
    assert obama.remark.endswith("if the HyperLoRA reads faces by it too, that flatters")
    stranger = Person(obama.embeds, obama.weights, obama.embedder, Encoder("somebody's", "0" * 64))
    assert stranger.remark.endswith("the person was encoded by somebody's")


def test_another_embedder_is_refused(analyzer, obama, pictures):
    stranger = Person(obama.embeds, obama.weights, Encoder("somebody's", "0" * 64))
    with pytest.raises(HyperLoRAError, match="described by somebody's, whose numbers mean nothing to"):
        judge(analyzer, stranger, [pictures["obama"]])


def test_nothing_to_judge_by_is_refused(analyzer, pictures, obama):
    with pytest.raises(HyperLoRAError, match="has no face embeddings to judge by"):
        Person.of_identity(Identity(None, None, Source(), ()))
    with pytest.raises(HyperLoRAError, match="whose faces were described"):
        Person.of_references(find_references(analyzer, [pictures["obama"]], embed=False))
    with pytest.raises(HyperLoRAError, match="not all of them 0"):
        Person(obama.embeds, (0.0,), obama.embedder)


def test_faces_are_found_once_with_a_cache(analyzer, pictures, obama):
    cache, progress = Cache(64 << 20), []
    images = [pictures["obama2"], pictures["biden"]]
    first = judge(analyzer, obama, images, cache, progress.append)
    second = judge(analyzer, obama, images, cache)
    assert progress == [1, 2] and len(cache) > 0
    assert [picture.scores for picture in first] == [picture.scores for picture in second]


def judged(*values: float | None) -> list[Judged]:
    blank = Image.new("RGB", (8, 8))
    return [
        Judged(number, blank, (), () if score is None else (score,)) for number, score in enumerate(values, start=1)
    ]


@pytest.mark.parametrize(
    ("least", "best_first", "most", "kept"),
    [
        (-1.0, False, 0, [1, 2, 3, 4]),
        (-1.0, True, 0, [3, 1, 4, 2]),
        (-1.0, True, 2, [3, 1]),
        (-1.0, False, 2, [1, 3]),
        (0.4, False, 0, [1, 3]),
        (0.4, True, 1, [3]),
        (0.0, True, 0, [3, 1, 4]),
    ],
)
def test_pictures_are_sorted_and_dropped(least, best_first, most, kept):
    assert [picture.number for picture in select(judged(0.5, None, 0.7, 0.1), least, best_first, most)] == kept


def test_none_left_is_an_error_that_says_what_there_was():
    with pytest.raises(HyperLoRAError, match=r"none of the 2 pictures has a likeness of 0\.8: the best has 0\.700"):
        select(judged(0.7, None), 0.8)
    with pytest.raises(HyperLoRAError, match="none of the 1 pictures has a likeness of 0: no face was found on any"):
        select(judged(None), 0.0)
