"""Checkpoints on disk: what is missing or wrong is named before anything is computed."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from hyperlora_core import HyperLoRA, HyperLoRAError
from hyperlora_core.network.checkpoint import read_checkpoint


def edit(path, change):
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    change(tensors)
    save_file(tensors, path)


def refuse(folder, message):
    with pytest.raises(HyperLoRAError, match=message):
        HyperLoRA.load(folder)


def test_a_missing_folder(tmp_path):
    refuse(tmp_path / "nowhere", "there is no HyperLoRA checkpoint .*nowhere")


@pytest.mark.parametrize("name", ["hyper_lora_modules.json", "hyper_lora_modules.safetensors", "resampler.safetensors"])
def test_a_missing_file_is_named(checkpoint_copy, name):
    (checkpoint_copy / name).unlink()
    refuse(checkpoint_copy, f"lacks {name}")


def test_json_that_cannot_be_read(checkpoint_copy):
    for text in ("{", "[]", '{"a": 1}', '{"lora_unet_x": {"hidden_size": 1, "cross_attention_dim": null}}', "{}"):
        (checkpoint_copy / "hyper_lora_modules.json").write_text(text)
        refuse(checkpoint_copy, r"hyper_lora_modules\.json")


def test_files_of_two_checkpoints(checkpoint_copy):
    path = checkpoint_copy / "hyper_lora_modules.json"
    modules = json.loads(path.read_text())
    modules.popitem()
    path.write_text(json.dumps(modules))
    refuse(checkpoint_copy, "makes 240 rows of coefficients, but the 29 attention modules .* need 232")


def test_a_missing_tensor_is_named(checkpoint_copy):
    edit(checkpoint_copy / "resampler.safetensors", lambda tensors: tensors.pop("layers.1.norm_ff.weight"))
    refuse(checkpoint_copy, r"resampler: layers\.1\.norm_ff\.weight is missing")


def test_a_misshapen_tensor_is_named(checkpoint_copy):
    edit(
        checkpoint_copy / "hyper_lora_modules.safetensors",
        lambda tensors: tensors.update({"3.to_k.id_up_basis": torch.zeros(4, 8, 321)}),
    )
    refuse(checkpoint_copy, r"3\.to_k\.id_up_basis has shape \(4, 8, 321\) instead of \(4, 8, 320\)")


def test_a_superfluous_tensor_is_named(checkpoint_copy):
    edit(checkpoint_copy / "id_projector.safetensors", lambda tensors: tensors.update({"3.weight": torch.zeros(1)}))
    refuse(checkpoint_copy, r"id_projector: 3\.weight is not part of a HyperLoRA")


def test_bases_swapped_for_the_base_loras_absent_half(checkpoint_copy):
    edit(
        checkpoint_copy / "hyper_lora_modules.safetensors",
        lambda tensors: [tensors.pop(name) for name in list(tensors) if ".base_" in name],
    )
    refuse(checkpoint_copy, "base_down_basis.* the file is incomplete")


def test_a_truncated_file(checkpoint_copy):
    path = checkpoint_copy / "resampler.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refuse(checkpoint_copy, r"resampler\.safetensors is cut short")


def test_the_fingerprint_follows_the_content(golden_checkpoint, checkpoint_copy):
    before = read_checkpoint(golden_checkpoint).fingerprint
    assert read_checkpoint(checkpoint_copy).fingerprint == before
    edit(checkpoint_copy / "id_projector.safetensors", lambda tensors: tensors["2.bias"].add_(1))
    assert read_checkpoint(checkpoint_copy).fingerprint != before
