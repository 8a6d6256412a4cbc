"""What training writes is what the nodes read."""

import pytest
import torch

from hyperlora_core import HyperLoRA, HyperLoRAError
from hyperlora_core.files.encoders import Encoder, Encoders
from hyperlora_core.network.checkpoint import read_checkpoint
from hyperlora_core.network.conversion import convert
from hyperlora_core.training.export import export
from tests.training.conftest import conditions

ENCODERS = Encoders(Encoder("clip_tiny", "ab" * 32), Encoder("faces_tiny", "cd" * 32))


def written(network, *more, **told):
    return export(network.config, network.state_dict(), *more, **told)


def test_an_exported_network_is_the_trained_one(trained, tmp_path):
    folder = written(trained, tmp_path / "mine", ENCODERS, torch.float32)
    loaded = HyperLoRA.load(folder)
    assert loaded.config == trained.config and loaded.encoders == ENCODERS
    given = conditions(batch=1, refs=2)
    with torch.no_grad():
        for network in (trained, loaded):
            network.eval()
        expected, got = (
            network.id_lora(network.id_coefficients(given.id_embeds[0], given.clip_tokens[0]))
            for network in (trained, loaded)
        )
        assert expected.keys() == got.keys()
        assert all(torch.equal(expected[key], got[key]) for key in expected)
        expected, got = (network.base_rows(given.base_tokens) for network in (trained, loaded))
        assert torch.equal(expected, got)


def test_it_is_a_checkpoint_like_the_released_ones(trained, tmp_path):
    folder = written(trained, tmp_path / "mine", ENCODERS)
    checkpoint = read_checkpoint(folder)
    assert {tensor.dtype for _, _, tensor in checkpoint.tensors()} == {"F16"}
    packed = convert(folder, tmp_path / "mine.safetensors")
    assert read_checkpoint(packed).sha256() == checkpoint.sha256()


def test_a_second_export_takes_the_place_of_the_first(trained, tmp_path):
    written(trained, tmp_path / "mine")
    with torch.no_grad():
        trained.resampler.proj_out.bias += 1
    written(trained, tmp_path / "mine", dtype=torch.float32)
    assert torch.equal(HyperLoRA.load(tmp_path / "mine").resampler.proj_out.bias, trained.resampler.proj_out.bias)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"], "nothing is left beside it"


def test_a_training_that_diverged_is_not_exported(trained, tmp_path):
    written(trained, tmp_path / "mine")
    with torch.no_grad():
        trained.resampler.proj_out.bias[0] = 1e6
    with pytest.raises(HyperLoRAError, match=r"resampler\.proj_out\.bias is not finite in torch\.float16"):
        written(trained, tmp_path / "mine")
    assert HyperLoRA.load(tmp_path / "mine").resampler.proj_out.bias.abs().max() < 100, "the last good one is there"
