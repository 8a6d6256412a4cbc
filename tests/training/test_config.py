"""The recipes: the paper's numbers, and values that cannot be."""

from collections import Counter
from dataclasses import replace

import pytest

from hyperlora_core import HyperLoRAError
from hyperlora_core.training import counter
from hyperlora_core.training.config import BASE_SCENARIOS, RECIPES, Optimization, Scenario, TrainConfig, on_24_gb


def test_the_recipes_are_the_papers():
    assert {name: recipe.steps for name, recipe in RECIPES.items()} == {
        "base": 20_000,
        "id_clip": 15_000,
        "id_embed": 55_000,
    }
    for name, recipe in RECIPES.items():
        assert recipe.stage == name and recipe.accumulation(processes=16) == 8
        assert (recipe.shape.id_rank, recipe.shape.base_rank, recipe.shape.bases) == (8, 4, 128)
        assert recipe.min_snr_gamma is None and recipe.noise_offset == 0 and not recipe.other_photo
        assert recipe.also_train == ()
    assert [scenario.share for scenario in RECIPES["id_clip"].scenarios] == [0.9, 0.05, 0.05]


def test_scenarios_come_as_often_as_their_shares():
    recipe = RECIPES["id_embed"]
    drawn = Counter(recipe.scenario(counter.uniform(0, sample, "scenario")) for sample in range(20_000))
    for scenario in recipe.scenarios:
        assert abs(drawn[scenario] / 20_000 - scenario.share) < 0.006
    assert recipe.scenario(0.0).share == 0.9 and not recipe.scenario(0.999999).trigger


def test_a_recipe_comes_back_from_its_file(tmp_path):
    for recipe in (*RECIPES.values(), on_24_gb(RECIPES["id_embed"])):
        path = tmp_path / "config.json"
        path.write_text(recipe.to_json())
        assert TrainConfig.load(path) == recipe
    path.write_text('{"stage": "base"}')
    with pytest.raises(HyperLoRAError, match="is no configuration of a training run"):
        TrainConfig.load(path)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"stage": "four"}, "there is no stage 'four'"),
        ({"steps": 0}, "steps is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"compile": True}, "a compiled UNet cannot be checkpointed"),
        ({"caption_dropout": 1.5}, "caption_dropout is 1.5"),
        ({"mixed_precision": "fp8"}, "mixed_precision is 'fp8'"),
        ({"scenarios": (Scenario(0.5, True, True, True),)}, "the scenarios' shares sum to 0.5"),
        ({"scenarios": (Scenario(float("nan"), True, True, True),)}, "the scenarios' shares sum to nan"),
        ({"scenarios": (Scenario(1.0, True, False, True),)}, "trains the ID-LoRA, which acts in none of the scenarios"),
        ({"stage": "base", "scenarios": BASE_SCENARIOS, "references": 2}, "reads the target's own photo alone"),
        ({"stage": "base", "scenarios": BASE_SCENARIOS, "other_photo": True}, "reads the target's own photo alone"),
        ({"workers": -1}, "workers is -1"),
        ({"sample_every": -1}, "sample_every is -1"),
    ],
)
def test_values_that_cannot_be_are_told(wrong, sentence):
    with pytest.raises(HyperLoRAError, match=sentence):
        replace(RECIPES["id_clip"], **wrong)


def test_a_steps_samples_are_shared_out_whole():
    recipe = RECIPES["id_clip"]
    assert [recipe.accumulation(processes) for processes in (1, 2, 128)] == [128, 64, 1]
    with pytest.raises(HyperLoRAError, match=r"512, which 3 processes cannot take in passes of 4: a multiple of 12"):
        recipe.accumulation(3)


def test_the_recipe_for_a_small_card_fits_it():
    small = on_24_gb(RECIPES["id_clip"])
    assert small.batch == 1 and small.accumulation(1) == 32
    assert small.shape.bases == 64 and small.optimization.eight_bit and small.gradient_checkpointing


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", -1.0),
        ("bases_learning_rate", float("nan")),
        ("warmup", -5),
        ("decay", 7.0),
        ("weight_decay", -0.1),
        ("betas", (1.5, 2.0)),
        ("max_grad_norm", -1.0),
        ("ema", 2.0),
    ],
)
def test_ways_to_optimize_that_cannot_be_are_told(name, value):
    with pytest.raises(HyperLoRAError, match=f"optimization.{name} is "):
        Optimization(**{name: value})
