"""The small base's rounds, and what of them is shipped."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from demo.drawn import people
from demo.trained import base, folders, vae

FEW = [replace(recipe, steps=2, batch=2, warmup=1) for recipe in base.ROUNDS]


@pytest.mark.long
def test_each_round_goes_on_from_the_one_before_and_the_last_is_told_who_it_is(tmp_path):
    latents = torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(0)).half()
    path = base.train(tmp_path / "base.safetensors", latents, [None, None, torch.ones(1, 1, 16, 16)], FEW)
    first, second, last = (
        load_file(tmp_path / name) for name in ("base-1.safetensors", "base-2.safetensors", path.name)
    )
    assert torch.equal(first["who.0.weight"], second["who.0.weight"]), "nobody is told who it is yet"
    assert not torch.equal(second["who.0.weight"], last["who.0.weight"])
    assert not torch.equal(first["unet.conv_in.weight"], second["unet.conv_in.weight"])
    assert sum((last[name] - second[name]).abs().sum() for name in last if "attn2" in name) > 0


def test_what_told_it_who_it_is_is_not_shipped():
    assert not any(name.startswith("who.") for name in load_file(folders.BASE))
    assert set(folders.parts()) == {"vae", "unet", "text_encoder", "text_encoder_2"}


@pytest.mark.slow
def test_places_that_matter_are_the_faces():
    torch.manual_seed(0)
    small = vae.network()
    for acting in (base.where_words_act(small), base.where_people_differ(small)):
        assert acting.shape == (1, 1, 16, 16) and abs(float(acting.mean()) - 1) < 1e-4
        assert acting[..., 4:10, 5:11].mean() > 2 * acting[..., 13:, :].mean()


def test_people_who_look_alike_are_near_in_what_is_told():
    person, stranger = people.people(1, range(2))
    nearly = person.clone()
    nearly[0] += 0.02
    vectors = base.seen_of(torch.stack([person, nearly, stranger]))
    assert vectors.shape == (3, len(people.TRAITS) + 8)
    assert (vectors[0] - vectors[1]).norm() < 0.2 * (vectors[0] - vectors[2]).norm()
