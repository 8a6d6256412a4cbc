"""Plans: the UNets' shapes, and memory that is found by a dry run."""

import gc
import re
from dataclasses import replace

import pytest
import torch

from hyperlora_core import HyperLoRAError
from hyperlora_core.doors.diffusers.base_model import NAMED
from hyperlora_core.doors.diffusers.unet import attention_modules
from hyperlora_core.doors.diffusers.unets import UNETS, unet_of
from hyperlora_core.network.hyperlora import HyperLoRA
from hyperlora_core.training.command import main
from hyperlora_core.training.config import RECIPES, on_24_gb
from hyperlora_core.training.forward import GeneratedLoRAs
from hyperlora_core.training.memory import LiveBytes, peak_of_encoding, peak_of_pass
from hyperlora_core.training.plan import plan
from tests.training.small_run import CONFIG, SHAPE


@pytest.mark.parametrize(
    ("name", "parameters", "attentions"),
    [("sdxl", 2_567_463_684, 140), ("ssd-1b", 1_331_334_404, 68), ("vega", 745_225_604, 30), ("sd15", 859_520_964, 32)],
)
def test_the_unets_are_the_published_ones(name, parameters, attentions):
    unet = unet_of(name, torch.float32)
    assert sum(value.numel() for value in unet.parameters()) == parameters, "as ComfyUI's own of that name has"
    assert len(attention_modules(unet)) == attentions


def test_a_unet_is_known_by_its_name_on_the_hub():
    assert unet_of(NAMED["sd15"], torch.float32).config == unet_of("sd15", torch.float32).config


def test_an_unknown_unet_is_told():
    with pytest.raises(HyperLoRAError, match=f"one of {', '.join(UNETS)}"):
        unet_of("sd3", torch.float32)


def test_live_bytes_are_counted_and_let_go():
    weight = torch.empty(1000, 1000, device="meta", requires_grad=True)
    with LiveBytes([weight]) as live:
        x = torch.empty(10, 1000, device="meta")
        y = x @ weight
        assert live.now == 2 * 40_000, "the weight was there before"
        del x
        z = y.relu().sum()
        z.backward()
        del y, z
        gc.collect()
    assert live.peak >= 2 * 40_000 + 4_000_000 and live.now == 4_000_000, "the gradient stays"


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["id_clip", *(pytest.param(name, marks=pytest.mark.slow) for name in ("base", "id_embed"))]
)
def test_the_small_recipes_fit_into_24_gb_at_full_size(name):
    *_, total, _, _, _ = plan(on_24_gb(RECIPES[name]), gpus=1)
    assert total.strip().startswith("in all") and 10 < float(total.split()[-1]) < 22


def test_encoding_a_large_picture_takes_more_than_a_small_pass():
    peak, weights = peak_of_encoding(512)
    assert weights == 4 * 83_653_863, "SDXL's VAE"
    assert 4 * peak_of_encoding(256)[0] == pytest.approx(peak, rel=0.05)
    assert peak > 4 * 128 * 512**2 * 2, "two full-size feature maps at the least"


@pytest.mark.long
def test_adamw_takes_a_copy_of_what_trains_where_that_is_more_than_a_pass():
    config = replace(RECIPES["id_clip"], base="sd15", resolution=64, batch=1)
    told = {line[2:46].strip(): float(line.split()[-1]) for line in plan(config, 1) if re.search(r"  \d+\.\d\d$", line)}
    a_pass = next(size for part, size in told.items() if part.startswith("a pass"))
    beyond = told["AdamW's step, beyond what these had"]
    assert a_pass + beyond == pytest.approx(told["what trains, float32"], abs=0.02) and beyond > 0
    eight = replace(config, optimization=replace(config.optimization, eight_bit=True))
    assert not any("AdamW's step" in line for line in plan(eight, 1))


@pytest.mark.long
def test_a_plan_is_printed(capsys):
    assert main(["base", "--base", "vega", "--plan", "--gpus", "16", "--samples-per-second", "20"]) == 0
    said = capsys.readouterr().out
    assert "20,000 steps x 512 samples = 10,240,000 samples, 8 passes a step" in said
    assert "at 20 samples a second: 142.2 hours, 5.9 days" in said
    assert "base_bases" in said and "trains" in said and "frozen" in said


@pytest.mark.long
def test_checkpointing_keeps_less(unet):
    with torch.device("meta"):
        shaped = type(unet).from_config(unet.config).requires_grad_(False)
    network = HyperLoRA(SHAPE.config(attention_modules(shaped)), device="meta")
    loras = GeneratedLoRAs.of_run(network, CONFIG)
    plain, checkpointed = (peak_of_pass(loras, shaped, 8, 64, 1, flag) for flag in (False, True))
    assert checkpointed < 0.75 * plain
    assert plain < peak_of_pass(loras, shaped, 16, 64, 1, False) < 2.1 * plain
