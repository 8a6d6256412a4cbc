"""Other packs in ComfyUI's custom_nodes that may come between: told by their sources, which are read and never run."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

_SIGNS = {
    "answers to HyperLoRA's node ids": re.compile(r"""["']HyperLoRA[A-Z]\w+["']\s*:"""),
    "patches the UNet's attention": re.compile(
        r"set_model_attn[12]_\w+|set_model_patch_replace|attn[12]_(patch|replace)|optimized_attention\s*=(?!=)"
        r"|(CrossAttention|BasicTransformerBlock)\.\w+\s*=(?!=)"
    ),
    "changes how ComfyUI samples": re.compile(
        r"comfy\.(samplers|sample|model_base|model_patcher|ops|lora)\.[\w.]+\s*=(?!=)|set_model_unet_function_wrapper"
    ),
}
"""What a pack does -> how its sources show it."""
_LARGEST = 1 << 20  # bytes of a source that is read
_SKIPPED = ("__pycache__", "node_modules", "site-packages", "test", "tests", "venv")

Packs = dict[str, list[str]]
"""A pack's folder -> what it does, in words."""


def other_packs(custom_nodes: Path, ours: Path) -> tuple[int, Packs]:
    """How many packs there are beside ours, and those of them that may come between.

    Args:
        custom_nodes: ComfyUI's folder of packs.
        ours: this pack's folder, that is left out.
    """
    packs = [path for path in _entries(custom_nodes) if path.resolve() != ours.resolve()]
    signs_of = {path.name: _signs(path) for path in packs}
    return len(packs), {name: signs for name, signs in signs_of.items() if signs}


def _entries(folder: Path) -> list[Path]:
    """What ComfyUI loads of a folder of packs."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    hidden = (".", "__")
    return [
        path
        for path in paths
        if not path.name.startswith(hidden) and (path.suffix == ".py" or (path.is_dir() and path.suffix != ".disabled"))
    ]


def _signs(pack: Path) -> list[str]:
    missing = dict(_SIGNS)
    for source in _sources(pack):
        for sign in [sign for sign, pattern in missing.items() if pattern.search(source)]:
            del missing[sign]
        if not missing:
            break
    return [sign for sign in _SIGNS if sign not in missing]


def _sources(pack: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(pack) if pack.is_dir() else [(str(pack.parent), [], [pack.name])]:
        folders[:] = [name for name in folders if name not in _SKIPPED and not name.startswith(".")]
        for path in (Path(folder, name) for name in files if name.endswith(".py")):
            try:
                if path.stat().st_size <= _LARGEST:
                    yield path.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # a link to nowhere, or a file of another user
