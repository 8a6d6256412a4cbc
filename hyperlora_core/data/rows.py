"""The account of a unit as a Parquet file: the result for every picture, with the hashes that duplicates are found by.

pyarrow is imported in this module only.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import atomic
from .checks import ACCEPTED, Checked

if TYPE_CHECKING:
    import pyarrow

MEASURES = ("face", "share", "score", "yaw", "pitch", "roll", "sharpness")
NO_ROW = -1
"""The row of a picture that is no sample."""

_THUMBS = {ACCEPTED: 12}  # of each unit
_REJECTED_THUMBS = 3
_LONGEST = 500  # letters of what went wrong
PERSONAL = ("name", "person", "url", "licence", "file_sha256", "thumb", "detail")
"""Columns that say whom or what a picture shows."""


def _schema() -> "pyarrow.Schema":
    import pyarrow as pa

    return pa.schema(
        [
            ("name", pa.string()),
            ("reason", pa.dictionary(pa.int16(), pa.string())),
            ("row", pa.int32()),
            ("person", pa.string()),
            ("url", pa.string()),
            ("licence", pa.string()),
            ("file_sha256", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            *((name, pa.float32()) for name in MEASURES),
            ("captioned", pa.bool_()),
            ("phash", pa.uint64()),
            ("pixels_high", pa.uint64()),
            ("pixels_low", pa.uint64()),
            ("thumb", pa.binary()),
            ("detail", pa.string()),
        ]
    )


class RowWriter:
    """Collects the account of one unit, with thumbnails of the first few pictures of each reason."""

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._thumbs: dict[str, int] = {}
        self._samples = 0

    def add(self, checked: Checked) -> int:
        """Add the result for a picture; returns the row of its sample, or ``NO_ROW`` where it is rejected."""
        accepted = checked.sample is not None
        row = self._samples if accepted else NO_ROW
        self._samples += accepted
        thumbs = self._thumbs.get(checked.reason, 0)
        has_thumb = bool(checked.thumb) and thumbs < _THUMBS.get(checked.reason, _REJECTED_THUMBS)
        self._thumbs[checked.reason] = thumbs + has_thumb
        self._rows.append(
            {
                "name": checked.item.name,
                "reason": checked.reason,
                "row": row,
                "person": checked.item.person,
                "url": checked.item.source.get("url"),
                "licence": checked.item.source.get("licence"),
                "file_sha256": checked.file_sha256 or None,
                "width": checked.width,
                "height": checked.height,
                **{name: checked.measured.get(name) for name in MEASURES},
                "captioned": bool(checked.item.caption),
                "phash": checked.phash if accepted else None,
                "pixels_high": int.from_bytes(checked.pixels[:8], "big") if accepted else None,
                "pixels_low": int.from_bytes(checked.pixels[8:], "big") if accepted else None,
                "thumb": checked.thumb if has_thumb else None,
                "detail": checked.detail[:_LONGEST] or None,
            }
        )
        return row

    @property
    def count(self) -> int:
        """How many pictures were added."""
        return len(self._rows)

    def write(self, path: Path) -> None:
        """Write the file, whole."""
        import pyarrow as pa

        _write(pa.Table.from_pylist(self._rows, schema=_schema()), path)


def _write(table: "pyarrow.Table", path: Path) -> None:
    import pyarrow.parquet as pq

    with atomic.writing(path) as part:
        pq.write_table(table, part, compression="zstd")


def read(path: Path, columns: Sequence[str]) -> dict[str, Any]:
    """Read columns of an account, each as a list."""
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=list(columns))
    return {name: table[name].to_pylist() for name in columns}


def hashes(path: Path) -> dict[str, np.ndarray]:
    """The hashes of a unit's samples by their rows: ``phash``, ``pixels_high`` and ``pixels_low``, uint64."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    names = ["phash", "pixels_high", "pixels_low"]
    table = pq.read_table(path, columns=["row", *names])
    table = table.filter(pc.greater_equal(table["row"], 0))
    return {name: table[name].to_numpy().astype(np.uint64) for name in names}


def scrub(path: Path, places: Collection[int]) -> None:
    """Clear everything in an account that says whom or what some pictures show.

    Args:
        path: of the account, which is replaced.
        places: of the pictures in it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pq.read_table(path).to_pylist()
    for place in places:
        row = rows[place]
        row |= dict.fromkeys((*PERSONAL, *MEASURES)) | {"width": 0, "height": 0}
        if row["row"] != NO_ROW:
            row |= {"phash": 0, "pixels_high": 0, "pixels_low": 0}
    _write(pa.Table.from_pylist(rows, schema=_schema()), path)
