"""What each stage trains: the paper's table."""

import pytest

from hyperlora_core import HyperLoRAError
from hyperlora_core.doors.diffusers.unet import attention_modules
from hyperlora_core.training import stages
from hyperlora_core.training.fresh import fresh
from tests.training.conftest import SHAPE

ID = {
    *("id_projector", "id_bases", "queries", "self_attention", "embed_input", "embed_attention"),
    *("clip_input", "clip_attention", "feed_forward", "output"),
}


@pytest.mark.parametrize(
    ("name", "steps", "trains"),
    [
        ("base", 20_000, {"base_bases", "base_resampler"}),
        ("id_clip", 15_000, ID),
        ("id_embed", 55_000, {"id_projector", "embed_input", "embed_attention"}),
    ],
)
def test_a_stage_trains_what_the_paper_says_and_nothing_else(network, name, steps, trains):
    stage = stages.stage(name)
    assert stage.steps == steps
    stages.freeze(network, stage)
    rows = list(stages.table(network))
    assert {group for group, _, trained in rows if trained} == trains
    assert [group for group, _, _ in rows] == list(stages.GROUPS), "this network has every group"
    assert sum(size for _, size, _ in rows) == sum(parameter.numel() for parameter in network.parameters())


def test_stage_three_trains_these_tensors_of_the_released_layout(network):
    stages.freeze(network, stages.stage("id_embed"))
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    blocks = [f"resampler.layers.{i}" for i in range(SHAPE.depth)]
    assert trained == {
        *("id_projector.0.weight", "id_projector.0.bias", "id_projector.2.weight", "id_projector.2.bias"),
        *("resampler.proj_in.weight", "resampler.proj_in.bias"),
        *(f"{block}.norm_attn2_{side}.{kind}" for block in blocks for side in "lx" for kind in ("weight", "bias")),
        *(f"{block}.attn2.{part}.weight" for block in blocks for part in ("to_q", "to_k", "to_v", "to_out.0")),
    }


def test_every_parameter_is_in_exactly_one_group(network):
    import re

    for name, _ in network.named_parameters():
        assert sum(bool(re.match(pattern, name)) for pattern in stages.GROUPS.values()) == 1, name


def test_groups_are_added_by_name(network):
    stages.freeze(network, stages.stage("id_embed"), also=("id_bases",))
    assert {group for group, _, trained in stages.table(network) if trained} == {
        *("id_projector", "embed_input", "embed_attention", "id_bases")
    }
    with pytest.raises(HyperLoRAError, match="there is no group 'bases'"):
        stages.freeze(network, stages.stage("id_embed"), also=("bases",))


def test_what_is_not_drawn_with_cannot_train(network, unet):
    from dataclasses import replace

    with pytest.raises(HyperLoRAError, match="id_bases cannot train beside the stage base: no ID-LoRA"):
        stages.freeze(network, stages.stage("base"), also=("id_bases",))
    without = fresh(replace(SHAPE, base_rank=0).config(attention_modules(unet)), seed=0)
    assert stages.makes(without, stages.stage("id_clip")) == {"id"}
    with pytest.raises(HyperLoRAError, match="base_bases cannot train beside the stage id_clip: no Base-LoRA"):
        stages.freeze(without, stages.stage("id_clip"), also=("base_bases",))


def test_a_stage_that_has_nothing_to_train_is_told(unet):
    from dataclasses import replace

    without = fresh(replace(SHAPE, base_rank=0).config(attention_modules(unet)), seed=0)
    with pytest.raises(HyperLoRAError, match="no Base parts"):
        stages.freeze(without, stages.stage("base"))
    with pytest.raises(HyperLoRAError, match="there is no stage 'four'; there are base, id_clip, id_embed"):
        stages.stage("four")


def test_the_gate_opens_and_is_open_when_the_stage_ends():
    stage = stages.stage("id_clip")
    heights = [stages.gate_at(stage, share / 10) for share in range(11)]
    assert heights[0] == 0 and heights[-1] == 1 and heights == sorted(heights)
    assert 0 < stages.gate_at(stage, 0.5) < 1
    assert {stages.gate_at(stages.stage(name), 0.0) for name in ("base", "id_embed")} == {1.0}
