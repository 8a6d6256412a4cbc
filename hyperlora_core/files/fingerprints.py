"""Telling whether a file changed: by its size and time, or by its content."""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

Stamp = tuple[tuple[str, int, int], ...]


def stamp(files: Iterable[Path]) -> Stamp:
    """Names, sizes and modification times of the files that exist; it differs when one of them was replaced."""
    stats = [(file.name, file.stat()) for file in files if file.exists()]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def file_sha256(path: Path) -> str:
    """A file's sha256 in hex; computed once a process for as long as size and modification time stay the same."""
    stat = path.stat()
    return _file_sha256(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _file_sha256(path: Path, size: int, modified: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
