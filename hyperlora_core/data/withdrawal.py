"""Taking people and pictures out of a set, before it is made or afterwards."""

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
from .duplicates import row_of, sample_id, unit_of
from .jobs import key_of
from .work import Work, read_json

_COLUMNS = ("row", "name", "person", "url", "file_sha256")
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")

log = logging.getLogger(__name__)


def read_drop_list(path: Path) -> frozenset[str]:
    """What is to be dropped, one a line: a sample's key, a person, a picture's sha256, path or URL; # begins a remark.

    Raises:
        HyperLoRAError: the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise HyperLoRAError(f"the drop list {path} cannot be read: {error}") from error
    return frozenset(_plain(line.strip()) for line in lines if line.strip() and not line.lstrip().startswith("#"))


def withdraw(work: Work, dropped: frozenset[str], one: np.ndarray, other: np.ndarray) -> list[int]:
    """Find what a drop list names, and note it; what the account of the set says of it is taken out.

    A picture goes together with all that shows the same, with it or with what goes for showing the same.

    Args:
        work: of the set, all units of which were looked at.
        dropped: of ``read_drop_list``.
        one, other: ids of samples that show the same, all pairs.

    Returns:
        The ids of all samples that were ever withdrawn, sorted.
    """
    noted: dict[str, Any] = read_json(work.withdrawn) if work.withdrawn.exists() else {"ids": [], "taken_out": True}
    before: list[int] = noted["ids"]
    if not dropped and noted["taken_out"]:
        return before
    found: set[int] = set(before)
    places: dict[int, set[int]] = {}
    hits, files = set[str](), set[str]()
    for _ in range(2):  # files that are the same, whether accepted or not, go with the first
        for unit in range(work.units):
            account = rows.read(work.checked(unit, ".parquet"), _COLUMNS)
            for place, values in enumerate(zip(*account.values(), strict=True)):
                row, *names, file = values
                key = key_of(unit, row) if row != rows.NO_ROW else None
                named = dropped.intersection(_plain(name) for name in (*names, file, key) if name)
                if named or file in files:
                    hits |= named
                    files |= {file} - {None}
                    places.setdefault(unit, set()).add(place)
                    if row != rows.NO_ROW:
                        found.add(sample_id(unit, row))
    for name in sorted(dropped - hits):
        said = "it may have been dropped before" if before else "NOTHING is taken out for it"
        log.warning("the drop list names %s, which nothing in the set is called: %s", name, said)
    ids = sorted(found | _showing_the_same(found, one, other))
    atomic.write_text(work.withdrawn, json.dumps({"ids": ids, "taken_out": False}) + "\n")
    _take_out(work, np.array(ids, np.int64), places)
    atomic.write_text(work.withdrawn, json.dumps({"ids": ids, "taken_out": True}) + "\n")
    log.info("%d pictures withdrawn (%d before)", len(ids), len(before))
    return ids


def _plain(name: str) -> str:
    """A name as it is compared: accents and hashes are written in several ways, paths from where one is."""
    name = unicodedata.normalize("NFC", name).removeprefix("./")
    return name.lower() if _SHA256.fullmatch(name) else name


def _showing_the_same(found: set[int], one: np.ndarray, other: np.ndarray) -> set[int]:
    """What is joined to samples by pairs, at any distance."""
    if not len(one):
        return set()
    ids, places = np.unique(np.concatenate([one, other]), return_inverse=True)
    joins = coo_matrix((np.ones(len(one), bool), (places[: len(one)], places[len(one) :])), shape=(len(ids), len(ids)))
    _, group = connected_components(joins, directed=False)
    return set(ids[np.isin(group, group[np.isin(ids, list(found))])].tolist())


def _take_out(work: Work, ids: np.ndarray, places: dict[int, set[int]]) -> None:
    """Take samples, and other pictures by their places, out of the accounts."""
    units = unit_of(ids)
    for unit in sorted({*units.tolist(), *places}):
        of_unit = set(row_of(ids[units == unit]).tolist())
        numbers = rows.read(work.checked(unit, ".parquet"), ["row"])["row"]
        all_places = {place for place, row in enumerate(numbers) if row in of_unit} | places.get(unit, set())
        listed = work.read_unit(unit)
        if listed.files:  # each a picture of the account, in order; they were read
            files = tuple("" if place in all_places else file for place, file in enumerate(listed.files))
            atomic.write_text(work.unit(unit), replace(listed, files=files).to_json() + "\n")
        rows.scrub(work.checked(unit, ".parquet"), all_places)  # last: the places are found by it
