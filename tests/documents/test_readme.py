"""What the README promises about itself: short, with every node, and numbers that the code has."""

import re

import pytest

from demo import comfyui
from demo.server import PACK, PACK_NAME
from hyperlora_core import TRIGGER_WORDS
from hyperlora_core.files.downloads import find_bundle
from tests.documents import reading

README = reading.read("README.md")


def test_it_is_short():
    assert len(README.splitlines()) <= 200


def test_the_two_commands_are_on_it():
    commands = "".join(block.text for block in reading.blocks("README.md", "sh"))
    assert re.search(r"^make portrait\b", commands, re.MULTILINE)
    assert re.search(r"^make test\b", commands, re.MULTILINE)


def test_every_node_has_its_page_on_it():
    pages = {target for target in reading.links("README.md") if target.startswith("web/docs/")}
    assert pages == {f"web/docs/{path.name}" for path in (PACK / "web" / "docs").glob("*.md")}


def test_consent_and_licences_are_plain():
    assert {"consent", "licences"} <= reading.anchors("README.md")
    for licence in ("Apache-2.0", "CC BY-NC 4.0", "AntelopeV2: for non-commercial research only"):
        assert licence in README
    assert "people who agreed" in README


def test_the_clone_line_names_where_the_project_is_published():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 is the first that reads TOML")
    address = tomllib.loads((PACK / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
    assert f"git clone --depth 1 {address} {PACK_NAME}\n" in README


@pytest.mark.parametrize(("row", "name"), [("HyperLoRA", "fidelity"), ("CLIP", "clip"), ("AntelopeV2", "faces")])
def test_sizes_of_models_are_those_of_the_downloads(row, name):
    (size,) = re.findall(rf"^\| {row}[^|]*\| ([\d.]+) GB", README, re.MULTILINE)
    assert float(size) == pytest.approx(find_bundle(name).megabytes / 1000, abs=0.05)


def test_the_trigger_words_are_right():
    assert f"`{TRIGGER_WORDS}, `" in README or f"`{TRIGGER_WORDS}`" in README


def test_the_templates_it_names_are_there():
    documents = README + reading.read("docs/NODES.md")
    templates = {path.stem for path in (PACK / "example_workflows").glob("*.json")}
    assert templates <= set(re.findall(r"\w+", documents))
    section = re.search(r"## Templates\n\n(.+?)Copies for", documents, re.DOTALL)
    assert section and set(re.findall(r"`(\w+)`", section[1])) == templates


def test_the_releases_of_comfyui_are_right():
    oldest = re.search(r'^COMFYUI = "([\d.]+)"', (PACK / "__init__.py").read_text(), re.MULTILINE)
    assert oldest and f"For ComfyUI {oldest[1]} and newer" in README
    assert f"ComfyUI {comfyui.RELEASES[-1]} (or yours" in README
