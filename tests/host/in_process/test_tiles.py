"""Masks where a picture is drawn in tiles, or face by face: refused, or a warning."""

from collections.abc import Callable

import pytest
import torch

from hyperlora_core import HyperLoRAError
from tests.host.in_process.sampling import STRENGTH, check, drawn, half, noise, patched, sample


def test_tiles_of_another_pack_are_refused(base, strong_people, door):
    def tiles(apply, args):
        x, t, c = args["input"], args["timestep"], args["c"]
        return torch.cat([apply(part, t, **c) for part in x.chunk(2, 3)], 3)

    def tiled(layers):
        model = door.add_layers(base, layers)
        model.set_model_unet_function_wrapper(tiles)
        return model

    message = "was given a part of 16 x 8 of a latent of 16 x 16: another node draws it in tiles"
    with pytest.raises(HyperLoRAError, match=message):
        sample(tiled(door.in_regions(strong_people[:1], [half("left")])))
    expected = patched(base, strong_people[0])
    expected.set_model_unet_function_wrapper(tiles)
    check("without masks", sample(tiled([door.Layer(strong_people[0], STRENGTH)])), sample(expected))


@pytest.fixture
def warnings(comfy) -> Callable:
    from hyperlora_core.doors.comfyui.runtime import tiles

    heard: list[str] = []
    tiles.listeners.append(heard.append)
    yield heard
    tiles.listeners.remove(heard.append)


def test_tiles_and_faces_under_whole_masks_are_said(base, strong_people, door, warnings):
    from comfy_execution.utils import CurrentNodeContext

    picture = noise(1, batch=2, size=16)
    square, wide = (door.add_layers(base, door.in_regions(strong_people[:1], [half("left", 8, w)])) for w in (8, 16))
    ones = door.add_layers(base, door.in_regions(strong_people[:1], [torch.ones(1, 8, 16)]))
    with CurrentNodeContext("a", "7"):
        drawn(wide, torch.zeros(1, 4, 16, 16))  # an empty latent: a picture begins here
        drawn(ones, picture[:1])
        drawn(square, picture[:1])
        drawn(square, picture[:1], seed=8)  # the same picture again, in full
        assert warnings == []
        drawn(wide, picture[:1])
        assert warnings[0].startswith(
            "masks of 16 x 8 are stretched over a picture of 128 x 128 (node 7). If they are tiles"
        )
        drawn(square, picture[1:])
        assert (
            warnings[1].startswith("one node draws several pictures, one after another (node 7)") and len(warnings) == 2
        )
    with CurrentNodeContext("a", "8"):
        drawn(square, picture[:1])
        assert len(warnings) == 2
