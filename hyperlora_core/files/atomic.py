"""Files that appear whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import HyperLoRAError

PARTS = "*.part"
"""How files are named while they are being written."""


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path to write a file to; it is renamed to ``path`` when the block ends without an error.

    Two processes may write the same file at the same time: each has a temporary file of its own.

    Raises:
        HyperLoRAError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield part
        with part.open("r+b") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise HyperLoRAError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all.

    Raises:
        HyperLoRAError: it cannot be written.
    """
    with writing(path) as part:
        part.write_text(text, encoding="utf-8")
