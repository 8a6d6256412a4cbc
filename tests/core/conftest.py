"""Checkpoints for the core's tests."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).parent / "golden" / "network"
PARTS = ("resampler", "base_resampler", "id_projector")


@pytest.fixture(scope="session")
def golden() -> dict[str, torch.Tensor]:
    """Inputs, and what the public implementation computes from them."""
    return load_file(GOLDEN / "expected.safetensors")


@pytest.fixture(scope="session")
def golden_checkpoint(tmp_path_factory) -> Path:
    """The golden checkpoint; the bases that are not stored are zeros."""
    folder = tmp_path_factory.mktemp("golden_checkpoint")
    shutil.copy(GOLDEN / "hyper_lora_modules.json", folder)
    for part in PARTS:
        shutil.copy(GOLDEN / f"{part}.safetensors", folder)
    stored = load_file(GOLDEN / "bases_of_three_modules.safetensors")
    bases = {}
    for i, module in enumerate(json.loads((GOLDEN / "hyper_lora_modules.json").read_text()).values()):
        for projection in ("to_q", "to_k", "to_v", "to_out"):
            reads_text = projection in ("to_k", "to_v") and module["cross_attention_dim"]
            width = module["cross_attention_dim"] if reads_text else module["hidden_size"]
            for kind, rank in (("id", 8), ("base", 4)):
                shapes = {"down": (4, width, rank), "up": (4, rank, module["hidden_size"])}
                for direction, shape in shapes.items():
                    name = f"{i}.{projection}.{kind}_{direction}_basis"
                    bases[name] = stored.get(name, torch.zeros(shape, dtype=torch.float16))
    assert stored.keys() <= bases.keys()
    save_file(bases, folder / "hyper_lora_modules.safetensors")
    return folder


@pytest.fixture
def checkpoint_copy(golden_checkpoint, tmp_path) -> Path:
    """A copy of the golden checkpoint that a test may spoil."""
    return Path(shutil.copytree(golden_checkpoint, tmp_path / "broken"))
