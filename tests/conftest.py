"""What many tests stand on: real photos, real face models, demo models, ComfyUI and its server."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from xdist.scheduler import LoadScopeScheduling

from demo import comfyui as comfyui_source
from demo import face_pack as face_pack_source
from demo import photos as photos_source
from tests.support import models as models_source

GOLDEN = Path(__file__).parent / "core" / "golden" / "network"
ONE_SERVER = ("tests/browser", "tests/host")
"""Folders whose tests share a ComfyUI server each."""
OWN_SERVER = "tests/host/test_effects.py"
IN_PROCESS = "tests/host/in_process"
"""Tests that have ComfyUI in their own process, and much memory with it."""
ORDER = (*ONE_SERVER, "tests/data", "tests/training", "tests/demo", "tests/core")
"""Folders in the order in which their tests begin: the servers' first, as they keep one process busy the longest. The
tests ``IN_PROCESS`` come last, when the servers are gone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> tuple[int, int]:
        file = item.nodeid.partition("::")[0]
        if file == OWN_SERVER or file.startswith(IN_PROCESS):
            return len(ORDER) + 1, file != OWN_SERVER
        folder = "/".join(file.split("/")[:2])
        return (ORDER.index(folder) if folder in ORDER else len(ORDER)), 0

    items.sort(key=place)


class ByServer(LoadScopeScheduling):
    """Distributes tests over processes: all that share a server go to one process, of other tests a file at a time.

    (The marker xdist_group has no effect with pytest 9 and xdist 3.8.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = file.rpartition("/")[0]
        return folder if folder in ONE_SERVER and file != OWN_SERVER else file


def pytest_xdist_make_scheduler(config: pytest.Config, log) -> ByServer:
    config.option.loadscopereorder = False  # else the scopes with the most tests come first
    return ByServer(config, log)


@pytest.fixture(scope="session")
def photos() -> dict[str, Path]:
    """Real photos: astronaut, group (six people), obama, obama2, obama3 (one person), biden."""
    return photos_source.photos()


@pytest.fixture(scope="session")
def face_pack() -> Path:
    """The folder of real face models that stands in for antelopev2."""
    return face_pack_source.face_pack()


@pytest.fixture(scope="session")
def models() -> Path:
    """A ``models`` folder of demo models."""
    return models_source.demo_models()


@pytest.fixture(scope="session")
def comfyui_path() -> Path:
    """ComfyUI's folder."""
    return comfyui_source.comfyui()


@pytest.fixture(scope="session")
def golden() -> dict[str, torch.Tensor]:
    """Inputs of the network, and what the public implementation computes from them."""
    return load_file(GOLDEN / "expected.safetensors")


@pytest.fixture(scope="session")
def golden_checkpoint(tmp_path_factory) -> Path:
    """The golden checkpoint; the bases that are not stored are zeros."""
    folder = tmp_path_factory.mktemp("golden_checkpoint")
    shutil.copy(GOLDEN / "hyper_lora_modules.json", folder)
    for part in ("resampler", "base_resampler", "id_projector"):
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
