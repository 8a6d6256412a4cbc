"""Who may import whom: the core's packages stand in an order, and the libraries behind its doors are imported there."""

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "hyperlora_core"
GROUND = ("errors", "version", "cache", "devices", "html_page", "ops", "trigger_words")
PACKAGES = (
    "files",
    "lora",
    "faces",
    "network",
    "clip",
    "identity",
    "doors",
    "judging",
    "doctor",
    "comfy",
    "data",
    "training",
    "evaluation",
    "cli",
)
"""Each imports what stands before it, never what follows."""

HOMES = {
    "comfy": ["doors/comfyui"],
    "comfy_execution": ["doors/comfyui"],
    "diffusers": ["doors/diffusers"],
    "insightface": ["faces/insightface_engine.py"],
    "onnxruntime": ["faces/engines.py"],
    "open_clip": ["evaluation/clip_scores.py"],
    "accelerate": ["training"],
    "ray": ["data/engine.py"],
}
"""Library -> where alone it is imported."""


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Absolute names of the modules that a file imports, wherever in it."""
    package = path.parent.relative_to(ROOT).parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = tuple(node.module.split(".")) if node.module else ()
            start = (*package[: len(package) + 1 - node.level], *module) if node.level else module
            yield from ((*start, alias.name) for alias in node.names)


def modules() -> list[Path]:
    return sorted(CORE.rglob("*.py"))


def test_every_package_has_its_place():
    packages = {path.stem if path.is_file() else path.name for path in CORE.iterdir()} - {"__init__", "__pycache__"}
    assert packages == {*GROUND, *PACKAGES}


def test_arrows_run_one_way():
    place = {name: number for number, name in enumerate((*GROUND, *PACKAGES))}
    wrong = []
    for path in modules():
        inside = path.relative_to(CORE).with_suffix("").parts
        if inside[0] == "__init__" or inside[-1] == "__main__":  # the surface, and what ``python -m`` begins with
            continue
        for name in imports(path):
            if name[0] == CORE.name and place.get(name[1], len(place)) > place[inside[0]]:
                wrong.append(f"{path.relative_to(ROOT)} imports {'.'.join(name)}")
    assert not wrong


def test_no_two_modules_import_each_other():
    """Within a package, too; imports inside functions and for types alone count."""
    names = {path.relative_to(ROOT).with_suffix("").parts: path for path in modules()}
    reads = {}
    for name, path in names.items():
        imported = {cut for full in imports(path) for cut in (full, full[:-1]) if cut in names}
        reads[name] = imported - {name}
    mutual = {
        " and ".join(sorted((".".join(a), ".".join(b))))
        for a, b in itertools.permutations(names, 2)
        if b in reads[a] and a in reads[b]
    }
    assert not mutual


@pytest.mark.long
@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_in_one_place(library):
    homes = tuple(CORE / home for home in HOMES[library])
    strays = [
        str(path.relative_to(ROOT))
        for path in modules()
        if any(name[0] == library for name in imports(path)) and not any(path.is_relative_to(home) for home in homes)
    ]
    assert not strays


@pytest.mark.parametrize("package", ["comfy", "files"])
def test_what_needs_no_torch_imports_none(package):
    """At import, that is: a file's tensors are read with torch."""
    for path in (CORE / package).rglob("*.py"):
        tree = ast.parse(path.read_text())
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert not [node for node in top if "torch" in ast.unparse(node).split()[1].split(".")], path
