"""Pictures to a training set, in steps that each go on where a kill left them.

Units of work are listed; each is looked at; duplicates are found over all of them; each unit's shard is written; the
report, then ``dataset.json``. Each step's files appear whole, and say by being there that they are done.
"""

import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..devices import check_device
from ..errors import HyperLoRAError
from ..faces import models as face_models
from ..files import atomic
from . import captioners, report, report_page, rows
from .checks import Limits
from .duplicates import (
    SIMILARITIES,
    FindPairs,
    Near,
    Pairs,
    joined,
    masks,
    rows_in,
    settle,
    tasks,
    with_roots,
)
from .engine import Cluster, Engine
from .jobs import CheckUnit, FinishUnit
from .shards import INFO, DatasetInfo
from .sources import check_sources, units_of
from .withdrawal import read_drop_list, withdraw
from .work import Work, read_json

_SECONDS = 10  # between two lines on how far it is
_UNITS_COMPARED = 50
_SAMPLES_COMPARED = 2000  # of all of them

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preparation:
    """What is made of what.

    Attributes:
        sources: folders of pictures, and WebDataset shards.
        out: the set's folder.
        faces: the face models' folder.
        face_engine: what runs them.
        limits: what is accepted.
        near: what counts as a duplicate.
        person_folders: the first folder below a source names a person.
        licence: of pictures that come without one.
        need_licence: reject pictures that come without one.
        captioner: its name; empty for none.
        caption_device: where it computes.
        caption_batch: pictures that it is shown at a time.
        recaption: replace captions that came with the pictures.
        unit_size: pictures of a folder that one shard is made of.
        drop_list: a file of what is not to be used.
    """

    sources: Sequence[Path]
    out: Path
    faces: Path
    face_engine: str = "auto"
    limits: Limits = field(default_factory=Limits)
    near: Near = field(default_factory=Near)
    person_folders: bool = False
    licence: str = ""
    need_licence: bool = False
    captioner: str = ""
    caption_device: str = "cpu"
    caption_batch: int = 8
    recaption: bool = False
    unit_size: int = 1000
    drop_list: Path | None = None

    def settings(self, face_sha256: Sequence[str]) -> dict[str, Any]:
        """What the set depends on."""
        return {
            "sources": [str(source.resolve()) for source in self.sources],
            "faces": list(face_sha256),
            "limits": asdict(self.limits),
            "duplicates": asdict(self.near),
            "person_folders": self.person_folders,
            "licence": self.licence,
            "need_licence": self.need_licence,
            "captioner": self.captioner,
            "recaption": self.recaption,
            "unit_size": self.unit_size,
        }


def prepare(wanted: Preparation, cluster: Cluster) -> DatasetInfo:
    """Make a training set, or go on with it, or take what a drop list names out of it.

    Args:
        wanted: what is made of what.
        cluster: what works on it.

    Returns:
        What the set was made with; its settings hold ``counts`` by reason.

    Raises:
        HyperLoRAError: something given cannot be used, or nothing is accepted.
        MissingPackageError: a package is missing.
    """
    if wanted.unit_size < 1 or wanted.caption_batch < 1:
        raise HyperLoRAError("--unit-size and --caption-batch are numbers from 1")
    check_sources(wanted.sources, wanted.out)
    if wanted.caption_device != "cpu" and not wanted.captioner:
        raise HyperLoRAError("--caption-device is where a captioner computes: name it with --captioner")
    if wanted.caption_device.startswith("cuda") and not cluster.gpus:
        raise HyperLoRAError(
            "--caption-device cuda needs --gpus, by which workers do not meet on one: how many there are"
        )
    if wanted.recaption and not wanted.captioner:
        raise HyperLoRAError("--recaption has captions written anew: name what writes them with --captioner")
    dropped = read_drop_list(wanted.drop_list) if wanted.drop_list else frozenset()
    if wanted.captioner:
        captioners.check(wanted.captioner)
        if cluster.address is None:
            check_device(wanted.caption_device, "--caption-device")
    models = face_models.load(wanted.faces, wanted.face_engine)
    work = Work(wanted.out)
    with work.opened(wanted.settings(models.content)):
        _plan(work, wanted)
        run = uuid.uuid4().hex
        with Engine(cluster) as engine:
            _check(work, wanted, engine, run, models.content)
            found = _duplicates(work, wanted, engine)
            if dropped:
                (work.out / INFO).unlink(missing_ok=True)  # until all of it is out, nobody is to train on the set
            withdrawn = withdraw(work, dropped, found["one"], found["other_one"])
            _finish(work, wanted, engine, run, found["later"], np.array(withdrawn, np.int64))
        gathered = report.gather(work, found, withdrawn)
        settings = wanted.settings(models.content) | {"counts": gathered.counts, "licences": gathered.licences}
        info = DatasetInfo(models.encoder, wanted.captioner, settings)
        report_page.write(wanted.out / report_page.FILE, gathered, info)
        if not gathered.kept:
            raise HyperLoRAError(
                f"none of {gathered.pictures} pictures is accepted; {wanted.out / report_page.FILE} shows why. Loosen "
                "the limits, in another folder"
            )
        info.write(wanted.out)
    log.info("%d of %d pictures in %s; see %s", gathered.kept, gathered.pictures, wanted.out, report_page.FILE)
    return info


def _plan(work: Work, wanted: Preparation) -> None:
    if work.plan.exists():
        return
    number = -1
    for number, unit in enumerate(units_of(wanted.sources, wanted.unit_size)):
        atomic.write_text(work.unit(number), unit.to_json() + "\n")
    atomic.write_text(work.plan, f'{{"units": {number + 1}}}\n')


def _check(work: Work, wanted: Preparation, engine: Engine, run: str, content: Sequence[str]) -> None:
    cluster = engine.cluster
    left = [{"unit": unit} for unit in sorted({*range(work.units)} - work.checked_units())]
    log.info("%d units of pictures, %d to be looked at", work.units, len(left))
    arguments = {
        "out": str(work.out.resolve()),
        "faces": str(wanted.faces.resolve()),
        "content": content,
        "engine": wanted.face_engine,
        "device": "cuda" if cluster.gpus else "cpu",  # one that nobody shared out would be every worker's
        "limits": wanted.limits,
        "need_licence": wanted.need_licence,
        "person_folders": wanted.person_folders,
        "licence": wanted.licence,
        "run": run,
    }
    processes = max(1, min(engine.cluster.processes, len(left)))
    progress = _Progress("looked at", len(left))
    for done in engine.each(CheckUnit, arguments, left, processes, cluster.share(processes)):
        progress.add(done["pictures"], done["accepted"])


def _duplicates(work: Work, wanted: Preparation, engine: Engine) -> Pairs:
    """Each sample that goes, with the one that stays; ``similarities``, ``same`` and ``other``, see ``report``; and
    ``one`` and ``other_one``, all pairs that show the same.
    """
    if not work.duplicates.exists():
        samples = sum(len(rows.hashes(work.checked(unit, ".parquet"))["phash"]) for unit in range(work.units))
        arguments: dict[str, Any] = {"out": str(work.out.resolve()), "near": wanted.near}
        all_equal, counted = _pairs(arguments, tasks(samples, 1), engine)
        equal = settle(all_equal)
        settled = work.folder / "settled.npy"
        with atomic.writing(settled) as part, part.open("wb") as file:
            np.save(file, equal["later"])
        arguments["settled"] = str(settled.resolve())
        all_near, counted_near = _pairs(arguments, tasks(samples, len(masks(wanted.near.bits))), engine)
        found = with_roots(equal, settle(all_near))
        every = joined([all_equal, all_near])
        same, other = _likeness(work, found["later"])
        with atomic.writing(work.duplicates) as part, part.open("wb") as file:
            counts = {"similarities": counted + counted_near, "same": same, "other": other}
            np.savez(file, **(found | counts | {"one": every["later"], "other_one": every["earlier"]}))
        settled.unlink()
    with np.load(work.duplicates) as stored:
        return dict(stored)


def _pairs(arguments: dict[str, Any], wanted: list[dict[str, int]], engine: Engine) -> tuple[Pairs, np.ndarray]:
    counted, found = np.zeros(len(SIMILARITIES) - 1, np.int64), []
    # a set that is one task has it done here: to begin a worker takes longer
    results = engine.each(FindPairs, arguments, wanted) if len(wanted) > 1 else map(FindPairs(**arguments), wanted)
    for done in results:
        counted += done.pop("similarities")
        found.append(done)
    return joined(found), counted


def _likeness(work: Work, gone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many pairs of samples have which cosine: of one person, and of others or nobody knows whom; of a part."""
    people: list[str] = []
    embeds: list[np.ndarray] = []
    units = np.unique(np.linspace(0, work.units - 1, min(work.units, _UNITS_COMPARED)).astype(int)).tolist()
    for unit in units:
        account = rows.read(work.checked(unit, ".parquet"), ["row", "person"])
        left_out = {rows.NO_ROW, *rows_in(gone, unit).tolist()}
        some = [(row, person) for row, person in zip(*account.values(), strict=True) if row not in left_out]
        some = some[: max(1, _SAMPLES_COMPARED // len(units))]
        people += [f"unknown {unit} {row}" if person is None else f"={person}" for row, person in some]
        embeds += list(np.load(work.checked(unit, ".npy"))[[row for row, _ in some]]) if some else []
    if not people:
        return tuple(np.zeros(len(SIMILARITIES) - 1, np.int64) for _ in range(2))  # type: ignore[return-value]
    one, two = np.triu_indices(len(people), 1)
    cosines = np.clip((np.stack(embeds) @ np.stack(embeds).T)[one, two], -1, 1)
    alike = np.array(people)[one] == np.array(people)[two]
    return np.histogram(cosines[alike], SIMILARITIES)[0], np.histogram(cosines[~alike], SIMILARITIES)[0]


def _finish(
    work: Work, wanted: Preparation, engine: Engine, run: str, later: np.ndarray, withdrawn: np.ndarray
) -> None:
    omitted = np.union1d(later, withdrawn)
    left, finished = [], work.finished_units()
    for unit in range(work.units):
        omit, gone = (rows_in(ids, unit).tolist() for ids in (omitted, withdrawn))
        note = read_json(work.finished(unit)) if unit in finished else None
        if note is None or note["omit"] != omit or {*map(int, note["thumbs"])}.intersection(gone):
            left.append({"unit": unit, "omit": str(omit), "withdrawn": str(gone)})
        else:
            if not note["samples"]:
                work.remove_shard(unit)
            for suffix in (".tar", ".json", ".npy"):
                work.checked(unit, suffix).unlink(missing_ok=True)
    if not left:
        return
    (work.out / INFO).unlink(missing_ok=True)  # until all are written, it is no whole set
    log.info("%d shards to be written", len(left))
    arguments = {
        "out": str(work.out.resolve()),
        "captioner": wanted.captioner,
        "model": captioners.located(wanted.captioner),
        "device": wanted.caption_device,
        "batch": wanted.caption_batch,
        "recaption": wanted.recaption,
        "run": run,
    }
    gpus = 1 if wanted.captioner and engine.cluster.gpus else 0
    processes = min(engine.cluster.processes, engine.cluster.gpus) if gpus else None
    progress = _Progress("written", len(left))
    for done in engine.each(FinishUnit, arguments, left, processes, gpus):
        progress.add(done["samples"], done["samples"])


class _Progress:
    """Says now and then how far a step is."""

    def __init__(self, what: str, units: int) -> None:
        self._what, self._units = what, units
        self._done = self._pictures = self._kept = 0
        self._begun = self._said = time.monotonic()

    def add(self, pictures: int, kept: int) -> None:
        """A unit is done."""
        self._done += 1
        self._pictures += pictures
        self._kept += kept
        now = time.monotonic()
        if now - self._said < _SECONDS and self._done < self._units:
            return
        self._said = now
        seconds = max(now - self._begun, 1e-6)
        left = seconds / self._done * (self._units - self._done)
        log.info(
            "%s: %d of %d units, %d pictures, %d kept, %.1f a second, %.0f minutes left",
            self._what,
            self._done,
            self._units,
            self._pictures,
            self._kept,
            self._pictures / seconds,
            left / 60,
        )
