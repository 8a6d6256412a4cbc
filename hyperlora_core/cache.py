"""An LRU cache of results, keyed by what they depend on: photos, settings, models."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

T = TypeVar("T")

_ENTRY = 1024  # bytes that an entry takes besides its arrays


class Cache:
    """An LRU cache with a limit in bytes: results that were used longest ago are dropped first.

    Args:
        limit: bytes; 0 caches nothing.
    """

    def __init__(self, limit: int = 0) -> None:
        self._limit = limit
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._nbytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The cached result of a key, or else what ``make`` returns: the same object each time, so never change it.

        Args:
            key: all that the result depends on.
            make: computes the result; where it raises, nothing is cached.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
        value = make()
        with self._lock:
            if key in self._kept:
                return self._kept[key][0]  # another thread was faster
            size = size_of(value) + _ENTRY
            if size <= self._limit:
                self._kept[key] = value, size
                self._nbytes += size
                self._drop()
        return value

    def get_all(self, keys: Sequence[Hashable], make: Callable[[list[int]], Sequence[T]]) -> list[T]:
        """The results of several keys; ``make`` computes all that are not cached, in one call.

        Args:
            keys: see ``get``; the same one may come several times.
            make: computes the results of the keys at these indices.
        """
        with self._lock:
            values = {key: self._kept[key][0] for key in keys if key in self._kept}
            for key in values:
                self._kept.move_to_end(key)
        missing = {key: place for place, key in enumerate(keys) if key not in values}
        if missing:
            for key, value in zip(missing, make(list(missing.values())), strict=True):
                values[key] = self.get(key, lambda value=value: value)  # type: ignore[misc]
        return [values[key] for key in keys]

    @property
    def limit(self) -> int:
        """Bytes that the cache may hold."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        with self._lock:
            self._limit = limit
            self._drop()

    @property
    def nbytes(self) -> int:
        """Bytes that the cache holds."""
        return self._nbytes

    def __len__(self) -> int:
        return len(self._kept)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, it is an empty cache with the same limit: processes share no results."""
        return Cache, (self._limit,)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def clear(self) -> None:
        """Drop all results."""
        with self._lock:
            self._kept.clear()
            self._nbytes = 0

    def _drop(self) -> None:
        while self._nbytes > self._limit:
            _, (_, size) = self._kept.popitem(last=False)
            self._nbytes -= size


NOTHING_KEPT = Cache(0)
"""A cache that holds nothing."""


def size_of(value: Any) -> int:
    """Bytes of all the arrays, tensors and pictures in a value."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return value.nbytes
    if isinstance(value, Image.Image):
        return value.width * value.height * len(value.getbands())
    if isinstance(value, Mapping):
        return sum(map(size_of, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(size_of, value))
    if is_dataclass(value):
        return sum(size_of(getattr(value, field.name)) for field in fields(value))
    return 0


def digest(*values: np.ndarray | torch.Tensor | Image.Image | None) -> str:
    """sha256 over values: their types, shapes and numbers."""
    sha = hashlib.sha256()
    for value in values:
        for part in _bytes_of(value):
            sha.update(part)
    return sha.hexdigest()


def _bytes_of(value: np.ndarray | torch.Tensor | Image.Image | None) -> Iterable[bytes | memoryview]:
    if value is None:
        return (b"none;",)
    if isinstance(value, Image.Image):
        return f"picture {value.mode} {value.size};".encode(), value.tobytes()
    array = np.ascontiguousarray(value)
    return f"numbers {array.dtype} {array.shape};".encode(), array.tobytes()
