"""What many tests stand on: real photos, real face models, demo models, ComfyUI and its server."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from xdist.scheduler import LoadScopeScheduling

from demo import comfyui as comfyui_source
from demo import face_pack as face_pack_source
from demo import photos as photos_source
from demo.server import ComfyServer
from tests.support import models as models_source

GOLDEN = Path(__file__).parent / "core" / "golden" / "network"
SHARED = ("tests/browser", "tests/host")  # of each folder, all tests share a server of ComfyUI
ALONE = tuple(  # have ComfyUI in their own process
    f"tests/host/test_{name}.py"
    for name in ("comfyui_door", "drawn_base", "effects", "pictures", "quantised", "runtime")
)


class Together(LoadScopeScheduling):
    """What runs in one process, of the two that `make test` has: all that needs one server, or else a file.

    (Groups by xdist_group come to nothing with pytest 9 and xdist 3.8.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = file.rpartition("/")[0]
        return folder if folder in SHARED and file not in ALONE else file


LONGEST_FIRST = ("tests/host", "tests/browser", "tests/data", "tests/training", "tests/demo")
"""Folders whose tests begin early, so that no process is left alone with a long one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        folder = "/".join(item.nodeid.split("/")[:2])
        return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=place)


def pytest_xdist_make_scheduler(config: pytest.Config, log) -> Together:
    config.option.loadscopereorder = False  # by how many tests they have
    return Together(config, log)


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
def server(models, tmp_path_factory) -> Iterator[ComfyServer]:
    """One ComfyUI server for the whole run."""
    with ComfyServer(tmp_path_factory.mktemp("comfyui"), models) as server:
        yield server


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
