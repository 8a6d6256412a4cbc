"""Opening and writing safetensors files.

Format: 8 bytes, little endian, the length of the header; the header, JSON: name -> dtype, shape, byte range, and
"__metadata__" -> strings; then the tensors' bytes, without gaps. https://huggingface.co/docs/safetensors
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from safetensors import SafetensorError, safe_open

from ..errors import HyperLoRAError
from . import atomic
from .foreign import DOWNLOAD_AGAIN, NotSafetensorsError

if TYPE_CHECKING:
    from torch import Tensor

METADATA = "__metadata__"
MODEL_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
"""Suffixes of files of weights."""

ITEM_SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2}
ITEM_SIZES |= {"I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8}
"""The format's dtype -> bytes of one element. There are rarer dtypes, whose sizes safetensors itself checks."""

_HEADER_LIMIT = 100_000_000  # bytes; the limit of safetensors itself


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor's bytes are.

    Attributes:
        path: the file.
        dtype: by the format's name: "F16", "BF16", "F32", ...
        shape: of the tensor.
        start: offset in the file, in bytes.
        length: in bytes.
    """

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    length: int


def _stored(path: Path, entry: Mapping[str, Any], data: int) -> StoredTensor:
    """Parse a tensor's entry in a header.

    Args:
        path: the file.
        entry: the header's JSON of the tensor.
        data: offset of the first tensor's bytes in the file.

    Raises:
        ValueError, KeyError, TypeError: the entry is broken.
    """
    begin, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if not isinstance(entry["shape"], list) or any(type(number) is not int or number < 0 for number in (*shape, begin)):
        raise ValueError(shape)
    item = ITEM_SIZES.get(entry["dtype"])
    if type(end) is not int or end < begin or (item is not None and end - begin != math.prod(shape) * item):
        raise ValueError(end)
    return StoredTensor(path, entry["dtype"], shape, data + begin, end - begin)


@dataclass(frozen=True, eq=False)
class SafetensorsFile:
    """An open safetensors file: its header was read and checked, its tensors are memory-mapped when asked for.

    Attributes:
        path: the file.
        tensors: name -> where the tensor's bytes are, in the header's order.
        metadata: the header's strings; empty where it has none.
    """

    path: Path
    tensors: Mapping[str, StoredTensor]
    metadata: Mapping[str, str]

    def __str__(self) -> str:
        return str(self.path)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of each tensor."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    def tensor(self, name: str) -> "Tensor":
        """A tensor, memory-mapped from the file, on the CPU, in the file's dtype.

        Raises:
            HyperLoRAError: the file has no such tensor, or cannot be read.
        """
        try:
            return self._handle.get_tensor(name)
        except SafetensorError as error:
            raise HyperLoRAError(f"{self.path} cannot be read as safetensors ({error}): {DOWNLOAD_AGAIN}") from error

    def load(self) -> "dict[str, Tensor]":
        """All tensors by their names, as ``tensor`` gives them."""
        return {name: self.tensor(name) for name in self.tensors}

    @cached_property
    def _handle(self) -> safe_open:
        return safe_open(self.path, framework="pt", device="cpu")


PathOrFile = str | Path | SafetensorsFile
"""A file's path, or the file where it is open already."""


def open_safetensors(path: PathOrFile) -> SafetensorsFile:
    """Read a safetensors file's header, and check that the file is as long as the header says.

    Args:
        path: the file; one that is open already is returned as it is.

    Raises:
        NotSafetensorsError: it is something other than a safetensors file.
        HyperLoRAError: there is no such file, or it is not whole; the message names what it is (a Git LFS pointer, a
            web page, a pickle, cut short, ...).
    """
    if isinstance(path, SafetensorsFile):
        return path
    path = Path(path)
    try:
        if path.is_dir():
            raise HyperLoRAError(f"{path} is a folder: a .safetensors file is needed")
        if not path.exists():
            raise HyperLoRAError(f"there is no file {path}")
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(512)
            length = int.from_bytes(start[:8], "little")
            if start[8:9] != b"{" or length > _HEADER_LIMIT:
                raise NotSafetensorsError(path, start)
            if size < 8 + length:
                raise HyperLoRAError(f"{path} is cut short within its header: {DOWNLOAD_AGAIN}")
            text = (start + file.read(max(0, 8 + length - len(start))))[8 : 8 + length]
    except OSError as error:
        raise HyperLoRAError(f"{path} cannot be read: {error.strerror or error}") from error

    try:
        entries = json.loads(text)
        metadata = entries.pop(METADATA, None) or {}
        tensors = {name: _stored(path, entry, 8 + length) for name, entry in entries.items()}
        described = all(isinstance(value, str) for value in metadata.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HyperLoRAError(f"{path} has a broken safetensors header: {DOWNLOAD_AGAIN}") from error
    if not described:
        raise HyperLoRAError(f"{path} has a broken safetensors header: {DOWNLOAD_AGAIN}")
    end = 8 + length
    expected = max((tensor.start + tensor.length for tensor in tensors.values()), default=end)
    if size < expected:
        raise HyperLoRAError(f"{path} is cut short, {size:,} of {expected:,} bytes: {DOWNLOAD_AGAIN}")
    if size > expected:
        raise HyperLoRAError(f"{path} is {size - expected:,} bytes longer than its header says: {DOWNLOAD_AGAIN}")
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.length)):
        if tensor.start != end:
            raise HyperLoRAError(f"{path} has a broken safetensors header, its tensors overlap: {DOWNLOAD_AGAIN}")
        end += tensor.length
    return SafetensorsFile(path, tensors, metadata)


def write(path: Path, tensors: Mapping[str, StoredTensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file out of other files' tensors, byte for byte. It appears whole or not at all.

    Args:
        path: the file to write; an existing one is replaced.
        tensors: by name, in the order to write them; those of wider dtypes have to come first.
        metadata: for the header.
    """
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    end = 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [end, end + tensor.length]}
        end += tensor.length
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with atomic.writing(path) as part, part.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for block in read_bytes(tensors.values()):
            file.write(block)


def save(path: str | Path, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str]) -> Path:
    """Write tensors to a safetensors file, which appears whole or not at all.

    Args:
        path: the file to write; folders are created, and an existing file is replaced.
        tensors: by name, on any device.
        metadata: for the header.

    Returns:
        ``path``.

    Raises:
        HyperLoRAError: it cannot be written.
    """
    import safetensors.torch  # and with it torch, which takes seconds: headers are read without it

    path = Path(path)
    # clones, as safetensors refuses a tensor that has two names
    on_cpu = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic.writing(path) as part:
        path.parent.mkdir(parents=True, exist_ok=True)
        # not save_file, whose files other users of the machine cannot read
        part.write_bytes(safetensors.torch.save(on_cpu, metadata=dict(metadata)))
    return path


def read_bytes(tensors: Iterable[StoredTensor], block: int = 16 << 20) -> Iterator[bytes]:
    """The bytes of tensors, one after the other, in blocks.

    Raises:
        HyperLoRAError: a file has become shorter than its header says.
    """
    open_path, file = None, None
    try:
        for tensor in tensors:
            if file is None or open_path != tensor.path:
                if file is not None:
                    file.close()
                open_path, file = tensor.path, tensor.path.open("rb")
            yield from _read_tensor(file, tensor, block)
    finally:
        if file is not None:
            file.close()


def _read_tensor(file: BinaryIO, tensor: StoredTensor, block: int) -> Iterator[bytes]:
    file.seek(tensor.start)
    remaining = tensor.length
    while remaining:
        data = file.read(min(block, remaining))
        if not data:
            raise HyperLoRAError(f"{tensor.path} is cut short: {DOWNLOAD_AGAIN}")
        remaining -= len(data)
        yield data
