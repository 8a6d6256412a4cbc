"""The judge reads drawings that nothing was trained on, and blurred ones as well."""

import pytest
import torch.nn.functional as F

from demo.drawn import judge, people, scenes
from demo.drawn.drawing import SIZE, draw

COUNT = 200


@pytest.fixture(scope="module")
def drawings():
    """Pictures of people and scenes of their own seeds, and the scenes."""
    where = scenes.scenes(515, COUNT, styled=0.1)
    return draw(people.people(515, range(COUNT)), where), where


@pytest.mark.long
@pytest.mark.parametrize("side", [SIZE, 56], ids=["sharp", "blurred"])
def test_it_reads_what_captions_say(drawings, side):
    pictures, where = drawings
    resized = F.interpolate(F.interpolate(pictures, (side, side), mode="area"), (SIZE, SIZE), mode="bilinear")
    answers = judge.load().read(resized)
    right = {name: (answers[name] == answer).float() for name, answer in judge.asked(where).items()}
    photos = where.style == 0
    shares = {name: float(correct[photos].mean()) for name, correct in right.items()}
    least = {"clothing": 0.85, "light": 0.85, "gaze": 0.85, "smile": 0.9}
    assert {name: share for name, share in shares.items() if share < least.get(name, 0.95)} == {}
