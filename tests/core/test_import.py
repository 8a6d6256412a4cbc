"""What importing costs, and what it offers."""

import subprocess
import sys

import pytest

import hyperlora_core

HEAVY = ("insightface", "cv2", "onnx", "onnxruntime", "open_clip", "torchvision", "transformers", "diffusers", "comfy")
HEAVY += ("ray", "pyarrow", "pandas", "webdataset", "imagehash", "scipy", "matplotlib")


def run(code: str, folder) -> str:
    result = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_core_loads_no_heavy_package(request):
    code = f"import sys, hyperlora_core.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert run(code, request.config.rootpath) == "[]"


@pytest.mark.parametrize("words", [["--help"], ["download", "--help"], ["batch", "--help"]])
def test_a_command_without_tensors_waits_for_no_torch(request, words):
    code = f"""
import sys
from hyperlora_core.cli import main
try:
    main({words})
except SystemExit:
    print("torch" in sys.modules)
"""
    assert run(code, request.config.rootpath).endswith("False")


def test_the_pack_can_be_imported_without_comfyui(request):
    folder = str(request.config.rootpath)
    code = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location(
    "pack", {folder!r} + "/__init__.py", submodule_search_locations=[{folder!r}]
)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
read = ("NODE_CLASS_MAPPINGS", "WEB_DIRECTORY", "comfy_entrypoint")  # by ComfyUI
print([name for name in read if hasattr(module, name)], "torch" in sys.modules)
"""
    assert run(code, "/") == "['WEB_DIRECTORY', 'comfy_entrypoint'] False"


def test_the_surface_is_short():
    assert set(dir(hyperlora_core)) == {
        "TRIGGER_WORDS",
        "BlockStrengths",
        "Cache",
        "ClipVision",
        "Face",
        "FaceAnalyzer",
        "HyperLoRA",
        "HyperLoRAError",
        "Identity",
        "LoRA",
        "Slider",
        "crops",
        "encode_base",
        "encode_id",
        "find_references",
        "generate",
        "generate_slider",
        "load_identity",
        "mixing",
        "open_photo",
        "save_identity",
    }


def test_every_name_of_the_surface_is_there():
    assert all(getattr(hyperlora_core, name) is not None for name in dir(hyperlora_core))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        hyperlora_core.nothing  # noqa: B018


def test_versions_agree(request):
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 is the first that reads TOML")
    project = tomllib.loads((request.config.rootpath / "pyproject.toml").read_text())["project"]
    assert project["version"] == hyperlora_core.__version__


def test_a_comfyui_gets_what_it_lacks_and_keeps_what_it_has(request):
    lines = (request.config.rootpath / "requirements.txt").read_text().splitlines()
    packages = [line.split("#")[0].strip() for line in lines]
    names = [package for package in packages if package]
    assert names == ["huggingface_hub"], "without a version: whichever is there stays"


@pytest.mark.long
def test_training_without_its_packages_says_which_is_missing(request):
    code = """
import sys
sys.modules["tyro"] = None
from hyperlora_core.cli import main
sys.exit(0 if main(["train", "base"]) == 1 else 1)
"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=request.config.rootpath, capture_output=True, text=True, check=False)
    assert result.returncode == 0 and "hyperlora train needs tyro: pip install -e .[train]" in result.stderr
