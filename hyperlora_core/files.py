"""Reading safetensors files, and saying what a file is when it is something else.

Format: 8 bytes, little endian, the length of the header; the header, JSON: name -> dtype, shape, byte range, and
"__metadata__" -> strings; then the tensors' bytes, without gaps. https://huggingface.co/docs/safetensors
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from .errors import HyperLoRAError

_METADATA = "__metadata__"
_HEADER_LIMIT = 100_000_000  # bytes; the limit of safetensors itself
_DOWNLOAD_AGAIN = "download it again"


def read_header(path: str | Path) -> dict[str, Any]:
    """Read a safetensors file's header, and check that the file is as long as the header says.

    Returns:
        Tensor name -> {"dtype", "shape", "data_offsets"}, and, where the file has it, "__metadata__" -> its strings.

    Raises:
        HyperLoRAError: there is no such file, or it is something other than a whole safetensors file; the message
            names what it is (a Git LFS pointer, a web page, a pickle, cut short, ...).
    """
    path = Path(path)
    if path.is_dir():
        raise HyperLoRAError(f"{path} is a folder: a .safetensors file is needed")
    if not path.exists():
        raise HyperLoRAError(f"there is no file {path}")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(512)
            length = int.from_bytes(start[:8], "little")
            if start[8:9] != b"{" or length > _HEADER_LIMIT:
                raise HyperLoRAError(_what_it_is(path, start))
            if size < 8 + length:
                raise HyperLoRAError(f"{path} is cut short within its header: {_DOWNLOAD_AGAIN}")
            file.seek(8)
            text = file.read(length)
    except OSError as error:
        raise HyperLoRAError(f"{path} cannot be read: {error.strerror or error}") from error

    try:
        header = json.loads(text)
        tensors = [entry for name, entry in header.items() if name != _METADATA]
        shaped = all(isinstance(entry["dtype"], str) and isinstance(entry["shape"], list) for entry in tensors)
        expected = 8 + length + max((int(entry["data_offsets"][1]) for entry in tensors), default=0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise HyperLoRAError(f"{path} has a broken safetensors header: {_DOWNLOAD_AGAIN}") from error
    if not shaped:
        raise HyperLoRAError(f"{path} has a broken safetensors header: {_DOWNLOAD_AGAIN}")
    if size < expected:
        raise HyperLoRAError(f"{path} is cut short, {size:,} of {expected:,} bytes: {_DOWNLOAD_AGAIN}")
    if size > expected:
        raise HyperLoRAError(f"{path} is {size - expected:,} bytes longer than its header says: {_DOWNLOAD_AGAIN}")
    return header


def tensor_shapes(path: str | Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The tensors of a safetensors file, from its header alone: name -> (dtype as "F16", shape).

    Raises:
        HyperLoRAError: as ``read_header``.
    """
    return {
        name: (entry["dtype"], tuple(entry["shape"])) for name, entry in read_header(path).items() if name != _METADATA
    }


def metadata(path: str | Path) -> dict[str, str]:
    """The metadata strings of a safetensors file; empty where it has none.

    Raises:
        HyperLoRAError: as ``read_header``.
    """
    return read_header(path).get(_METADATA) or {}


@contextmanager
def open_safetensors(path: str | Path) -> Iterator[safe_open]:
    """Open a safetensors file to read single tensors, which are mapped from it, on the CPU, and outlive the handle.

    Raises:
        HyperLoRAError: as ``read_header``, or a tensor that is read is not there or not readable.
    """
    read_header(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as handle:
            yield handle
    except SafetensorError as error:
        raise HyperLoRAError(f"{path} cannot be read as safetensors ({error}): {_DOWNLOAD_AGAIN}") from error


def load(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, mapped from it, in its types.

    Raises:
        HyperLoRAError: as ``open_safetensors``.
    """
    with open_safetensors(path) as handle:
        return {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a mapping


def _what_it_is(path: Path, start: bytes) -> str:
    text = start.lstrip().lower()
    if not start:
        return f"{path} is empty: {_DOWNLOAD_AGAIN}"
    if start.startswith(b"version https://git-lfs"):
        return f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull`, or {_DOWNLOAD_AGAIN}"
    if text.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return f"{path} is a web page, not a model: {_DOWNLOAD_AGAIN}, from the link that gives the file itself"
    if start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return (
            f"{path} is a zip or pickle file (.bin, .pt, .pth), which could run code when opened: "
            "get the .safetensors file of the same model"
        )
    if not any(start):
        return f"{path} begins with zeros, as a download does that did not finish: {_DOWNLOAD_AGAIN}"
    return f"{path} is not a safetensors file (it begins with {start[:16]!r}): {_DOWNLOAD_AGAIN}"
