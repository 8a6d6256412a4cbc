"""Takes people and pictures out of a set, before it is made or afterwards."""

import json
import logging
import re
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..errors import HyperLoRAError
from ..files import atomic
from . import rows
from .sample_ids import key_of, row_of, sample_id, unit_of
from .work import Work, read_json

_COLUMNS = ("row", "name", "person", "url", "file_sha256")
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")

log = logging.getLogger(__name__)


def read_drop_list(path: Path) -> frozenset[str]:
    """Read what must not be used, one name a line; lines that begin with # are comments.

    A name is a sample's key, a person, or a picture's sha256, path or URL.

    Raises:
        HyperLoRAError: the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise HyperLoRAError(f"the drop list {path} cannot be read: {error}") from error
    return frozenset(_plain(line.strip()) for line in lines if line.strip() and not line.lstrip().startswith("#"))


def withdraw(work: Work, dropped: frozenset[str], left: np.ndarray, right: np.ndarray) -> list[int]:
    """Find the samples that a drop list names, note them, and remove what the accounts say of them.

    All samples that show the same as a withdrawn one are withdrawn with it, through any number of pairs.

    Args:
        work: of the set, all units of which were looked at.
        dropped: of ``read_drop_list``.
        left, right: ids of all pairs of samples that show the same.

    Returns:
        The sorted ids of all samples that were ever withdrawn.
    """
    note: dict[str, Any] = read_json(work.withdrawn) if work.withdrawn.exists() else {"ids": [], "taken_out": True}
    before: list[int] = note["ids"]
    if not dropped and note["taken_out"]:
        return before
    withdrawn: set[int] = set(before)
    places: dict[int, set[int]] = {}
    hits, files = set[str](), set[str]()
    for _ in range(2):  # a second time, for files that are the same as one that was met later
        for unit in range(work.units):
            account = rows.read(work.checked(unit, ".parquet"), _COLUMNS)
            for place, values in enumerate(zip(*account.values(), strict=True)):
                row, *names, file = values
                key = key_of(unit, row) if row != rows.NO_ROW else None
                matches = dropped.intersection(_plain(name) for name in (*names, file, key) if name)
                if matches or file in files:
                    hits |= matches
                    files |= {file} - {None}
                    places.setdefault(unit, set()).add(place)
                    if row != rows.NO_ROW:
                        withdrawn.add(sample_id(unit, row))
    for name in sorted(dropped - hits):
        effect = "it may have been dropped before" if before else "NOTHING is taken out for it"
        log.warning("the drop list names %s, which nothing in the set is called: %s", name, effect)
    ids = sorted(withdrawn | _connected(withdrawn, left, right))
    atomic.write_text(work.withdrawn, json.dumps({"ids": ids, "taken_out": False}) + "\n")
    _take_out(work, np.array(ids, np.int64), places)
    atomic.write_text(work.withdrawn, json.dumps({"ids": ids, "taken_out": True}) + "\n")
    log.info("%d pictures withdrawn (%d before)", len(ids), len(before))
    return ids


def _plain(name: str) -> str:
    """A name in one spelling, for comparing: accents, the case of hashes and a leading ``./`` vary."""
    name = unicodedata.normalize("NFC", name).removeprefix("./")
    return name.lower() if _SHA256.fullmatch(name) else name


def _connected(withdrawn: set[int], left: np.ndarray, right: np.ndarray) -> set[int]:
    """All samples that pairs connect with the withdrawn ones, directly or through others."""
    if not len(left):
        return set()
    ids, places = np.unique(np.concatenate([left, right]), return_inverse=True)
    edges = (places[: len(left)], places[len(left) :])
    graph = coo_matrix((np.ones(len(left), bool), edges), shape=(len(ids), len(ids)))
    _, group = connected_components(graph, directed=False)
    return set(ids[np.isin(group, group[np.isin(ids, list(withdrawn))])].tolist())


def _take_out(work: Work, ids: np.ndarray, places: dict[int, set[int]]) -> None:
    """Remove samples by their ids, and rejected pictures by their places in the units, from the accounts."""
    units = unit_of(ids)
    for unit in sorted({*units.tolist(), *places}):
        of_unit = set(row_of(ids[units == unit]).tolist())
        numbers = rows.read(work.checked(unit, ".parquet"), ["row"])["row"]
        all_places = {place for place, row in enumerate(numbers) if row in of_unit} | places.get(unit, set())
        content = work.read_unit(unit)
        if content.files:  # one for each picture of the account, in order; all were read
            files = tuple("" if place in all_places else file for place, file in enumerate(content.files))
            atomic.write_text(work.unit(unit), replace(content, files=files).to_json() + "\n")
        rows.scrub(work.checked(unit, ".parquet"), all_places)  # last, for the places come from it
