"""What the Comfy Registry would publish: complete without the tests' files, with the metadata that it reads."""

import re
import shutil
import subprocess
from pathlib import Path

import pathspec
import pytest
import requests
import tomllib

from demo import workflows
from demo.server import PACK, PACK_NAME, ComfyServer
from tests.nodes.contract import NODES
from tools import blueprints, locales


@pytest.fixture(scope="module")
def published() -> list[str]:
    """The files that comfy-cli would pack: those that git has, without those that .comfyignore names."""
    listed = subprocess.run(["git", "ls-files"], cwd=PACK, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this checkout has no git, by which comfy-cli finds the files")
    lines = (PACK / ".comfyignore").read_text().splitlines()
    ignored = pathspec.PathSpec.from_lines("gitignore", [line for line in lines if line and line[0] != "#"])
    return [name for name in listed.stdout.splitlines() if not ignored.match_file(name) and (PACK / name).is_file()]


def test_nothing_of_the_tests_is_published(published):
    assert {name.partition("/")[0] for name in published} == {
        *("LICENSE", "README.md", "__init__.py", "pyproject.toml", "requirements.txt"),
        *("docs", "example_workflows", "hyperlora_core", "locales", "nodes", "subgraphs", "web"),
    }
    assert all(name.endswith(".md") for name in published if name.startswith("docs/"))
    assert sum((PACK / name).stat().st_size for name in published) < 4 << 20


def test_the_registry_is_told_what_it_asks_for():
    config = tomllib.loads((PACK / "pyproject.toml").read_text())
    project, comfy = config["project"], config["tool"]["comfy"]
    assert comfy["PublisherId"] and comfy["DisplayName"] == "HyperLoRA"
    assert re.fullmatch(r">=\d+\.\d+\.\d+", comfy["requires-comfyui"])
    assert any(name.startswith("Operating System :: ") for name in project["classifiers"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"]) and project["license"] == "Apache-2.0"
    for picture in ("Icon", "Banner"):
        address, _, name = comfy[picture].rpartition("/main/")
        assert address.rpartition("/")[2] == project["urls"]["Repository"].rpartition("/")[2]
        assert (PACK / name).read_text().startswith("<svg ")


@pytest.mark.slow
def test_the_published_files_alone_are_a_whole_pack(published, models, tmp_path):
    pack = tmp_path / "custom_nodes" / PACK_NAME
    for name in published:
        (pack / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACK / name, pack / name)
    with ComfyServer(tmp_path, models) as server:
        assert set(NODES) <= set(server.object_info())
        ask = lambda path: requests.get(server.url + path, timeout=30).json()  # noqa: E731
        templates = ask("/workflow_templates")[PACK_NAME]
        assert sorted(templates) == sorted(path.stem for path in workflows.FOLDER.glob("*.json"))
        offered = ask("/global_subgraphs").values()
        assert sorted(entry["name"] for entry in offered if entry["info"]["node_pack"].endswith(PACK_NAME)) == sorted(
            blueprints.BLUEPRINTS
        )
        assert set(locales.LANGUAGES) <= set(ask("/i18n"))
        log = server.log.read_text()
    assert "Traceback" not in log and "IMPORT FAILED" not in log
    assert Path(pack / "web" / "docs" / "img").is_dir()
