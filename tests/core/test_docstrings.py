"""What docstrings and comments name is there: modules, classes, functions, attributes and arguments.

Sources are read and none is imported, so that every folder is looked at, whatever is installed.
"""

import ast
import builtins
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("hyperlora_core", "nodes", "demo", "tools", "benchmarks", "tests/support")

PACKAGES = sys.stdlib_module_names | {
    *("PIL", "numpy", "np", "safetensors", "torch", "diffusers", "transformers", "peft", "cv2"),
    *("comfy", "comfy_api", "comfy_extras", "insightface", "onnxruntime", "huggingface_hub"),
}
"""Packages of others, whose insides are not looked into."""

ELSEWHERE = {
    "Flux": "a class of ComfyUI's",
    "HF_ENDPOINT": "huggingface_hub's environment",
    "HF_TOKEN": "huggingface_hub's environment",
    "input_blocks_4_1": "a part of a kohya key",
    "node.input": "a column of a table of people",
    "patches_uuid": "of ComfyUI's ModelPatcher",
    "properties.models": "of a node in ComfyUI's workflow files",
    "requires_grad": "of torch's Tensor",
    "visual.class_embedding": "a key of OpenAI's CLIP",
    "X.jpg": "any picture",
}
"""Names that a docstring may use though no source here defines them -> whose they are."""

REFERENCE = re.compile(r"``([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:\(\))?``")
LISTED = re.compile(r"    (\*{0,2}\w+(?:, \*{0,2}\w+)*): ")

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Scope:
    """What a module, a class or a function defines.

    Attributes:
        names: defined in it, each with a scope of its own, which is empty for plain values.
        like: names of classes or modules whose names it has too: base classes, a parameter's type, what was imported.
    """

    names: dict[str, "Scope"] = field(default_factory=dict)
    like: list[str] = field(default_factory=list)


def identifiers(node: ast.AST | None) -> list[str]:
    """The names in an annotation or a base class, those in quotes included."""
    return [] if node is None else re.findall(r"\w+", ast.unparse(node))


def parameters(node: Function) -> list[ast.arg]:
    arguments = node.args
    listed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return [argument for argument in listed if argument is not None]


def scope_of(node: ast.AST, scopes: dict[ast.AST, Scope]) -> Scope:
    """What a node defines; ``scopes`` gets it, and those of all classes and functions in it."""
    scope = scopes[node] = Scope()
    if isinstance(node, FUNCTIONS):
        scope.names |= {argument.arg: Scope(like=identifiers(argument.annotation)) for argument in parameters(node)}
    if isinstance(node, ast.ClassDef):
        scope.like = [name for base in node.bases for name in identifiers(base)]

    def collect(parent: ast.AST) -> None:
        for child in ast.iter_child_nodes(parent):
            if isinstance(child, (ast.ClassDef, *FUNCTIONS)):
                scope.names[child.name] = scope_of(child, scopes)
                if isinstance(node, ast.ClassDef):  # self.name = value
                    attributes = [sub for sub in ast.walk(child) if isinstance(sub, ast.Attribute)]
                    for attribute in attributes:
                        if isinstance(attribute.ctx, ast.Store):
                            scope.names.setdefault(attribute.attr, Scope())
                continue
            if isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
                scope.names[child.target.id] = Scope(like=identifiers(child.annotation))
            elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                scope.names.setdefault(child.id, Scope())
            elif isinstance(child, (ast.Import, ast.ImportFrom)):
                for alias in child.names:
                    name = alias.name.rpartition(".")[2]
                    scope.names.setdefault(alias.asname or name, Scope(like=[name]))
            collect(child)

    collect(node)
    return scope


class Project:
    """What the sources define and hold.

    Attributes:
        sources: file -> its text.
        trees: file -> its syntax tree.
        scopes: file or folder -> what it defines; a folder has its modules' names and those of its ``__init__``.
        of_node: module, class or function in a tree -> what it defines.
        defined: name -> the scopes that it has anywhere.
        words: names in texts that have no space, such as keys of files, columns and inputs of nodes.
    """

    def __init__(self, sources: dict[Path, str]) -> None:
        self.sources = sources
        self.trees = {path: ast.parse(source) for path, source in sources.items()}
        self.scopes: dict[Path, Scope] = {ROOT: Scope()}
        self.of_node: dict[ast.AST, Scope] = {}
        for path, tree in self.trees.items():
            self._place(path.parent if path.stem == "__init__" else path.with_suffix("")).names |= scope_of(
                tree, self.of_node
            ).names
        self.defined: dict[str, list[Scope]] = {}
        self._index(self.scopes[ROOT])
        nodes = (node for tree in self.trees.values() for node in ast.walk(tree))
        texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        self.words = {word for text in texts if " " not in text for word in (text, *re.findall(r"\w+", text))}

    def _place(self, path: Path) -> Scope:
        if path not in self.scopes:
            self.scopes[path] = self._place(path.parent).names.setdefault(path.name, Scope())
        return self.scopes[path]

    def _index(self, scope: Scope) -> None:
        for name, inner in scope.names.items():
            self.defined.setdefault(name, []).append(inner)
            self._index(inner)

    def member(self, scope: Scope, name: str) -> Scope | None:
        """A name of a scope, or of what it is like; None where it has none."""
        queue, visited = [scope], set()
        while queue:
            candidate = queue.pop(0)
            if name in candidate.names:
                return candidate.names[name]
            for like in set(candidate.like) - visited:
                visited.add(like)
                queue += [inner for inner in self.defined.get(like, ()) if inner.names]
        return None

    def resolves(self, reference: str, around: Sequence[Scope]) -> bool:
        """Whether a reference names something, read from the scopes around it, or by a path of modules or classes."""
        first, *members = reference.split(".")
        if first in PACKAGES or hasattr(builtins, first) or reference in ELSEWHERE or reference in self.words:
            return True
        starts = [scope.names[first] for scope in around if first in scope.names] + self.defined.get(first, [])
        for name in members:
            starts = [inner for scope in starts if (inner := self.member(scope, name)) is not None]
        return bool(starts)

    def around(self, path: Path) -> list[Scope]:
        """A module's scope and those of the packages that it lies in."""
        place = path.parent if path.stem == "__init__" else path.with_suffix("")
        return [self.scopes[folder] for folder in (place, *place.parents) if folder in self.scopes]

    def wrong_references(self) -> Iterator[str]:
        for path, tree in self.trees.items():
            source = self.sources[path]
            tokens = tokenize.generate_tokens(io.StringIO(source).readline)
            texts = [(token.string, self.around(path)) for token in tokens if token.type == tokenize.COMMENT]
            texts += self._documented(tree, self.around(path))
            for text, around in texts:
                for reference in REFERENCE.findall(text):
                    if not self.resolves(reference, around):
                        yield f"{path.relative_to(ROOT)}: ``{reference}``"

    def _documented(self, node: ast.AST, around: list[Scope]) -> Iterator[tuple[str, list[Scope]]]:
        """Each text that stands alone as a statement, with the scopes around it, the innermost first."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Expr):
                if isinstance(child.value, ast.Constant) and isinstance(child.value.value, str):
                    yield child.value.value, around
            elif isinstance(child, ast.stmt):
                scope = self.of_node.get(child)
                yield from self._documented(child, [scope, *around] if scope else around)

    def wrong_lists(self) -> Iterator[str]:
        for path, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, (ast.ClassDef, *FUNCTIONS)):
                    for name in self._absent(node):
                        yield f"{path.relative_to(ROOT)}: {node.name} has no {name}"

    def _absent(self, node: ast.ClassDef | Function) -> list[str]:
        """Names that a docstring lists and its class or function does not have."""
        text, functions, names = ast.get_docstring(node) or "", [node], set()
        if isinstance(node, ast.ClassDef):
            functions = [sub for sub in node.body if isinstance(sub, FUNCTIONS) and sub.name in ("__init__", "__new__")]
            names = {sub.target.id for sub in node.body if isinstance(sub, ast.AnnAssign)}  # a dataclass's fields
        names |= {argument.arg for function in functions for argument in parameters(function)}
        absent = [name for name in listed(text, "Args") if name not in names]
        scope = self.of_node[node]
        return absent + [name for name in listed(text, "Attributes") if self.member(scope, name) is None]


def listed(text: str, section: str) -> list[str]:
    """The names that a section of a docstring lists."""
    _, _, rest = f"\n{inspect.cleandoc(text)}\n".partition(f"\n{section}:\n")
    matches = map(LISTED.match, re.split(r"\n(?=\S)", rest)[0].splitlines())
    return [name.strip(" *") for match in matches if match for name in match[1].split(",")]


@pytest.fixture(scope="module")
def project() -> Project:
    paths = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return Project({path: path.read_text(encoding="utf-8") for path in paths})


@pytest.mark.long
def test_what_docstrings_and_comments_name_is_there(project):
    assert list(project.wrong_references()) == []


def test_arguments_and_attributes_that_docstrings_list_are_there(project):
    assert list(project.wrong_lists()) == []


def test_what_is_not_there_is_told():
    source = '''
"""See ``thing.Box.side``, ``Box.lid``, ``box`` and ``torch.nn.Linear``."""

class Box:
    """A box.

    Args:
        side: of it.
        lid: of it.

    Attributes:
        side: of it.
        depth: of it.
    """

    def __init__(self, side):
        """Of ``side`` and ``width``."""
        self.side = side
'''
    project = Project({ROOT / "absent" / "thing.py": source})
    assert list(project.wrong_references()) == [f"absent/thing.py: ``{name}``" for name in ("Box.lid", "box", "width")]
    assert list(project.wrong_lists()) == ["absent/thing.py: Box has no lid", "absent/thing.py: Box has no depth"]
