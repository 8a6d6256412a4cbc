"""The work on one unit, as workers do it: look at its pictures, and write its shard."""

import base64
import json
import logging
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import numpy as np
import torch

from ..errors import HyperLoRAError
from ..faces import FaceAnalyzer
from ..files import atomic
from . import captioners
from .checks import Checked, Checker, Limits
from .pictures import thumbnail
from .rows import RowWriter
from .sample_ids import key_of, row_of_key
from .shards import Sample, read_shard, write_shard
from .sources import items_of
from .tries import Tries
from .work import Work, read_json

_THREADS = 1  # of each worker: numbers do not depend on how many workers there are
_DUPLICATE_THUMBS = 3  # of each unit, for the report
_BATCHES_IN_MEMORY = 4
_MOST_CAPTION_FAILURES = 50  # one after the other: then it is not the pictures

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckConfig:
    """How pictures are looked at.

    Attributes:
        faces: the face models' folder.
        content: what they are, see ``FaceModels.content``.
        engine: the backend that runs them.
        device: the device torch runs on.
        limits: which pictures are accepted.
        need_licence: see ``Checker``.
        person_folders, licence: see ``items_of``.
    """

    faces: str
    content: tuple[str, ...]
    engine: str = "auto"
    device: str = "cpu"
    limits: Limits = field(default_factory=Limits)
    need_licence: bool = False
    person_folders: bool = False
    licence: str = ""


@dataclass(frozen=True)
class CheckTask:
    """A unit whose pictures are to be looked at."""

    unit: int


@dataclass(frozen=True)
class CheckResult:
    """How many pictures a unit has, and how many of them were accepted."""

    unit: int
    pictures: int
    accepted: int


class CheckUnit:
    """Looks at the pictures of units, and stores those that are accepted.

    Args:
        out: the set's folder.
        config: how pictures are looked at.
        run_id: names the run.

    Raises:
        HyperLoRAError: the face models here are not those that the run was started with.
    """

    def __init__(self, out: str, config: CheckConfig, run_id: str) -> None:
        self._work = Work(Path(out))
        torch.set_num_threads(_THREADS)
        analyzer = FaceAnalyzer.load(config.faces, config.engine, config.device)
        if analyzer.content != config.content:
            raise HyperLoRAError(
                f"the face models in {config.faces} on {socket.gethostname()} are others than where the run was begun: "
                "copy the same folder there"
            )
        self._check = Checker(analyzer, config.limits, config.need_licence)
        self._config, self._run_id = config, run_id

    def __call__(self, task: CheckTask) -> CheckResult:
        """Look at a unit; its files appear whole, the account last."""
        number, rows, embeds = task.unit, RowWriter(), []
        tries = Tries(self._work.tries("check", number), self._run_id)

        def samples() -> Iterator[Sample]:
            for checked in self._checked(number, tries):
                row = rows.add(checked)
                if checked.sample is not None:
                    embeds.append(checked.sample.embed)
                    yield replace(checked.sample, key=key_of(number, row))

        tar = self._work.checked(number, ".tar")
        accepted = write_shard(tar.parent, tar.stem, samples())
        with atomic.writing(self._work.checked(number, ".npy")) as part, part.open("wb") as file:
            np.save(file, np.stack(embeds) if embeds else np.zeros((0, 0), np.float32))
        rows.write(self._work.checked(number, ".parquet"))
        tries.close()
        return CheckResult(number, rows.count, accepted)

    def _checked(self, number: int, tries: Tries) -> Iterator[Checked]:
        """What became of each picture of a unit; one that ended workers before is passed over."""

        def unreadable(place: int) -> bool:
            return tries.is_over(f"reading {place}")

        items = items_of(self._work.read_unit(number), self._config.person_folders, self._config.licence, unreadable)
        for place in count():
            tries.at(f"reading {place}")
            item = next(items, None)
            if item is None:
                return
            if tries.is_over(place):
                yield Checked(item, "crashed")
                continue
            tries.at(place)
            yield self._check(item)


@dataclass(frozen=True)
class CaptionConfig:
    """How captions are written.

    Attributes:
        captioner: its name, as samples note it; empty for none.
        model: the same, as a worker anywhere can load it.
        device: the device it runs on.
        batch: its batch size, in pictures.
        recaption: replace captions that came with the pictures.
    """

    captioner: str = ""
    model: str = ""
    device: str = "cpu"
    batch: int = 8
    recaption: bool = False


@dataclass(frozen=True)
class FinishTask:
    """A unit whose shard is to be written.

    Attributes:
        unit: its number.
        omit: rows of samples that do not go into the shard.
        withdrawn: those of them that were withdrawn.
    """

    unit: int
    omit: tuple[int, ...] = ()
    withdrawn: tuple[int, ...] = ()


@dataclass(frozen=True)
class FinishResult:
    """How many samples a unit's shard has."""

    unit: int
    samples: int


class FinishUnit:
    """Writes the shards of units: the accepted samples without duplicates, with captions.

    Args:
        out: the set's folder.
        config: how captions are written.
        run_id: names the run.
    """

    def __init__(self, out: str, config: CaptionConfig, run_id: str) -> None:
        self._work, self._config, self._run_id = Work(Path(out)), config, run_id
        self._caption = captioners.load(config.model, config.device) if config.captioner else None
        self._captions_well, self._caption_failures = False, 0

    def __call__(self, task: FinishTask) -> FinishResult:
        """Write a unit's shard.

        Raises:
            HyperLoRAError: the captioner failed, or the unit's samples are gone.
        """
        number, omit, withdrawn = task.unit, set(task.omit), set(task.withdrawn)
        work, shard = self._work, self._work.shard(number)
        finished = read_json(work.finished(number)) if work.finished(number).exists() else {}
        thumbs: dict[str, str] = finished.get("thumbs", {})
        crashed: list[int] = finished.get("crashed", [])
        tries = Tries(work.tries("finish", number), self._run_id)

        def remaining() -> Iterator[Sample]:
            for sample in read_shard(source):
                row = row_of_key(sample.key)
                if row not in omit:
                    yield sample
                elif row not in withdrawn and len(thumbs) < _DUPLICATE_THUMBS:
                    thumbs[str(row)] = base64.b64encode(thumbnail(sample.photo())).decode()

        source = work.checked(number, ".tar")
        if source.exists():
            samples = self._captioned(remaining(), tries, crashed)
        elif shard.exists():
            source, samples = shard, remaining()
        elif finished.get("samples") == 0:
            samples = iter(())
        else:
            raise HyperLoRAError(f"{source} is gone: remove the whole folder {work.out}, and prepare the set again")
        count = write_shard(work.out, shard.stem, samples)
        thumbs = {row: thumb for row, thumb in thumbs.items() if int(row) not in withdrawn}
        note = {"samples": count, "omit": sorted(omit), "crashed": sorted(set(crashed)), "thumbs": thumbs}
        atomic.write_text(work.finished(number), json.dumps(note) + "\n")
        if not count:
            work.remove_shard(number)
        work.remove_checked(number)
        tries.close()
        return FinishResult(number, count)

    def _captioned(self, samples: Iterator[Sample], tries: Tries, crashed: list[int]) -> Iterator[Sample]:
        """The samples, in order, with captions; a few batches are in memory at a time."""
        if self._caption is None:
            yield from samples
            return
        batch = 1 if tries.again else self._config.batch
        waiting: list[Sample] = []
        uncaptioned = 0
        for sample in samples:
            if tries.is_over(row_of_key(sample.key)):
                crashed.append(row_of_key(sample.key))
                continue
            waiting.append(sample)
            uncaptioned += self._wants(sample)
            if uncaptioned == batch or len(waiting) == _BATCHES_IN_MEMORY * batch:
                yield from self._with_captions(waiting, tries, crashed)
                waiting, uncaptioned = [], 0
        yield from self._with_captions(waiting, tries, crashed)

    def _one_by_one(
        self, samples: Sequence[Sample], tries: Tries, crashed: list[int], error: Exception
    ) -> Iterator[Sample]:
        """Caption samples one by one after a batch failed.

        A picture that the captioner fails on is passed over, unless it never succeeded or fails too often, which is not
        the picture's fault.
        """
        if len(samples) > 1:
            for sample in samples:
                yield from self._with_captions([sample], tries, crashed)
            return
        (sample,) = samples
        self._caption_failures += 1
        if not self._captions_well or self._caption_failures >= _MOST_CAPTION_FAILURES:
            before = "and on others before" if self._captions_well else "and on whatever it was given"
            raise HyperLoRAError(
                f"the captioner {self._config.captioner} failed on {sample.source.get('path')} "
                f"({type(error).__name__}: {error}), {before}: mend it, and run the same command again"
            ) from error
        log.warning("the captioner failed on %s: %s", sample.source.get("path"), error)
        crashed.append(row_of_key(sample.key))

    def _wants(self, sample: Sample) -> bool:
        return self._config.recaption or not sample.caption

    def _with_captions(self, samples: Sequence[Sample], tries: Tries, crashed: list[int]) -> Iterator[Sample]:
        uncaptioned = [sample for sample in samples if self._wants(sample)]
        captions: dict[str, str] = {}
        if uncaptioned and self._caption:
            tries.at(row_of_key(uncaptioned[0].key))
            try:
                texts = list(self._caption([sample.photo() for sample in uncaptioned]))
            except HyperLoRAError:
                raise
            except Exception as error:  # whatever another's code may raise
                yield from self._one_by_one(samples, tries, crashed, error)
                return
            self._captions_well, self._caption_failures = True, 0
            if len(texts) != len(uncaptioned) or not all(isinstance(caption, str) for caption in texts):
                raise HyperLoRAError(
                    f"the captioner {self._config.captioner} gave {len(texts)} captions for {len(uncaptioned)} "
                    "pictures, or some that are no text: one text for each was expected"
                )
            captions = dict(zip((sample.key for sample in uncaptioned), texts, strict=True))
        for sample in samples:
            if caption := " ".join(captions.get(sample.key, "").split()):
                yield replace(sample, caption=caption, source=sample.source | {"caption_by": self._config.captioner})
            else:
                yield sample
