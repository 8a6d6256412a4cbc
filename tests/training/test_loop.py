"""The loop: a run is the same however it is computed, stopped and gone on with."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hyperlora_core import HyperLoRAError
from hyperlora_core.training import stages
from hyperlora_core.training.config import RECIPES, Optimization
from hyperlora_core.training.loop import passes
from hyperlora_core.training.optimizer import learning_rate_share, optimizer_for
from hyperlora_core.training.states import states
from tests.training.small_run import CONFIG, SmallTask, outcome, run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What the run makes on one process without a stop."""
    done = run(tmp_path_factory.mktemp("whole"))
    assert done.train()
    found = outcome(done)
    done.close()
    return found


def equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def close(one, other):
    assert one.keys() == other.keys()
    for name in one:  # AdamW's first steps make much of gradients that are all but zero: single numbers may differ
        assert (one[name] - other[name]).norm() <= 2e-3 * other[name].norm(), name


@pytest.mark.long
def test_a_resumed_run_is_the_same_run(tmp_path, whole):
    first = run(tmp_path)

    def stop(at, loss):
        if at.progress.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    assert not first.train(stop)
    assert [state.name for state in states(tmp_path)] == ["state-2"]
    first.close()
    second = run(tmp_path)
    assert second.progress.step == 2 and second.train()
    equal(outcome(second), whole)
    second.close()
    assert run(tmp_path).train(), "a run that is at its end stays there"


def test_a_run_goes_on_in_passes_of_another_size(tmp_path, whole):
    first = run(tmp_path)
    first.train(lambda at, loss: os.kill(os.getpid(), signal.SIGTERM) if at.progress.step == 1 else None)
    first.close()
    second = run(tmp_path, replace(CONFIG, batch=1))
    assert second.progress.step == 1 and second.train()
    close(outcome(second), whole)
    second.close()


def by_two_processes(folder, stop_after=0):
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0"]
        + ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
        + ["-m", "tests.training.small_run", str(folder), "2", str(stop_after)],
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        timeout=300,
    )


@pytest.mark.slow
def test_two_processes_are_one(tmp_path, whole):
    by_two_processes(tmp_path)
    close(load_file(tmp_path / "outcome.safetensors"), whole)


@pytest.mark.slow
def test_two_processes_stop_when_one_is_told_and_one_goes_on(tmp_path, whole):
    by_two_processes(tmp_path, stop_after=2)
    assert [path.name for path in states(tmp_path / "run")] == ["state-2"]
    done = run(tmp_path / "run")
    assert done.progress.step == 2 and done.train()
    close(outcome(done), whole)
    done.close()


def test_small_passes_are_large_ones(tmp_path, whole):
    done = run(tmp_path, replace(CONFIG, batch=1))
    done.train()
    close(outcome(done), whole)
    done.close()


def test_checkpointing_changes_nothing(tmp_path, whole):
    done = run(tmp_path, replace(CONFIG, gradient_checkpointing=True))
    done.train()
    close(outcome(done), whole)
    done.close()


@pytest.mark.slow
def test_compiling_changes_nothing(tmp_path, whole):
    """Compiled hooks kept the first LoRA that they saw, and nothing was learned, without a word."""
    done = run(tmp_path, replace(CONFIG, compile=True))
    done.train()
    close(outcome(done), whole)
    done.close()


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_stage_changes_what_it_trains_and_nothing_else(tmp_path, name):
    task = SmallTask()
    before_unet = {key: value.clone() for key, value in task.unet.state_dict().items()}
    made = run(tmp_path, replace(CONFIG, stage=name, scenarios=RECIPES[name].scenarios), task)
    before = {key: value.clone() for key, value in made.loras.network.state_dict().items()}
    made.train()
    trains = stages.stage(name).trains
    for key, value in made.loras.network.state_dict().items():
        if stages.group_of(key) not in trains:
            assert torch.equal(value, before[key]), key
    moved = {
        stages.group_of(key)
        for key, value in made.loras.network.state_dict().items()
        if not torch.equal(value, before[key])
    }
    # fresh bases are zero: in the last stage nothing can be told from them, so nothing moves but by weight decay
    assert moved <= trains and (name == "id_embed" or moved == trains)
    assert all(torch.equal(value, before_unet[key]) for key, value in task.unet.state_dict().items())
    made.close()


@pytest.mark.long
def test_it_learns(tmp_path):
    losses: dict[float, list[float]] = {}
    for rate in (0.0, 5e-3):
        told = Optimization(learning_rate=rate, bases_learning_rate=rate, warmup=0)
        made = run(tmp_path / str(rate), replace(CONFIG, steps=60, samples_per_step=8, batch=8, optimization=told))
        losses[rate] = []

        def note(at, loss):
            losses[at.config.optimization.learning_rate].append(loss)

        made.train(note)
        made.close()
    assert sum(losses[5e-3][-10:]) < 0.93 * sum(losses[0.0][-10:]), "of the very same samples"


def test_only_the_last_states_are_kept(tmp_path):
    made = run(tmp_path, replace(CONFIG, save_every=1))
    made.train()
    made.close()
    assert [state.name for state in states(tmp_path)] == ["state-3", "state-4"]
    assert not list(tmp_path.glob(".state-*"))


def test_a_state_that_was_cut_short_is_not_gone_on_from(tmp_path, whole):
    (tmp_path / ".state-3.part").mkdir()
    made = run(tmp_path)
    assert made.progress.step == 0
    made.train()
    equal(outcome(made), whole)
    made.close()


def test_another_runs_folder_is_refused(tmp_path):
    made = run(tmp_path)
    made.train()
    made.close()
    with pytest.raises(HyperLoRAError, match="a run whose seed is 0, not 1"):
        run(tmp_path, replace(CONFIG, seed=1))
    with pytest.raises(HyperLoRAError, match=r"whose optimization\.warmup is \d+, not 7"):
        run(tmp_path, replace(CONFIG, optimization=replace(CONFIG.optimization, warmup=7)))
    run(tmp_path, replace(CONFIG, batch=1, gradient_checkpointing=True)).close()


def test_a_run_that_failed_before_its_first_state_keeps_no_folder_to_itself(tmp_path):
    run(tmp_path).close()
    made = run(tmp_path, replace(CONFIG, seed=1))
    assert made.config.load(tmp_path / "config.json").seed == 1
    made.close()


def test_another_programs_file_of_the_same_name_is_left_alone(tmp_path):
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    with pytest.raises(HyperLoRAError, match="no configuration of a training run"):
        run(tmp_path)
    assert "UNet2DConditionModel" in (tmp_path / "config.json").read_text()


def test_a_state_that_cannot_be_written_leaves_those_before_it(tmp_path, monkeypatch):
    made = run(tmp_path, replace(CONFIG, save_every=1))

    def full(folder):
        if folder.endswith(".state-3.part"):
            raise OSError(28, "No space left on device")
        return saved(folder)

    saved = made.accelerator.save_state
    monkeypatch.setattr(made.accelerator, "save_state", full)
    with pytest.raises(HyperLoRAError, match=r"state of step 3 cannot be written .*No space left.*make room"):
        made.train()
    made.close()
    assert [state.name for state in states(tmp_path)] == ["state-1", "state-2"]
    again = run(tmp_path, replace(CONFIG, save_every=1))
    assert again.progress.step == 2 and again.train()
    again.close()


def test_the_log_tells_loss_rate_pace_and_gate(tmp_path):
    lines = []
    made = run(tmp_path)
    made.train(lambda at, loss: lines.append(at.account(loss)))
    made.close()
    assert re.fullmatch(r"step 4 of 4: loss \d\.\d{5}, [\d.]+ samples a second, 0:00:00 left", lines[-1])
    events = EventAccumulator(str(next((tmp_path / "log").rglob("events*")))).Reload()
    assert {"loss", "learning_rate", "gradient_norm", "samples_per_second", "gate"} <= {*events.Tags()["scalars"]}
    assert [event.value for event in events.Scalars("gate")][-1] == 1


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_its_state(tmp_path):
    made = run(tmp_path, replace(CONFIG, save_every=2))

    def spoil(at, loss):
        if at.progress.step == 3:
            at.trained[0].data.fill_(float("nan"))

    with pytest.raises(HyperLoRAError, match="of step 4 is nan: begin anew in another folder with a lower"):
        made.train(spoil)
    made.close()
    assert [state.name for state in states(tmp_path)] == ["state-2"]


def test_a_gradient_that_is_no_number_changes_nothing(tmp_path):
    made = run(tmp_path, replace(CONFIG, save_every=1))

    def spoil(at, loss):
        if at.progress.step == 2:
            at.trained[0].register_hook(lambda grad: grad * float("nan"))

    with pytest.raises(HyperLoRAError, match="the length of the gradient of step 3 is nan"):
        made.train(spoil)
    assert all(value.isfinite().all() for value in made.trained)
    made.close()
    assert [state.name for state in states(tmp_path)] == ["state-1", "state-2"]


def test_a_state_that_is_cut_short_is_named(tmp_path):
    made = run(tmp_path)
    made.train()
    made.close()
    (path,) = (tmp_path / "state-4").glob("model*.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(HyperLoRAError, match=r"state-4 cannot be loaded .*: delete it to go on from the state before"):
        run(tmp_path)


def test_a_step_is_shared_out_in_blocks():
    config = replace(CONFIG, steps=3, samples_per_step=8, batch=2)
    both = [list(passes(config, 1, process, 2)) for process in (0, 1)]
    assert both[0] == [range(8, 10), range(10, 12), range(16, 18), range(18, 20)]
    assert both[1] == [range(12, 14), range(14, 16), range(20, 22), range(22, 24)]


def test_learning_rates_rise_and_fall():
    config = replace(CONFIG, steps=100, optimization=Optimization(warmup=10, decay=0.2))
    shares = [learning_rate_share(config, step) for step in range(100)]
    assert shares[0] == 0.1 and shares[9] == 1 == shares[80] and 0 < shares[99] < 0.01
    assert shares[90] == pytest.approx(0.5)


def test_bases_have_a_rate_of_their_own_and_vectors_no_decay(network):
    stages.freeze(network, stages.stage("id_clip"))
    groups = optimizer_for(CONFIG, network).param_groups
    told = {(group["full_lr"], group["weight_decay"]): len(group["params"]) for group in groups}
    bases = sum(1 for _ in network.id_bases.parameters())
    assert told[(5e-3, 0.01)] == bases and set(told) == {(5e-3, 0.01), (1e-3, 0.01), (1e-3, 0.0)}


def test_eight_bits_need_bitsandbytes(network):
    stages.freeze(network, stages.stage("id_clip"))
    config = replace(CONFIG, optimization=Optimization(eight_bit=True))
    with pytest.raises(HyperLoRAError, match="needs bitsandbytes, which cannot be used here"):
        optimizer_for(config, network)


@pytest.fixture
def another_precision():
    """Accelerate knows one precision a process."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


def test_in_bf16_what_trains_stays_in_float32(tmp_path, whole, another_precision):
    done = run(tmp_path, replace(CONFIG, mixed_precision="bf16"))
    assert done.train()
    found = outcome(done)
    done.close()
    assert {value.dtype for value in found.values()} == {torch.float32}
    for name, value in found.items():
        assert (value - whole[name]).norm() <= 0.1 * whole[name].norm() + 0.02, name
    assert any(not torch.equal(found[name], whole[name]) for name in whole)
