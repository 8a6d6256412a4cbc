"""The nodes' cache between prompts, on the real server."""

import numpy as np
import pytest
import requests

from demo import workflows
from demo.server import ComfyServer
from tests.host.conftest import forget, saved_picture

SETTING = "HyperLoRA.Cache.Size"


@pytest.fixture
def draw(server, small):
    """Draw a person; return the picture and the seconds that our node took."""

    def run(person: str) -> tuple[np.ndarray, float]:
        workflow = small("portrait_simple", person)
        result = server.run(workflow)
        return saved_picture(server, workflow, result), result.seconds[workflows.node(workflow, "HyperLoRAPortrait")]

    return run


@pytest.fixture
def free(server):
    """ComfyUI's own 'Unload Models and Execution Cache'."""

    forget(server)
    return lambda: forget(server)


def choose(server: ComfyServer, megabytes: object) -> None:
    requests.post(f"{server.url}/settings/{SETTING}", json=megabytes, timeout=60).raise_for_status()


@pytest.mark.slow
def test_people_in_turn_are_encoded_once_each_and_drawn_the_same(draw, free):
    """ComfyUI's own cache drops one person while it draws the other."""
    (obama, first), (biden, _) = draw("obama"), draw("biden")
    again, seconds = draw("obama")
    assert np.array_equal(again, obama) and not np.array_equal(again, biden)
    assert seconds < first / 2
    free()
    again, seconds_after_free = draw("obama")
    assert np.array_equal(again, obama)
    assert seconds_after_free > 2 * seconds


@pytest.mark.slow
def test_the_setting_is_honoured_at_once_and_a_broken_one_does_no_harm(server, draw, free):
    try:
        choose(server, 0)
        (obama, _), (_, _) = draw("obama"), draw("biden")
        again, computed = draw("obama")
        assert np.array_equal(again, obama)
        choose(server, "much")
        draw("obama2"), draw("biden")
        _, seconds = draw("obama2")
        assert seconds < computed / 2
        assert "The setting HyperLoRA.Cache.Size cannot be used" in server.log.read_text()
    finally:
        choose(server, 512)
