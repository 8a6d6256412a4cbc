"""Losses beside the noise loss: they are added, logged and saved by name, in the steps in which they are due."""

from dataclasses import replace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hyperlora_core.training.losses import Progress
from tests.training.small_run import CONFIG, outcome, run


class SizeLoss:
    """The mean square of what the LoRAs add, in every second step."""

    name, weight = "size", 2.0

    def __init__(self):
        self.values = []

    def due(self, step):
        return step % 2 == 1

    def __call__(self, matrices, batch, injection, prediction):
        value = sum((up @ down).square().mean() for down, up in matrices.values())
        self.values.append(float(value.detach()))
        return value


class ErrorLoss:
    """The mean absolute error of the prediction, less a mean that it keeps of itself."""

    name, weight = "error", 0.5

    def __init__(self):
        self.mean = 0.0

    def due(self, step):
        return True

    def __call__(self, matrices, batch, injection, prediction):
        value = (prediction.predicted - prediction.target).abs().mean()
        self.mean = 0.5 * self.mean + 0.5 * float(value.detach())
        return value - self.mean

    def state_dict(self):
        return {"mean": self.mean}

    def load_state_dict(self, state):
        self.mean = state["mean"]


def logged(folder):
    events = EventAccumulator(str(next((folder / "log").rglob("events*")))).Reload()
    return {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def trained(folder, losses):
    done = run(folder, losses=losses)
    assert done.train()
    weights = outcome(done)
    done.close()
    return weights, logged(folder)


def test_they_are_added_and_logged_by_name(tmp_path):
    size = SizeLoss()
    weights, log = trained(tmp_path / "both", [size, ErrorLoss()])
    plain, plain_log = trained(tmp_path / "plain", [])
    assert not [tag for tag in plain_log if tag.startswith("loss/")]
    assert log["loss"][0] == pytest.approx(plain_log["loss"][0] + 0.5 * log["loss/error"][0]), "size is not due"
    assert log["loss/noise"][0] == pytest.approx(plain_log["loss"][0])
    assert len(log["loss/size"]) == 2 and len(log["loss/error"]) == len(log["loss/noise"]) == 4
    assert log["loss/size"][0] == pytest.approx(sum(size.values[:2]) / 2), "the mean over the passes of a step"
    sums = [log[f"loss/{name}"][i] for name, i in (("noise", 3), ("size", 1), ("error", 3))]
    assert log["loss"][3] == pytest.approx(sums[0] + 2 * sums[1] + 0.5 * sums[2])
    assert any(not torch.equal(weights[name], plain[name]) for name in plain), "gradients of theirs reach the network"


def test_a_state_holds_theirs(tmp_path):
    """Four steps are two, a state, and two more."""
    whole, _ = trained(tmp_path / "whole", [SizeLoss(), ErrorLoss()])
    stopped = run(tmp_path / "cut", replace(CONFIG, save_every=1), losses=[SizeLoss(), error := ErrorLoss()])

    def stop(current, loss):
        current.stopping = current.progress.step == 2

    assert not stopped.train(stop)
    stopped.close()
    resumed = run(tmp_path / "cut", losses=[ErrorLoss(), SizeLoss()])  # in another order
    assert resumed.losses[0].mean == error.mean != 0
    assert resumed.train()
    weights = outcome(resumed)
    resumed.close()
    for name, value in weights.items():
        torch.testing.assert_close(value, whole[name], msg=name)


def test_a_state_without_losses_holds_the_step_alone(tmp_path):
    """Runs that were stopped before a loss had a state go on."""
    assert Progress(3, [SizeLoss()]).state_dict() == {"step": 3}
    progress = Progress(losses=[error := ErrorLoss()])
    progress.load_state_dict({"step": 3})
    assert progress.step == 3 and error.mean == 0


def test_two_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="two losses are named size"):
        run(tmp_path, losses=[SizeLoss(), SizeLoss()])
