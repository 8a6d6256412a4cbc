"""People whom no step sees, by whom a run is judged."""

import json
from dataclasses import replace

import pytest
import torch

from hyperlora_core import ClipVision, HyperLoRAError
from hyperlora_core.data.shards import Shards
from hyperlora_core.doors.diffusers.base_model import BaseModel
from hyperlora_core.doors.diffusers.unet import attention_modules
from hyperlora_core.training.acceleration import accelerator_for
from hyperlora_core.training.begin import network_for
from hyperlora_core.training.command import main
from hyperlora_core.training.config import RECIPES, ValidationConfig
from hyperlora_core.training.forward import GeneratedLoRAs
from hyperlora_core.training.held_out import held_out
from hyperlora_core.training.loop import Run
from hyperlora_core.training.portraits import PortraitTask
from hyperlora_core.training.shape import NetworkShape
from hyperlora_core.training.validation import FILE, Validation
from tests.training.test_command import given

CONFIG = replace(
    RECIPES["id_clip"],
    steps=4,
    resolution=64,
    samples_per_step=2,
    batch=2,
    workers=0,
    mixed_precision="no",
    gradient_checkpointing=False,
    sample_every=0,
    shape=NetworkShape(bases=4, id_rank=2, base_rank=2, dim=32, heads=1, depth=1, id_tokens=4, clip_width=64),
    validation=ValidationConfig(people=1, every=2, samples=5, portraits=1, steps=2),
)


@pytest.fixture
def made(tmp_path, base_folder, training_set, clip_file, face_pack):
    """A run and the validation of it, the face models in it."""
    config = replace(CONFIG, validation=replace(CONFIG.validation, faces=str(face_pack)))
    base = BaseModel.load(str(base_folder), "cpu", torch.float32)
    network = network_for(config, attention_modules(base.unet))
    loras = GeneratedLoRAs.of_run(network, config)
    task = PortraitTask(base, ClipVision.load(clip_file), Shards(training_set), network.config, config, loras.makes)
    run = Run(config, task, loras, tmp_path / "run", accelerator_for(config, tmp_path / "run", cpu=True))
    yield run, Validation(task)
    run.close()


@pytest.mark.long
def test_no_step_sees_who_is_held_out(made):
    run, validation = made
    shards = run.task.portraits.shards
    assert held_out(shards, 1) == ["obama"]
    theirs = set(shards.by_person()["obama"])
    trained = {run.task.portraits.place(number) for number in range(200)}
    assert not trained & theirs and trained == set(range(len(shards))) - theirs
    assert {validation.portraits.place(number) for number in range(200)} == theirs


def test_the_reference_is_another_photo_than_the_target(made):
    _, validation = made
    shards = validation.portraits.shards
    for number in range(6):
        portrait = validation.portraits[number]
        assert not (portrait.embeds[0].numpy() == shards[portrait.place].embed).all()
        assert portrait.target.prompt.startswith("fcsks") and portrait.id_on and portrait.base_on


@pytest.mark.slow
def test_what_changes_is_the_network_alone(made, tmp_path):
    run, validation = made
    first, again = (validation.look(run, tmp_path) for _ in range(2))
    assert first == again
    assert first.loss == pytest.approx(first.loss_without, rel=1e-6), "the bases begin as zeros"
    with torch.no_grad():
        for name, value in run.loras.network.named_parameters():
            if ".up." in name:
                value.normal_(0, 0.1)
    other = validation.look(run, tmp_path)
    assert other.loss_without == first.loss_without and other.loss != first.loss
    assert len((tmp_path / FILE).read_text().splitlines()) == 3
    assert first.likeness_photos > 0.3 and first.faces == 0, "what a random base model draws has no face"


@pytest.mark.long
def test_a_run_says_how_it_does_on_the_way_and_at_its_end(base_folder, training_set, clip_file, tmp_path, caplog):
    more = ["--sample-every", "0", "--steps", "3", "--validation.people", "1", "--validation.every", "2"]
    out = tmp_path / "run"
    with caplog.at_level("INFO"):
        assert main(given("base", base_folder, training_set, clip_file, out, *more)) == 0
    lines = [json.loads(line) for line in (out / FILE).read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3] and lines[0]["likeness"] is None
    assert "validation: loss" in caplog.text and "without LoRAs" in caplog.text


def test_nobody_is_held_out_of_a_set_that_knows_too_few(training_set):
    with pytest.raises(HyperLoRAError, match=r"^validation.people is 2, but .* knows 1 people by name"):
        held_out(Shards(training_set), 2)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"people": -1}, "validation.people is -1"),
        ({"every": 0}, "validation.every is 0"),
        ({"faces": "antelopev2"}, "give --validation.people too"),
    ],
)
def test_what_cannot_be_is_named(values, said):
    with pytest.raises(HyperLoRAError, match=said):
        ValidationConfig(**values)
