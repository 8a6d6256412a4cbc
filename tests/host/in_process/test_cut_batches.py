"""Pictures that are cut out of a batch keep their person."""

import pytest
import torch

from hyperlora_core import HyperLoRAError
from tests.host.in_process.sampling import STRENGTH, check, drawn, half


def test_a_picture_that_is_cut_out_stays_its_persons(base, strong_people, door):
    empty = torch.zeros(5, 4, 16, 16)
    model = door.add_layers(base, door.per_item(strong_people, STRENGTH))
    full = drawn(model, empty)
    for indices in ([1, 2], [4], [2, 0], [3, 1, 2]):
        check(str(indices), drawn(model, empty[indices], indices=indices), full[indices], 2e-5)
    strict = door.add_layers(base, door.per_item(strong_people, STRENGTH, repeat=False))
    check("of more people", drawn(strict, empty[:1], indices=[2]), full[2:3], 2e-5)
    with pytest.raises(HyperLoRAError, match="there are 3 identities for a batch of 5 pictures: add identities"):
        drawn(strict, empty[:1], indices=[4])


def test_a_mask_goes_with_the_picture_that_is_cut_out(base, strong_people, door):
    masks = torch.cat([half("left"), half("right"), torch.ones(1, 8, 12)])
    model = door.add_layers(base, door.in_regions(strong_people[:1], [masks], STRENGTH))
    empty = torch.zeros(3, 4, 16, 16)
    check("its own", drawn(model, empty[:2], indices=[1, 2]), drawn(model, empty)[1:], 2e-5)
    two = door.add_layers(base, door.in_regions(strong_people[:1], [masks[1:]], STRENGTH))
    check("one each", drawn(two, empty[:2], indices=[1, 2]), drawn(model, empty)[1:], 2e-5)


def test_what_was_drawn_here_is_known_without_its_noise(base, strong_people, door):
    """Pictures are cut out between two samplers; the second adds no noise, or another noise."""
    model = door.add_layers(base, door.per_item(strong_people, STRENGTH))
    first = drawn(model, torch.zeros(3, 4, 16, 16))
    full = drawn(model, first, add_noise=False)
    check("cut", drawn(model, first[1:], add_noise=False), full[1:], 2e-5)
    check("cut and repeated", drawn(model, first[[1, 1]], add_noise=False), full[[1, 1]], 2e-5)
    again = drawn(model, first[1:], seed=9)  # as after Latent Batch Seed Behavior: random, which drops the numbers
    single = door.add_layers(base, [door.Layer(strong_people[1], STRENGTH)])
    check("of another seed", again[:1], drawn(single, first[1:2], seed=9), 2e-5)


def numbers(latents: torch.Tensor, indices: list[int] | None = None, seed: int | None = 4) -> tuple[int, ...]:
    import comfy.sample

    from hyperlora_core.doors.comfyui.runtime import pictures

    return pictures.batch_numbers(comfy.sample.prepare_noise(latents, seed or 0, indices), latents, seed)


def test_numbers_of_pictures(comfy):
    empty, own = torch.zeros(4, 4, 8, 8), torch.randn(4, 4, 8, 8)
    for latents in (empty, own, own.half()):
        assert numbers(latents) == numbers(latents, [0, 1, 2, 3]) == numbers(latents, seed=None) == (0, 1, 2, 3)
        assert numbers(latents, [7, 5, 0, 1]) == (7, 5, 0, 1)
        assert numbers(latents, [0, 0, 0, 0]) == (0, 1, 2, 3)  # one seed for all
        assert numbers(latents, [0, 1, 0, 1]) == (0, 1, 2, 3)  # two batches put together
        with pytest.raises(HyperLoRAError, match="these 4 pictures were cut out of a batch and then repeated"):
            numbers(latents, [1, 1, 2, 2])
    with pytest.raises(HyperLoRAError, match="whose each is cannot be known any more"):
        numbers(own[[1, 1]], [1, 2])  # Repeat Latent Batch numbers the copies anew; both are the second picture
    assert numbers(empty[:2], [600, 601]) == (0, 1)  # beyond the 512 numbers that are tried
