"""Strengths that change while a picture is sampled."""

import json
from pathlib import Path

import pytest

from hyperlora_core import HyperLoRAError
from hyperlora_core.lora.schedule import CURVES, Schedule

SHARED = json.loads((Path(__file__).parents[1] / "web" / "points.json").read_text())
"""Texts of points and what they are, which the editor's own parser is tested with too."""


@pytest.mark.parametrize(
    ("curve", "start", "middle", "end"),
    [
        ("constant", 1, 1, 1),
        ("rise", 0, 0.5, 1),
        ("rise, ease in", 0, 0.25, 1),
        ("rise, ease out", 0, 0.75, 1),
        ("rise, ease in and out", 0, 0.5, 1),
        ("fall", 1, 0.5, 0),
        ("fall, ease in", 1, 0.75, 0),
        ("fall, ease out", 1, 0.25, 0),
        ("fall, ease in and out", 1, 0.5, 0),
        ("rise and fall", 0, 1, 0),
    ],
)
def test_presets_begin_and_end_where_they_say(curve, start, middle, end):
    schedule = Schedule.preset(curve, 0.2, 0.6)
    found = [schedule.at(percent) for percent in (0.2, 0.4, 0.6 - 1e-9)]
    assert found == pytest.approx([start, middle, end], abs=1e-6)
    assert [schedule.at(percent) for percent in (0.0, 0.199, 0.6, 1.0)] == [0, 0, 0, 0]
    assert set(CURVES) >= {curve}


def test_the_last_step_counts_where_there_is_no_end():
    assert Schedule.preset("constant").at(1.0) == 1
    assert Schedule.preset("rise").at(1.0) == 1
    assert Schedule.preset("constant", 0.0, 0.999).at(1.0) == 0


def test_points_are_joined_by_lines_and_jumps():
    schedule = Schedule.parse("0: 0.2\n0.4: 1, 0.4 = 0.5, 0.8: -1")
    expected = {0.0: 0.2, 0.2: 0.6, 0.3999999999: 1.0, 0.4: 0.5, 0.6: -0.25, 0.8: -1.0, 0.9: -1.0, 1.0: -1.0}
    assert [schedule.at(percent) for percent in expected] == pytest.approx(list(expected.values()))
    assert Schedule.parse("0.5: 2").at(0.1) == 2


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (0.3, 0.7)])
def test_the_mean_is_that_of_many_moments(curve, start, end):
    schedule = Schedule.preset(curve, start, end)
    moments = [schedule.at((i + 0.5) / 20000) for i in range(20000)]
    assert schedule.mean == pytest.approx(sum(moments) / len(moments), abs=1e-4)


def test_the_mean_of_points_with_a_jump():
    assert Schedule.parse("0: 0, 0.3: 1, 0.3: 0.5, 1: 0.5").mean == pytest.approx(0.15 + 0.35)


@pytest.mark.parametrize("curve", CURVES)
def test_keyframes_are_the_curve_in_steps(curve):
    schedule = Schedule.preset(curve, 0.2, 0.9)
    frames = schedule.keyframes(32)
    assert frames[0] == (0.0, 0.0) and frames[-1] == (0.9, 0.0)
    for percent in (0.1, 0.25, 0.51, 0.77, 0.95):
        (*_, factor) = (value for begin, value in frames if begin <= percent)
        assert factor == pytest.approx(schedule.at(percent), abs=0.06)
    assert len(frames) == (3 if curve == "constant" else 34)


def test_a_constant_schedule_is_one_keyframe():
    assert Schedule.preset("constant").keyframes() == [(0.0, 1.0)]


def test_what_cannot_be_a_schedule_is_named():
    for make, message in (
        (lambda: Schedule.preset("wobble"), "there is no curve 'wobble'; there are constant, rise"),
        (lambda: Schedule.preset("rise", 0.6, 0.6), "the schedule starts at 0.6 and ends at 0.6"),
        (lambda: Schedule.preset("rise", 0.0, 1.5), "both are from 0 to 1"),
        (lambda: Schedule.parse(""), "a schedule needs points"),
        (lambda: Schedule.parse("0: 1, x: 2"), "the point 'x: 2' cannot be read"),
        (lambda: Schedule.parse("0: 1, 0.5"), "the point '0.5' cannot be read"),
        (lambda: Schedule.parse("0.5: 1, 0.2: 1"), "the schedule's points stand at 0.5, 0.2: they have to be in order"),
        (lambda: Schedule.parse("0: 1, 2: 1"), "in order, from 0 to 1"),
        (lambda: Schedule.parse("0: nan"), "a schedule needs points"),
    ):
        with pytest.raises(HyperLoRAError, match=message):
            make()


@pytest.mark.parametrize(("text", "points"), SHARED["read"])
def test_points_are_read_as_the_editor_reads_them(text, points):
    if points is None:
        with pytest.raises(HyperLoRAError):
            Schedule.parse(text)
    else:
        assert Schedule.parse(text).points == tuple(map(tuple, points))


@pytest.mark.parametrize(("points", "text"), SHARED["written"])
def test_points_that_the_editor_writes_are_read_again(points, text):
    schedule = Schedule.parse(text)
    assert [number for point in schedule.points for number in point] == pytest.approx(
        [number for point in points for number in point], abs=5.1e-4
    )
