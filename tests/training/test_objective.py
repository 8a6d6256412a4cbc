"""The loss against diffusers' own noise schedule, and random numbers that belong to samples."""

from dataclasses import replace

import pytest
import torch
from diffusers import DDPMScheduler

from hyperlora_core import HyperLoRAError
from hyperlora_core.training import counter
from hyperlora_core.training.objective import Objective
from hyperlora_core.training.targets import Target, face_weights


@pytest.fixture(scope="module")
def schedule():
    return DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


@pytest.fixture
def drawn():
    numbers = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(3, 4, 8, 8, generator=numbers) for _ in range(2))
    return latents, noise, torch.tensor([3, 500, 990])


def test_noise_and_targets_are_diffusers_own(schedule, drawn):
    latents, noise, timesteps = drawn
    objective = Objective(schedule.alphas_cumprod)
    assert torch.allclose(objective.noised(*drawn), schedule.add_noise(latents, noise, timesteps), atol=1e-6)
    assert torch.equal(objective.target(*drawn), noise)
    velocity = Objective(schedule.alphas_cumprod, prediction="v_prediction")
    assert torch.allclose(velocity.target(*drawn), schedule.get_velocity(latents, noise, timesteps), atol=1e-6)


def test_a_loss_is_the_mean_square_of_each_sample(schedule, drawn):
    latents, noise, timesteps = drawn
    losses = Objective(schedule.alphas_cumprod).losses(latents, noise, timesteps)
    expected = torch.stack([torch.nn.functional.mse_loss(a, b) for a, b in zip(latents, noise, strict=True)])
    assert torch.allclose(losses, expected)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_min_snr_caps_what_little_noise_counts(schedule, prediction):
    timesteps = torch.tensor([0, 500, 999])
    weights = Objective(schedule.alphas_cumprod, prediction, min_snr_gamma=5.0).weights(timesteps)
    snr = (schedule.alphas_cumprod / (1 - schedule.alphas_cumprod))[timesteps]
    over = snr + (prediction == "v_prediction")
    assert torch.allclose(weights, snr.clamp(max=5) / over, rtol=1e-4)
    assert weights[0] < 0.05


def test_values_that_cannot_be_are_told(schedule):
    for wrong, sentence in (
        ({"min_snr_gamma": 0.0}, "min_snr_gamma is 0"),
        ({"noise_offset": -0.1}, "noise_offset is -0.1"),
        ({"prediction": "sample"}, "the prediction 'sample' is unknown"),
    ):
        with pytest.raises(HyperLoRAError, match=sentence):
            Objective(schedule.alphas_cumprod, **wrong)


def test_what_a_sample_draws_does_not_depend_on_its_neighbours(schedule):
    objective = Objective(schedule.alphas_cumprod, noise_offset=0.1)
    like = torch.zeros(4, 4, 8, 8)
    all_noise, all_steps = objective.noise(7, range(4), like), objective.timesteps(7, range(4))
    for order in ((2, 0), (3, 1)):
        assert torch.equal(objective.noise(7, order, like[:2]), all_noise[list(order)])
        assert torch.equal(objective.timesteps(7, order), all_steps[list(order)])
    assert not torch.equal(all_noise[0], all_noise[1])
    assert not torch.equal(objective.noise(8, range(4), like), all_noise)


def test_draws_are_evenly_spread():
    steps = counter.integers(3, range(4000), "timestep", 10)
    assert all(300 < (steps == value).sum() < 500 for value in range(10))
    shares = torch.tensor([counter.uniform(3, sample, "scenario") for sample in range(4000)])
    assert abs(float(shares.mean()) - 0.5) < 0.03 and float(shares.min()) >= 0 and float(shares.max()) < 1
    noise = counter.normal(3, range(200), "noise", (4, 8, 8))
    assert abs(float(noise.mean())) < 0.02 and abs(float(noise.std()) - 1) < 0.02
    other = counter.normal(3, range(200), "offset", (4, 8, 8))
    assert abs(float((noise * other).mean())) < 0.02, "purposes are independent"


def test_the_faces_place_weighs_what_it_is_told_to():
    left_half = Target(torch.zeros(3, 64, 64), (64,) * 6, "", (0.0, 0.25, 0.5, 0.75))
    weights = face_weights([left_half], (8, 8), 5.0)
    assert weights.shape == (1, 1, 8, 8)
    assert (weights[0, 0, 2:6, :4] == 5).all() and (weights.sum() == 64 + 4 * 16)
    between = face_weights([replace(left_half, face=(0.0, 0.0, 0.0625, 1.0))], (8, 8), 5.0)
    assert (between[0, 0, :, 0] == 3).all() and (between[0, 0, :, 1:] == 1).all(), "half a latent, half of the weight"
    assert face_weights([left_half], (8, 8), 1.0) is None

    objective = Objective(torch.linspace(0.9, 0.1, 10))
    off = torch.zeros(1, 4, 8, 8)
    on_face, beside = off.clone(), off.clone()
    on_face[..., 3, 1], beside[..., 3, 6] = 1, 1
    now = torch.tensor([5])
    plain = objective.losses(on_face, off, now)
    assert torch.equal(plain, objective.losses(beside, off, now))
    ratio = objective.losses(on_face, off, now, weights) / objective.losses(beside, off, now, weights)
    assert torch.allclose(ratio, torch.tensor([5.0]))
    even = objective.losses(torch.ones_like(off), off, now, weights)
    assert torch.allclose(even, objective.losses(torch.ones_like(off), off, now)), "weights are of mean 1"
