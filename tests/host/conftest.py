"""The demo models with broken ones beside them, and workflows small enough to run many times."""

import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from demo import workflows
from demo.server import ComfyServer, ExecutionError, Result
from hyperlora_core.files.encoders import UNKNOWN
from hyperlora_core.network.conversion import convert
from hyperlora_core.network.layout import MODULES_JSON
from tests.support import models as demo
from tests.support import wrong_files


@pytest.fixture(scope="session")
def models_with_faults(models, golden_checkpoint, face_pack, tmp_path_factory) -> Path:
    """The demo models, checkpoints of every kind, and one model file for each thing that can be wrong."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(models, folder, copy_function=os.symlink, dirs_exist_ok=True)
    checkpoints, packs = folder / "hyper_lora", folder / "insightface" / "models"
    wrong_files.make_all(wrong_files.CHECKPOINTS, checkpoints, golden_checkpoint)
    wrong_files.make_all(wrong_files.CLIPS, folder / "clip_vision", golden_checkpoint)
    wrong_files.make_all(wrong_files.FACES, packs, face_pack)

    names = json.loads((golden_checkpoint / MODULES_JSON).read_text())
    renamed = {name.replace("down_blocks_1_attentions_1", "down_blocks_1_attentions_7"): v for name, v in names.items()}
    unfit = wrong_files.linked(checkpoints / "for_another_base", golden_checkpoint, {MODULES_JSON})
    (unfit / MODULES_JSON).write_text(json.dumps(renamed))
    wrong_files.linked(checkpoints / "self_nested" / "self_nested", models / "hyper_lora" / demo.HYPER_LORA)

    own_encoders = demo.demo_encoders(models)
    for name, shape, encoders in (
        ("without_base", demo.Shape(base=False), own_encoders),
        ("face_alone", demo.Shape(base=False, reads=("face",)), own_encoders),
        ("clip_alone", demo.Shape(base=False, reads=("clip",)), own_encoders),
        ("says_nothing", demo.Shape(base=False), UNKNOWN),
        ("config_sized", demo.Shape(bases=32, heads=4, depth=4), own_encoders),
        ("config_sized_clip_alone", demo.Shape(bases=32, heads=4, depth=4, base=False, reads=("clip",)), own_encoders),
    ):
        demo.make_hyper_lora(checkpoints / name, torch.Generator().manual_seed(5), shape, encoders)
    convert(models / "hyper_lora" / demo.HYPER_LORA, checkpoints / "one_file.safetensors")

    clip = load_file(models / "clip_vision" / demo.CLIP_VISION)
    another = {name: tensor + 0.01 for name, tensor in clip.items()}
    save_file(another, folder / "clip_vision" / "another_of_that_size.safetensors")
    shutil.copytree(face_pack, packs / "nested" / "nested")
    buffalo = wrong_files.linked(packs / "buffalo_l", face_pack, {"glintr100.onnx"})
    (buffalo / "w600k_r50.onnx").symlink_to(face_pack / "glintr100.onnx")
    (folder / "insightface" / "inswapper_128.onnx").touch()  # another pack's model
    return folder


@pytest.fixture(scope="package")
def server(models_with_faults, tmp_path_factory) -> Iterator[ComfyServer]:
    """The ComfyUI server that the tests of this folder share; its models folder has the broken models too."""
    base = tmp_path_factory.mktemp("comfyui")
    (base / "custom_nodes").mkdir()
    (base / "custom_nodes" / "fault_nodes").symlink_to(Path(__file__).parent / "fault_nodes")
    with ComfyServer(base, models_with_faults) as server:
        yield server


@pytest.fixture(scope="module")
def bare_server(models, models_with_faults, photos, tmp_path_factory) -> Iterator[tuple[ComfyServer, Path]]:
    """A ComfyUI without CLIP and without any package that finds faces, and its user's home folder."""
    base, home = tmp_path_factory.mktemp("bare"), tmp_path_factory.mktemp("home")
    folder = base / "models"
    (folder / "clip_vision").mkdir(parents=True)
    (folder / "clip_vision" / "somebodys_clip.safetensors").write_bytes(wrong_files.HTML)
    (folder / "checkpoints").symlink_to(models / "checkpoints")
    (folder / "insightface").symlink_to(models / "insightface")
    for name, source in ((demo.HYPER_LORA, models), ("face_alone", models_with_faults)):
        wrong_files.linked(folder / "hyper_lora" / name, source / "hyper_lora" / name)
    environment = without_packages(tmp_path_factory.mktemp("blocker"), "insightface", "onnxruntime", "onnx", "cv2") | {
        "HOME": str(home)
    }
    with ComfyServer(base, environment=environment) as server:
        server.upload(photos["obama"])
        yield server, home


@pytest.fixture(scope="package")
def uploaded(server, photos) -> dict[str, str]:
    """The photos, by the names that LoadImage takes."""
    return {name: server.upload(path) for name, path in photos.items()}


@pytest.fixture(scope="package")
def small(uploaded) -> Callable[..., workflows.Workflow]:
    """An example workflow, filled with demo models, one photo and a small size."""

    def make(name: str, photo: str = "obama", **values: dict[str, object]) -> workflows.Workflow:
        demo_values: dict[str, dict[str, object]] = {
            "LoadImage": {"image": uploaded[photo]},
            "EmptyLatentImage": {"width": 128, "height": 128},
            "KSampler": {"steps": 2},
        }
        for node_id, inputs in values.items():
            demo_values[node_id] = demo_values.get(node_id, {}) | inputs
        return workflows.fill(demo.with_demo_models(workflows.load(name)), demo_values)

    return make


@pytest.fixture(scope="package")
def picture(server) -> Callable[[workflows.Workflow], np.ndarray]:
    """Run a workflow; its saved picture, ``(height, width, 3)`` uint8."""

    def run(workflow: workflows.Workflow) -> np.ndarray:
        return saved_picture(server, workflow, server.run(workflow))

    return run


@pytest.fixture
def plain(small):
    """Text to picture without a person, which the public nodes are put into."""
    workflow = small("portrait_simple")
    portrait = workflows.node(workflow, "HyperLoRAPortrait")
    model = workflow[portrait]["inputs"]["model"]
    for node in ("HyperLoRAPortrait", "HyperLoRALoadModel"):
        del workflow[workflows.node(workflow, node)]
    sampler = workflow[workflows.node(workflow, "KSampler")]["inputs"]
    sampler["model"] = model
    return workflow


def without_packages(folder: Path, *packages: str) -> dict[str, str]:
    """Environment variables for a Python in which packages cannot be imported; a file for it is put into a folder."""
    names = " = ".join(f"sys.modules[{name!r}]" for name in packages)
    (folder / "sitecustomize.py").write_text(f"import sys\n{names} = None\n")
    return {"PYTHONPATH": str(folder)}


def failure(server: ComfyServer, workflow: workflows.Workflow) -> ExecutionError:
    """Run a workflow that has to fail, and return its error."""
    with pytest.raises(ExecutionError) as caught:
        server.run(workflow)
    return caught.value


def forget(server: ComfyServer) -> None:
    """Empty ComfyUI's own cache, and unload its models.

    ComfyUI does so when it is idle or after a prompt, so a prompt is run before this returns.
    """
    body = {"unload_models": True, "free_memory": True}
    requests.post(f"{server.url}/free", json=body, timeout=60).raise_for_status()
    server.run({"1": {"class_type": "TestLoadedModels", "inputs": {"nonce": time.monotonic_ns() % 2**31}}})


def saved_picture(server: ComfyServer, workflow: workflows.Workflow, result: Result) -> np.ndarray:
    """The first picture that a run saved."""
    (image, *_) = result.outputs[workflows.node(workflow, "SaveImage")]["images"]
    return np.asarray(Image.open(io.BytesIO(server.view(image))).convert("RGB"))


def difference(a: np.ndarray, b: np.ndarray) -> int:
    """The largest difference of two pictures at any pixel, in levels of 255."""
    return int(np.abs(a.astype(int) - b.astype(int)).max())
