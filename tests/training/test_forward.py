"""The LoRAs of a batch: what they are equal to, and that gradients reach what trains."""

from dataclasses import replace

import pytest
import torch

from hyperlora_core.doors.diffusers.unet import LoRAInjection
from hyperlora_core.training import stages
from hyperlora_core.training.forward import GeneratedLoRAs
from tests.support.unets import call as predicted
from tests.training.conftest import conditions

BOTH = frozenset({"id", "base"})


@pytest.fixture
def injection(unet, network):
    names = [
        name for name, _, _ in network.id_bases(torch.zeros(8 * len(network.attentions), network.config.basis_size))
    ]
    injection = LoRAInjection(unet, names)
    yield injection
    injection.remove()


def test_a_fresh_network_leaves_the_base_model_as_it_is(unet, network, injection):
    plain = predicted(unet)
    with injection.active(GeneratedLoRAs(network, BOTH)(conditions())):
        assert torch.equal(predicted(unet), plain)


def test_both_loras_joined_are_what_the_nodes_apply_one_after_the_other(unet, trained, injection):
    given = conditions(batch=1)
    with injection.active(GeneratedLoRAs(trained, BOTH)(given)):
        joined = predicted(unet, 1)
    loras = (
        trained.id_lora(trained.id_coefficients(given.id_embeds[0], given.clip_tokens[0])),
        trained.base_lora(trained.base_coefficients(given.base_tokens)),
    )
    weights = {name: parameter.clone() for name, parameter in unet.named_parameters()}
    with torch.no_grad():
        for lora in loras:
            for name, factors in lora.factors():
                unet.get_submodule(name).weight += factors.scale * factors.up @ factors.down
        merged = predicted(unet, 1)
        for name, parameter in unet.named_parameters():
            parameter.copy_(weights[name])
    assert not torch.allclose(joined, predicted(unet, 1), atol=1e-3), "they change something"
    assert torch.allclose(joined, merged, atol=1e-5)


def test_a_batch_is_each_sample_alone_and_padding_has_no_say(trained):
    both = conditions(batch=2, refs=3)
    both = replace(both, present=torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))
    together = GeneratedLoRAs(trained, BOTH)(both)
    for i, refs in enumerate((3, 1)):
        alone = GeneratedLoRAs(trained, BOTH)(
            replace(
                both,
                **{name: getattr(both, name)[i : i + 1] for name in ("id_on", "base_on", "base_tokens")},
                **{name: getattr(both, name)[i : i + 1, :refs] for name in ("present", "id_embeds", "clip_tokens")},
            )
        )
        for name, (down, up) in together.items():
            assert torch.allclose(down[i], alone[name][0][0], atol=1e-5)
            assert torch.allclose(up[i], alone[name][1][0], atol=1e-5)


def test_a_lora_that_is_off_changes_nothing_of_its_sample(unet, trained, injection):
    given = replace(conditions(), id_on=torch.tensor([1.0, 0.0]), base_on=torch.tensor([1.0, 0.0]))
    plain = predicted(unet)
    with injection.active(GeneratedLoRAs(trained, BOTH)(given)):
        drawn = predicted(unet)
    assert not torch.allclose(drawn[0], plain[0], atol=1e-3)
    assert torch.allclose(drawn[1], plain[1], atol=1e-6)


def test_behind_a_closed_gate_the_face_embedding_has_no_say(trained):
    loras = GeneratedLoRAs(trained, frozenset({"id"}))
    one, other = conditions(seed=0), replace(conditions(seed=0), id_embeds=conditions(seed=5).id_embeds)
    assert not torch.allclose(loras.id_rows(one), loras.id_rows(other), atol=1e-4)
    loras.gate = 0.0
    assert torch.equal(loras.id_rows(one), loras.id_rows(other))
    loras.gate = 1.0
    expected = trained.mix(trained.id_rows(one.id_embeds[:, 0], one.clip_tokens[:, 0])[:, None])
    assert torch.equal(loras.id_rows(one), expected), "an open gate is the network as it is saved"


def test_what_a_gate_lets_through_is_kept_without_it(trained):
    loras, given = GeneratedLoRAs(trained, frozenset({"id"})), conditions()
    loras.gate = 0.3
    expected = loras.id_rows(given)
    kept = loras.without_gate(loras.state_dict())
    loras.gate = 1.0
    assert not torch.allclose(loras.id_rows(given), expected, atol=1e-4)
    trained.load_state_dict(kept)
    assert torch.allclose(loras.id_rows(given), expected, atol=1e-6)


@pytest.mark.parametrize("name", list(stages.STAGES))
def test_gradients_reach_all_that_a_stage_trains_and_nothing_else(unet, trained, injection, name):
    stage = stages.stage(name)
    stages.freeze(trained, stage)
    loras = GeneratedLoRAs(trained, stage.makes)
    frozen = {key: value.clone() for key, value in trained.named_parameters() if not value.requires_grad}
    optimizer = torch.optim.SGD([value for value in trained.parameters() if value.requires_grad], lr=0.1)
    with injection.active(loras(conditions())):
        predicted(unet).square().mean().backward()
    for key, value in trained.named_parameters():
        if value.requires_grad:
            assert value.grad is not None and value.grad.abs().sum() > 0, key
        else:
            assert value.grad is None, key
    optimizer.step()
    assert all(torch.equal(dict(trained.named_parameters())[key], value) for key, value in frozen.items())


def test_a_fresh_network_learns_from_its_first_step(unet, network, injection):
    stages.freeze(network, stages.stage("base"))
    loras = GeneratedLoRAs(network, frozenset({"base"}))
    with injection.active(loras(conditions())):
        predicted(unet).square().mean().backward()
    ups = [value.grad for key, value in network.named_parameters() if key.startswith("base_bases") and ".up." in key]
    assert ups and all(grad.abs().sum() > 0 for grad in ups)
