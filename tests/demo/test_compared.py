"""What judges the comparison of ways: an embedder that nothing was trained with, and the protocol."""

import itertools
from statistics import fmean

import pytest

from demo.compared import __main__ as compared
from demo.compared import embedder
from demo.shown import world
from hyperlora_core import open_photo
from hyperlora_core.evaluation.face_scores import FaceJudge
from hyperlora_core.evaluation.protocol import Protocol

PEOPLE = range(8)


@pytest.fixture(scope="module")
def judging():
    return FaceJudge.load(world.analyzer(), embedder.embedder())


def alike(judging, photos):
    """Cosines of photos of one person, and of two."""
    embeds = []
    for person, path in photos:
        picture = open_photo(path)
        if found := judging.faces(picture):
            embeds.append((person, judging.embedding(picture, found[0])))
    pairs = [(one == other, float(a @ b)) for (one, a), (other, b) in itertools.combinations(embeds, 2)]
    return [cosine for same, cosine in pairs if same], [cosine for same, cosine in pairs if not same]


def test_the_second_embedder_knows_real_people(judging, photos):
    own, others = alike(
        judging, [(name.rstrip("23"), photos[name]) for name in ("obama", "obama2", "obama3", "biden", "astronaut")]
    )
    assert len(own) == 3 and min(own) > max(others) + 0.05


def test_the_second_embedder_knows_drawn_people(judging):
    own, others = alike(judging, [(person, world.photo(person, number)) for person in PEOPLE for number in range(3)])
    assert fmean(sum(one > other for other in others) / len(others) for one in own) > 0.93


def test_no_method_reads_faces_by_it(judging):
    assert "flatters" not in judging.remark


def test_the_protocol_is_one_that_the_command_reads():
    told = Protocol.from_json(compared.protocol())
    assert {prompt.group for prompt in told.prompts} == {"headshot", "editable", "style"}
