"""Several people at run-time: one for each picture of a batch, or each in a mask of their own."""

import pytest
import torch

from hyperlora_core import HyperLoRAError, LoRA
from tests.host.in_process.sampling import STRENGTH, check, error, half, noise, patched, random_lora, sample, say
from tests.host.in_process.unets import VEGA, patcher


def test_each_picture_of_a_batch_is_what_it_is_alone(base, people, door):
    start = noise(5, batch=4)
    actual = sample(door.add_layers(base, door.per_item([*people[:2], LoRA()], STRENGTH)), start=start)
    for item, lora in enumerate([people[0], people[1], LoRA(), people[0]]):
        check(f"picture {item}", actual[item : item + 1], sample(patched(base, lora), start=start[item : item + 1]))


@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_lists_that_are_too_short_or_too_long(base, people, door, cfg):
    for layers, batch, message in (
        (
            door.per_item(people[:2], repeat=False),
            3,
            "there are 2 identities for a batch of 3 pictures: add identities",
        ),
        (door.per_item(people, repeat=False), 2, "there are 3 identities for a batch of 2 pictures: make the batch as"),
        (door.per_item(people, repeat=True), 2, "there are 3 identities for a batch of 2 pictures: make the batch as"),
    ):
        with pytest.raises(HyperLoRAError, match=message):
            sample(door.add_layers(base, layers), start=noise(1, batch), cfg=cfg)
    start = noise(1, 2)
    actual = sample(door.add_layers(base, door.per_item(people[:2], STRENGTH, repeat=False)), start=start, cfg=cfg)
    check("as many", actual[1:], sample(patched(base, people[1]), start=start[1:], cfg=cfg))


def test_a_mask_of_ones_is_the_person_and_of_zeros_the_base(base, people, door, plain):
    person = people[0]
    ones = door.add_layers(base, door.in_regions([person], [torch.ones(1, 33, 20)], STRENGTH))
    check("ones", sample(ones), sample(patched(base, person)))
    zeros = door.add_layers(base, [door.Layer(person, STRENGTH, mask=torch.zeros(1, 8, 8))])
    check("zeros", sample(zeros), plain)


@pytest.mark.parametrize("part", ["attn1", "attn2", "attn2.to_k", "attn2.to_v", "attn2.to_q", "to_out", "up.0"])
def test_masks_work_for_a_lora_of_some_parts(base, people, door, part):
    lora = LoRA({key: value for key, value in people[0].items() if is_part(key, part)})
    ones = door.add_layers(base, door.in_regions([lora], [torch.ones(1, 8, 8)], STRENGTH))
    check("ones", sample(ones), sample(patched(base, lora)))


def is_part(key: str, part: str) -> bool:
    from hyperlora_core.lora.names import canonical_name

    name = canonical_name(key.partition(".")[0])
    return f".{part.replace('up.0', 'up_blocks.0')}." in f".{name}."


def test_people_who_overlap_share(base, people, door):
    ones = torch.ones(1, 8, 8)
    halves = [door.Layer(person, STRENGTH, mask=ones / 2) for person in people[:2]]
    shared = sample(door.add_layers(base, door.in_regions(people[:2], [ones, ones], STRENGTH)))
    assert torch.equal(shared, sample(door.add_layers(base, halves)))
    same = sample(door.add_layers(base, door.in_regions([people[0]] * 2, [ones, ones], STRENGTH)))
    check("one person twice", same, sample(patched(base, people[0])))


def test_regions_do_not_leak(comfy, door):
    """Replace the person in the right half: in the first step the left half changes little, the right one much."""
    base = patcher(comfy, "Segmind_Vega", VEGA)
    people = [random_lora(base, seed) for seed in (1, 2, 3)]

    def first_step(second: LoRA) -> torch.Tensor:
        regions = door.in_regions([people[0], second], [half("left"), half("right")], STRENGTH)
        return sample(door.add_layers(base, regions), start=noise(3, size=32), steps=1, cfg=1.0)

    def change(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).abs().mean(dim=(0, 1, 2))

    masked = change(first_step(people[1]), first_step(people[2]))
    start = noise(3, size=32)
    anywhere = change(*(sample(patched(base, person), start=start, steps=1, cfg=1.0) for person in people[1:]))
    leak, without = (float(changes[:16].mean() / changes[16:].mean()) for changes in (masked, anywhere))
    say(f"change in the other's half, of that in the own: {leak:.2f}; without masks {without:.2f}")
    assert leak < 0.3 < 0.9 < without


def test_a_mask_for_each_picture_of_a_batch(base, people, door):
    masks = torch.cat([half("left"), half("right")])
    start = noise(4, batch=2)
    actual = sample(door.add_layers(base, door.in_regions(people[:1], [masks], STRENGTH)), start=start)
    for item in range(2):
        alone = door.add_layers(base, door.in_regions(people[:1], [masks[item : item + 1]], STRENGTH))
        check(f"picture {item}", actual[item : item + 1], sample(alone, start=start[item : item + 1]))
    with pytest.raises(HyperLoRAError, match="a mask has 2 pictures, and the batch 3: one for all is needed"):
        sample(door.add_layers(base, door.in_regions(people[:1], [masks], STRENGTH)), start=noise(4, batch=3))


@pytest.mark.parametrize("size", [(16, 16), (18, 26), (10, 34)])
def test_sizes_that_the_unet_cannot_halve_evenly(base, people, door, size):
    start = torch.randn(1, 4, *size, generator=torch.Generator().manual_seed(1))
    ones = door.in_regions(people[:1], [torch.ones(1, 9, 7)], STRENGTH)
    check(str(size), sample(door.add_layers(base, ones), start=start), sample(patched(base, people[0]), start=start))


def test_wrong_masks_are_named(people, door):
    ones, empty = torch.ones(1, 8, 8), torch.zeros(1, 8, 8)
    for masks, message in (
        ([ones, ones], "there are 2 masks for 1 people: each person needs one"),
        ([empty], "mask 1 of 1 is empty: nothing of this person would be drawn"),
        ([torch.full((1, 8, 8), torch.nan)], "mask 1 of 1 is no mask"),
        ([torch.ones(8, 8)], "mask 1 of 1 is no mask, but \\(8, 8\\)"),
        ([torch.ones(1, 0, 8)], "mask 1 of 1 is no mask"),
    ):
        with pytest.raises(HyperLoRAError, match=message):
            door.in_regions(people[:1], masks)


@pytest.mark.slow
def test_a_node_that_rearranges_tokens(comfy, base, people, door, running):
    from comfy_extras.nodes_hypertile import HyperTile

    tiled = HyperTile.execute(base, 64, 1, 2, False)[0]
    start = noise(6, batch=2, size=32)
    expected = [sample(patched(tiled, person), start=start) for person in people[:2]]
    assert error(sample(patched(base, people[0]), start=start), expected[0]) > 1e-5
    check("one", sample(running(tiled, people[0]), start=start), expected[0])
    actual = sample(door.add_layers(tiled, door.per_item(people[:2], STRENGTH)), start=start)
    for item in range(2):
        check(f"picture {item}", actual[item : item + 1], expected[item][item : item + 1])
    with pytest.raises(HyperLoRAError, match="another node rearranges or merges picture tokens"):
        sample(door.add_layers(tiled, door.in_regions(people[:1], [torch.ones(1, 8, 8)])), start=start)
