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
        if faces := judging.faces(picture):
            embeds.append((person, judging.embedding(picture, faces[0])))
    pairs = [(one == other, float(a @ b)) for (one, a), (other, b) in itertools.combinations(embeds, 2)]
    return [cosine for same, cosine in pairs if same], [cosine for same, cosine in pairs if not same]


def test_the_second_embedder_knows_real_people(judging, photos):
    same, different = alike(
        judging, [(name.rstrip("23"), photos[name]) for name in ("obama", "obama2", "obama3", "biden", "astronaut")]
    )
    assert len(same) == 3 and min(same) > max(different) + 0.05


@pytest.mark.long
def test_the_second_embedder_knows_drawn_people(judging):
    photos = [(person, world.photo(person, number)) for person in PEOPLE for number in range(3)]
    same, different = alike(judging, photos)
    assert fmean(sum(cosine > stranger for stranger in different) / len(different) for cosine in same) > 0.93


def test_no_method_reads_faces_by_it(judging):
    assert "flatters" not in judging.remark


def test_the_protocol_is_one_that_the_command_reads():
    protocol = Protocol.from_json(compared.protocol())
    assert {prompt.group for prompt in protocol.prompts} == {"headshot", "editable", "style"}
