"""The help pages: one a node, with its picture; every input, output and message that they name exists."""

import ast
import re
from pathlib import Path

import pytest
from PIL import Image

from demo.server import PACK
from demo.shown import help_results
from tests.nodes.contract import NODES

DOCS = PACK / "web" / "docs"
# Names in code spans that are ComfyUI's own inputs, not ours.
_FOREIGN = {"batch_size", "cfg", "denoise", "steps"}


@pytest.fixture(scope="module")
def fields(object_info) -> set[str]:
    """Every input and output of every node of ours; growing inputs by their stem."""
    names = set()
    for info in object_info.values():
        names |= {field for group in info["input"].values() for field in group} | set(info["output_name"])
    return names


@pytest.fixture(scope="module")
def strings() -> list[str]:
    """Every string in the code, with a NUL for each value that is filled in."""
    texts = []
    for path in [*PACK.glob("nodes/**/*.py"), *PACK.glob("hyperlora_core/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def test_there_is_a_page_a_node_and_no_other():
    assert {path.stem for path in DOCS.glob("*.md")} == set(NODES)
    assert {path.stem for path in (DOCS / "img").iterdir()} == set(NODES)


@pytest.mark.parametrize("node", NODES)
def test_a_page_has_its_parts(node):
    text = (DOCS / f"{node}.md").read_text(encoding="utf-8")
    assert re.match(rf"# (Load )?HyperLoRA.*\n\n!\[.+\]\(img/{node}\.webp\)\n\n\S", text)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Typical values", "What goes wrong"]
    picture = Image.open(DOCS / "img" / f"{node}.webp")
    assert picture.width > 400 and picture.height > 100
    assert len({colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}) > 50


def test_results_are_shown_where_they_say_more_than_a_graph():
    with_results = {path.stem for path in DOCS.glob("*.md") if f"](results/{path.stem}.webp)" in path.read_text()}
    assert with_results == set(help_results.RESULTS) == {path.stem for path in help_results.FOLDER.iterdir()}
    assert sum(path.stat().st_size for path in help_results.FOLDER.iterdir()) < 400_000, "each artist downloads them"


@pytest.mark.parametrize("node", NODES)
def test_a_page_names_what_there_is(node, fields, strings):
    page = (DOCS / f"{node}.md").read_text(encoding="utf-8")
    for name in re.findall(r"`([a-z]+(?:_[a-zA-Z]+)*)`", page):
        assert name in fields | _FOREIGN, f"{name} is no input or output"
    for quoted in re.findall(r'"([^"\n]+)"', page.partition("## What goes wrong")[2]):
        parts = [part for part in re.split(r"\s*\.\.\.\s*", quoted) if part]
        assert any(all(part in text for part in parts) for text in strings), f"no node says: {quoted}"


def test_every_page_is_read_off_files_that_exist():
    for path in DOCS.glob("*.md"):
        for link in re.findall(r"\]\((?!http)([^)]+)\)", path.read_text(encoding="utf-8")):
            assert Path(DOCS, link).is_file(), f"{path.name}: {link}"
