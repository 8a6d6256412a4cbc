"""What a trained or measured thing was made by, as a short hash, which is part of its name."""

import ast
import hashlib
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent


def recipe_hash(files: tuple[str, ...], *values: object) -> str:
    """Hash of source files of this folder, but for their comments, docstrings and layout, and of values' ``repr``."""
    parts = [_code((_HERE / name).read_text(encoding="utf-8")) for name in files]
    parts += [repr(value) for value in values]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:10]


@cache
def _code(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                each for each in body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
            ]
    return ast.dump(tree)
