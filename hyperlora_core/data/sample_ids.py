"""Names of samples: by the unit of work, and the row, which is the number of the sample in its unit.

An id is both in one int64, and sorts in the order of the sources; a key is the same as text, and names the sample's
files in the shard.
"""

import numpy as np


def sample_id(unit: int, row: int) -> int:
    """The id of one sample."""
    return unit << 32 | row


def unit_of(ids: np.ndarray) -> np.ndarray:
    """The units of samples by their ids."""
    return ids >> 32


def row_of(ids: np.ndarray) -> np.ndarray:
    """The rows of samples by their ids."""
    return ids & 0xFFFFFFFF


def rows_in(ids: np.ndarray, unit: int) -> np.ndarray:
    """The rows of those samples that are in one unit; the ids have to be sorted."""
    start, end = np.searchsorted(ids, [sample_id(unit, 0), sample_id(unit + 1, 0)])
    return row_of(ids[start:end])


def key_of(unit: int, row: int) -> str:
    """A sample's key, as ``000012-000345``."""
    return f"{unit:06d}-{row:06d}"


def row_of_key(key: str) -> int:
    """The row in a key of ``key_of``."""
    return int(key.rpartition("-")[2])
