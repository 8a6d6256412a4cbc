"""In a ComfyUI that is too old the pack logs one sentence; all places that name the oldest release agree."""

import importlib.util
import sys

import pytest
import requests
import tomllib

from demo import comfyui
from demo.server import PACK, PACK_NAME, ComfyServer

SENTENCE = "ComfyUI-HyperLoRA needs ComfyUI 0.14.0 or newer, and this one is {}: update ComfyUI"


def entry(name: str = "entry_of_the_pack"):
    """The pack's own entry, as ComfyUI imports it."""
    spec = importlib.util.spec_from_file_location(name, PACK / "__init__.py", submodule_search_locations=[str(PACK)])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def says(folder, version: str) -> dict[str, str]:
    """Environment variables that make ComfyUI report another release."""
    lines = ["import sys, types", "module = types.ModuleType('comfyui_version')", f"module.__version__ = {version!r}"]
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text("\n".join([*lines, "sys.modules['comfyui_version'] = module", ""]))
    return {"PYTHONPATH": str(folder)}


def test_an_older_comfyui_is_named_before_anything_else_is_imported(tmp_path):
    with ComfyServer(tmp_path / "base", environment=says(tmp_path / "older", "0.13.9")) as server:
        log = server.log.read_text()
        extensions = requests.get(f"{server.url}/extensions", timeout=30).json()
        ours = [name for name, info in server.object_info().items() if info["python_module"].endswith(PACK_NAME)]
    assert log.count(SENTENCE.format("0.13.9")) == 1
    assert log.count(PACK_NAME) == 2, "the sentence, and ComfyUI's list of what it loaded"
    assert "Traceback" not in log and ours == [] and not any(PACK_NAME in path for path in extensions)


@pytest.mark.parametrize("version", ["0.14.0", "0.14.0-rc1", "0.100.0", "1.0", "nightly"])
def test_what_is_not_older_is_let_in(monkeypatch, version):
    monkeypatch.setitem(sys.modules, "comfyui_version", type("Module", (), {"__version__": version}))
    assert not hasattr(entry(), "NODE_CLASS_MAPPINGS") and entry().WEB_DIRECTORY == "./web"


@pytest.mark.parametrize("version", ["0.13.0", "0.9.2", "0.3.75"])
def test_what_is_older_gets_no_nodes_and_no_pages(monkeypatch, caplog, version):
    monkeypatch.setitem(sys.modules, "comfyui_version", type("Module", (), {"__version__": version}))
    module = entry()
    assert module.NODE_CLASS_MAPPINGS == {} and not hasattr(module, "WEB_DIRECTORY")
    assert SENTENCE.format(version) in caplog.text


def test_what_does_not_say_its_release_is_older(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "comfyui_version", None)
    monkeypatch.setitem(sys.modules, "folder_paths", object())
    assert entry().NODE_CLASS_MAPPINGS == {} and SENTENCE.format("older than 0.3.10") in caplog.text


def test_the_registry_is_told_the_same_release():
    config = tomllib.loads((PACK / "pyproject.toml").read_text())
    oldest = entry().COMFYUI
    assert config["tool"]["comfy"]["requires-comfyui"] == f">={oldest}"
    numbers = [[int(part) for part in version.split(".")] for version in (oldest, *comfyui.RELEASES)]
    assert numbers == sorted(numbers), "what is tried is not older than what is asked for, and the newest is the last"
