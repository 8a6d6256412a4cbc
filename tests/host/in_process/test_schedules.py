"""Schedules at run-time, compared with hooks of the same keyframes."""

from itertools import pairwise

import pytest
import torch

from hyperlora_core.lora.schedule import Schedule
from tests.host.in_process.sampling import STRENGTH, check, error, patched, prompt, sample


def steps(schedule: Schedule) -> Schedule:
    """A schedule that is constant between its keyframes, as hooks are."""
    frames = [*schedule.keyframes(), (1.0, 0.0)]
    points = [(at, factor) for (begin, factor), (end, _) in pairwise(frames) for at in (begin, end)]
    return Schedule(tuple(points))


@pytest.mark.parametrize(
    ("curve", "start", "end"),
    [
        pytest.param("constant", 0.0, 1.0, marks=pytest.mark.slow),
        ("constant", 0.25, 0.6),
        pytest.param("rise, ease in", 0.0, 0.9, marks=pytest.mark.slow),
        ("rise and fall", 0.1, 1.0),
    ],
)
def test_a_schedule_is_what_hooks_with_its_keyframes_are(comfy, base, people, door, curve, start, end):
    import comfy.hooks

    from hyperlora_core.doors.comfyui.hooks import hooks

    schedule = Schedule.preset(curve, start, end)
    group = hooks(people[0], STRENGTH, schedule)
    hooked = [comfy.hooks.set_hooks_for_conditioning(prompt(seed), group) for seed in (1, 2)]
    expected = sample(base, *hooked, steps=5)
    layer = door.Layer(people[0], STRENGTH, steps(schedule))
    check(curve, sample(door.add_layers(base, [layer]), steps=5), expected, 2e-5)


def test_a_schedule_acts_from_its_start_to_its_end(base, people, door, plain):
    def at(start: float, end: float) -> torch.Tensor:
        return sample(door.add_layers(base, [door.Layer(people[0], STRENGTH, Schedule.preset("constant", start, end))]))

    check("always", at(0.0, 1.0), sample(patched(base, people[0])))
    first, last = at(0.0, 0.5), at(0.5, 1.0)
    assert error(first, plain) > 1e-3 and not torch.equal(last, plain) and error(first, last) > 1e-3
    assert torch.equal(at(0.6, 0.8), plain)  # between two steps
