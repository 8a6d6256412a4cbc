"""Makes a training set of pictures, in steps that each resume where a kill stopped them.

The steps: list the units of work, look at the pictures of each, find duplicates over all of them, write each unit's
shard, write the report, then ``dataset.json``. A step's files appear whole, so a file that is there is finished.
"""

import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..devices import check_device
from ..errors import HyperLoRAError
from ..faces import models as face_models
from ..files import atomic
from . import captioners, report, report_page
from .checks import Limits
from .duplicates import find_duplicates
from .engine import Cluster, Engine
from .jobs import CaptionConfig, CheckConfig, CheckTask, CheckUnit, FinishTask, FinishUnit
from .near_pairs import Near
from .sample_ids import rows_in
from .shards import INFO, DatasetInfo
from .sources import check_sources, units_of
from .withdrawal import read_drop_list, withdraw
from .work import Work, read_json

_SECONDS_PER_LINE = 10

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preparation:
    """The config of a preparation.

    Attributes:
        sources: folders of pictures, and WebDataset shards.
        out: the set's folder.
        faces: the face models' folder.
        face_engine: the backend that runs them.
        limits: which pictures are accepted.
        near: when two pictures are duplicates.
        person_folders: the first folder below a source names a person.
        licence: for pictures that come without one.
        need_licence: reject pictures that come without one.
        captioner: its name; empty for none.
        caption_device: the device it runs on.
        caption_batch: its batch size, in pictures.
        recaption: replace captions that came with the pictures.
        unit_size: how many pictures of a folder go into one shard.
        drop_list: a file that lists what must not be used.
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
        """What the set depends on, by name, for ``settings.json`` and ``dataset.json``."""
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


def prepare(preparation: Preparation, cluster: Cluster) -> DatasetInfo:
    """Make a training set, resume one, or take what a drop list names out of it.

    Args:
        preparation: what to make of what.
        cluster: the workers.

    Returns:
        What the set was made with; its settings hold ``counts`` by reason.

    Raises:
        HyperLoRAError: an argument cannot be used, or no picture is accepted.
        MissingPackageError: a package is missing.
    """
    if preparation.unit_size < 1 or preparation.caption_batch < 1:
        raise HyperLoRAError("--unit-size and --caption-batch are numbers from 1")
    check_sources(preparation.sources, preparation.out)
    if preparation.caption_device != "cpu" and not preparation.captioner:
        raise HyperLoRAError("--caption-device is where a captioner computes: name it with --captioner")
    if preparation.caption_device.startswith("cuda") and not cluster.gpus:
        raise HyperLoRAError(
            "--caption-device cuda needs --gpus, by which workers do not meet on one: how many there are"
        )
    if preparation.recaption and not preparation.captioner:
        raise HyperLoRAError("--recaption has captions written anew: name what writes them with --captioner")
    dropped = read_drop_list(preparation.drop_list) if preparation.drop_list else frozenset()
    if preparation.captioner:
        captioners.check(preparation.captioner)
        if cluster.address is None:
            check_device(preparation.caption_device, "--caption-device")
    models = face_models.load(preparation.faces, preparation.face_engine)
    work = Work(preparation.out)
    with work.opened(preparation.settings(models.content)):
        _plan(work, preparation)
        run_id = uuid.uuid4().hex
        with Engine(cluster) as engine:
            _check(work, preparation, engine, run_id, models.content)
            duplicates = find_duplicates(work, preparation.near, engine)
            if dropped:
                (work.out / INFO).unlink(missing_ok=True)  # until all of it is out, nobody must train on the set
            withdrawn = withdraw(work, dropped, duplicates.left, duplicates.right)
            _finish(work, preparation, engine, run_id, duplicates.dropped.later, np.array(withdrawn, np.int64))
        gathered = report.gather(work, duplicates, withdrawn)
        settings = preparation.settings(models.content) | {"counts": gathered.counts, "licences": gathered.licences}
        info = DatasetInfo(models.encoder, preparation.captioner, settings)
        report_page.write(preparation.out / report_page.FILE, gathered, info)
        if not gathered.kept:
            raise HyperLoRAError(
                f"none of {gathered.pictures} pictures is accepted; {preparation.out / report_page.FILE} shows why. "
                "Loosen the limits, in another folder"
            )
        info.write(preparation.out)
    log.info("%d of %d pictures in %s; see %s", gathered.kept, gathered.pictures, preparation.out, report_page.FILE)
    return info


def _plan(work: Work, preparation: Preparation) -> None:
    """List the units of work, once."""
    if work.plan.exists():
        return
    number = -1
    for number, unit in enumerate(units_of(preparation.sources, preparation.unit_size)):
        atomic.write_text(work.unit(number), unit.to_json() + "\n")
    atomic.write_text(work.plan, f'{{"units": {number + 1}}}\n')


def _check(work: Work, preparation: Preparation, engine: Engine, run_id: str, content: Sequence[str]) -> None:
    """Have all units looked at that were not yet."""
    cluster = engine.cluster
    tasks = [CheckTask(unit) for unit in sorted({*range(work.units)} - work.checked_units())]
    log.info("%d units of pictures, %d to be looked at", work.units, len(tasks))
    config = CheckConfig(
        faces=str(preparation.faces.resolve()),
        content=tuple(content),
        engine=preparation.face_engine,
        device="cuda" if cluster.gpus else "cpu",  # a GPU that is not shared out would be every worker's
        limits=preparation.limits,
        need_licence=preparation.need_licence,
        person_folders=preparation.person_folders,
        licence=preparation.licence,
    )
    processes = max(1, min(cluster.processes, len(tasks)))
    progress = _Progress("looked at", len(tasks))
    check = partial(CheckUnit, str(work.out.resolve()), config, run_id)
    for result in engine.each(check, tasks, processes, cluster.share(processes)):
        progress.add(result.pictures, result.accepted)


def _finish(
    work: Work,
    preparation: Preparation,
    engine: Engine,
    run_id: str,
    dropped: np.ndarray,
    withdrawn: np.ndarray,
) -> None:
    """Have the shards written that are absent, or hold other samples than they should.

    Args:
        work: of the set.
        preparation: what to make of what.
        engine: what writes them.
        run_id: names this run.
        dropped: sorted ids of duplicates.
        withdrawn: sorted ids of withdrawn samples.
    """
    omitted = np.union1d(dropped, withdrawn)
    tasks, finished = [], work.finished_units()
    for unit in range(work.units):
        task = FinishTask(unit, tuple(rows_in(omitted, unit).tolist()), tuple(rows_in(withdrawn, unit).tolist()))
        note = read_json(work.finished(unit)) if unit in finished else None
        if note is None or note["omit"] != [*task.omit] or {*map(int, note["thumbs"])}.intersection(task.withdrawn):
            tasks.append(task)
        else:
            if not note["samples"]:
                work.remove_shard(unit)
            work.remove_checked(unit)
    if not tasks:
        return
    (work.out / INFO).unlink(missing_ok=True)  # until all are written, the set is not complete
    log.info("%d shards to be written", len(tasks))
    config = CaptionConfig(
        captioner=preparation.captioner,
        model=captioners.located(preparation.captioner),
        device=preparation.caption_device,
        batch=preparation.caption_batch,
        recaption=preparation.recaption,
    )
    gpus = 1 if preparation.captioner and engine.cluster.gpus else 0
    processes = min(engine.cluster.processes, engine.cluster.gpus) if gpus else None
    progress = _Progress("written", len(tasks))
    finish = partial(FinishUnit, str(work.out.resolve()), config, run_id)
    for result in engine.each(finish, tasks, processes, gpus):
        progress.add(result.samples, result.samples)


class _Progress:
    """Logs every few seconds how far a step is.

    Args:
        step: what is done, for the log.
        units: how many there are.
    """

    def __init__(self, step: str, units: int) -> None:
        self._step, self._units = step, units
        self._finished = self._pictures = self._accepted = 0
        self._start = self._last_line = time.monotonic()

    def add(self, pictures: int, accepted: int) -> None:
        """Count a unit that is finished."""
        self._finished += 1
        self._pictures += pictures
        self._accepted += accepted
        now = time.monotonic()
        if now - self._last_line < _SECONDS_PER_LINE and self._finished < self._units:
            return
        self._last_line = now
        seconds = max(now - self._start, 1e-6)
        seconds_left = seconds / self._finished * (self._units - self._finished)
        log.info(
            "%s: %d of %d units, %d pictures, %d kept, %.1f a second, %.0f minutes left",
            self._step,
            self._finished,
            self._units,
            self._pictures,
            self._accepted,
            self._pictures / seconds,
            seconds_left / 60,
        )
