"""A fit that was stopped goes on as if it had not been."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from demo.trained.fitting import Recipe, fit

RECIPE = Recipe(steps=12, batch=4, rate=0.05, warmup=3, average=0.5, save_every=4)


def network():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def loss_of(model, stop_at=None):
    passes = []

    def loss(chance, count):
        passes.append(count)
        if len(passes) == stop_at:
            raise KeyboardInterrupt
        samples = torch.randn(count, 3, generator=chance)
        return (model(samples) - samples[:, :2]).square().mean()

    return loss


def test_it_ends_where_it_would_have_ended(tmp_path):
    uninterrupted, interrupted = network(), network()
    expected = fit(tmp_path / "one.safetensors", uninterrupted, loss_of(uninterrupted), RECIPE)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "two.safetensors", interrupted, loss_of(interrupted, stop_at=7), RECIPE)
    assert not (tmp_path / "two.safetensors").exists()
    restarted = network()
    resumed = fit(tmp_path / "two.safetensors", restarted, loss_of(restarted), RECIPE)
    for name, value in load_file(expected).items():
        assert torch.equal(value, load_file(resumed)[name]) and torch.equal(value, uninterrupted.state_dict()[name])
    assert not list(tmp_path.glob("*.state"))


def test_it_learns(tmp_path):
    model = network()
    before = float(loss_of(model)(torch.Generator().manual_seed(9), 64).detach())
    fit(tmp_path / "model.safetensors", model, loss_of(model), Recipe(steps=80, batch=16, rate=0.05, warmup=1))
    assert float(loss_of(model)(torch.Generator().manual_seed(9), 64).detach()) < 0.05 * before


def test_what_is_done_is_not_done_again(tmp_path):
    model = network()
    path = fit(tmp_path / "model.safetensors", model, loss_of(model), RECIPE)
    fresh = network()
    fit(path, fresh, loss_of(fresh, stop_at=1), RECIPE)
    assert torch.equal(fresh.weight, model.weight)
