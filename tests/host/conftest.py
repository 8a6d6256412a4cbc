"""The demo models with broken ones beside them, and workflows small enough to run many times."""

import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo import models as demo
from demo import sdxl, workflows
from demo.server import ComfyServer, Result


@pytest.fixture(scope="session")
def models_with_faults(models, golden_checkpoint, face_pack, tmp_path_factory) -> Path:
    """The demo models, and beside them a HyperLoRA for another base model and face packs that are broken."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(models, folder, copy_function=os.symlink, dirs_exist_ok=True)
    other = Path(shutil.copytree(golden_checkpoint, folder / "hyper_lora" / "for_another_base"))
    names = json.loads((other / "hyper_lora_modules.json").read_text())
    renamed = {name.replace("down_blocks_1_attentions_1", "down_blocks_1_attentions_7"): v for name, v in names.items()}
    (other / "hyper_lora_modules.json").write_text(json.dumps(renamed))
    no_base = Path(shutil.copytree(golden_checkpoint, folder / "hyper_lora" / "without_base"))
    from safetensors.torch import load_file, save_file

    bases = load_file(no_base / "hyper_lora_modules.safetensors")
    save_file({k: v for k, v in bases.items() if ".id_" in k}, no_base / "id_only.safetensors")
    (no_base / "id_only.safetensors").replace(no_base / "hyper_lora_modules.safetensors")
    (no_base / "base_resampler.safetensors").unlink()
    packs = folder / "insightface" / "models"
    shutil.copytree(face_pack, packs / "corrupt")
    whole = (packs / "corrupt" / "glintr100.onnx").read_bytes()
    (packs / "corrupt" / "glintr100.onnx").write_bytes(whole[: len(whole) // 2])
    shutil.copytree(face_pack, packs / "incomplete")
    (packs / "incomplete" / "2d106det.onnx").unlink()
    shutil.copytree(face_pack, packs / "nested" / "nested")
    (folder / "insightface" / "inswapper_128.onnx").touch()  # another pack's model
    return folder


@pytest.fixture(scope="session")
def server(models_with_faults, tmp_path_factory) -> Iterator[ComfyServer]:
    """One ComfyUI server for the tests of this folder, with faults within reach."""
    base = tmp_path_factory.mktemp("comfyui")
    (base / "custom_nodes").mkdir()
    (base / "custom_nodes" / "fault_nodes").symlink_to(Path(__file__).parent / "fault_nodes")
    with ComfyServer(base, models_with_faults) as server:
        yield server


@pytest.fixture(scope="session")
def uploaded(server, photos) -> dict[str, str]:
    """The photos, by the names that LoadImage takes."""
    return {name: server.upload(path) for name, path in photos.items()}


@pytest.fixture(scope="session")
def small(uploaded) -> Callable[..., workflows.Workflow]:
    """An example workflow, filled with demo models, one photo and a small size."""

    def make(name: str, photo: str = "obama", **values: dict[str, object]) -> workflows.Workflow:
        demo_values: dict[str, dict[str, object]] = {
            "CheckpointLoaderSimple": {"ckpt_name": sdxl.CHECKPOINT},
            "HyperLoRALoadModel": {"model": demo.HYPER_LORA},
            "ControlNetLoader": {"control_net_name": sdxl.CONTROLNET},
            "LoraLoaderModelOnly": {"lora_name": demo.STYLE_LORA},
            "LoadImage": {"image": uploaded[photo]},
            "EmptyLatentImage": {"width": 128, "height": 128},
            "KSampler": {"steps": 2},
        }
        for node_id, inputs in values.items():
            demo_values[node_id] = demo_values.get(node_id, {}) | inputs
        return workflows.fill(workflows.load(name), demo_values)

    return make


@pytest.fixture(scope="session")
def picture(server) -> Callable[[workflows.Workflow], np.ndarray]:
    """Run a workflow; its saved picture, ``(height, width, 3)`` uint8."""

    def run(workflow: workflows.Workflow) -> np.ndarray:
        return saved_picture(server, workflow, server.run(workflow))

    return run


def saved_picture(server: ComfyServer, workflow: workflows.Workflow, result: Result) -> np.ndarray:
    """The first picture that a run saved."""
    (image, *_) = result.outputs[workflows.node(workflow, "SaveImage")]["images"]
    return np.asarray(Image.open(io.BytesIO(server.view(image))).convert("RGB"))
