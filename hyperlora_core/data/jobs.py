"""What workers do: look at a unit's pictures, and write its shard."""

import base64
import json
import logging
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import HyperLoRAError
from ..faces import FaceAnalyzer
from ..files import atomic
from . import captioners
from .checks import Checked, Checker, Limits
from .pictures import thumbnail
from .rows import RowWriter
from .shards import Sample, read_shard, write_shard
from .sources import items_of
from .tries import Tries
from .work import Work, read_json

_THREADS = 1  # of each worker: numbers do not depend on how many workers there are
_DUPLICATES_SHOWN = 3  # of each unit
_BATCHES_HELD = 4
_MOST_CAPTION_FAILURES = 50  # one after the other: then it is not the pictures

log = logging.getLogger(__name__)


class CheckUnit:
    """Looks at the pictures of units; keeps what is accepted.

    Args:
        out: the set's folder.
        faces: the face models' folder.
        content: what they are, see ``FaceModels.content``.
        engine: what runs them.
        device: where torch computes.
        limits: what is accepted.
        need_licence, person_folders, licence: see ``Checker`` and ``items_of``.
        run: names the run.

    Raises:
        HyperLoRAError: other face models are here than where the run was begun.
    """

    def __init__(
        self,
        out: str,
        faces: str,
        content: Sequence[str],
        engine: str,
        device: str,
        limits: Limits,
        need_licence: bool,
        person_folders: bool,
        licence: str,
        run: str,
    ) -> None:
        self._work = Work(Path(out))
        torch.set_num_threads(_THREADS)
        analyzer = FaceAnalyzer.load(faces, engine, device)
        if analyzer.content != tuple(content):
            raise HyperLoRAError(
                f"the face models in {faces} on {socket.gethostname()} are others than where the run was begun: copy "
                "the same folder there"
            )
        self._check = Checker(analyzer, limits, need_licence)
        self._person_folders, self._licence, self._run = person_folders, licence, run

    def __call__(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Do a unit.

        Args:
            task: ``unit``, its number.

        Returns:
            ``unit``, and how many ``pictures`` were looked at and ``accepted``.
        """
        number = int(task["unit"])
        rows, embeds = RowWriter(), []
        tries = Tries(self._work.tries("check", number), self._run)

        def samples() -> Iterator[Sample]:
            for found in self._found(number, tries):
                row = rows.add(found)
                if found.sample is not None:
                    embeds.append(found.sample.embed)
                    yield replace(found.sample, key=key_of(number, row))

        tar = self._work.checked(number, ".tar")
        accepted = write_shard(tar.parent, tar.stem, samples())
        with atomic.writing(self._work.checked(number, ".npy")) as part, part.open("wb") as file:
            np.save(file, np.stack(embeds) if embeds else np.zeros((0, 0), np.float32))
        rows.write(self._work.checked(number, ".parquet"))
        tries.done()
        return {"unit": number, "pictures": rows.count, "accepted": accepted}

    def _found(self, number: int, tries: Tries) -> Iterator[Checked]:
        def unreadable(place: int) -> bool:
            return tries.is_over(f"reading {place}")

        items = items_of(self._work.read_unit(number), self._person_folders, self._licence, unreadable)
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


def key_of(unit: int, row: int) -> str:
    """A sample's name: unit and number in it."""
    return f"{unit:06d}-{row:06d}"


def _row_of(key: str) -> int:
    return int(key.rpartition("-")[2])


class FinishUnit:
    """Writes the shards of units: what was accepted, without duplicates, with captions.

    Args:
        out: the set's folder.
        captioner: its name, as samples note it; empty for none.
        model: the same, from wherever a worker runs.
        device: where it computes.
        batch: pictures that it is shown at a time.
        recaption: replace captions that came with the pictures.
        run: names the run.
    """

    def __init__(
        self, out: str, captioner: str, model: str, device: str, batch: int, recaption: bool, run: str
    ) -> None:
        self._work = Work(Path(out))
        self._name, self._batch, self._recaption, self._run = captioner, batch, recaption, run
        self._caption = captioners.load(model, device) if captioner else None
        self._captions_well, self._caption_failures = False, 0

    def __call__(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Do a unit.

        Args:
            task: ``unit``, its number; ``omit`` and ``withdrawn``, JSON lists of the numbers of samples, see
                ``Work.finished``.

        Returns:
            ``unit``, and how many ``samples`` its shard has.

        Raises:
            HyperLoRAError: the captioner failed, or the unit's samples are gone.
        """
        number, omit, withdrawn = int(task["unit"]), set(json.loads(task["omit"])), json.loads(task["withdrawn"])
        work, shard = self._work, self._work.shard(number)
        finished = read_json(work.finished(number)) if work.finished(number).exists() else {}
        thumbs: dict[str, str] = finished.get("thumbs", {})
        crashed: list[int] = finished.get("crashed", [])
        tries = Tries(work.tries("finish", number), self._run)

        def kept() -> Iterator[Sample]:
            for sample in read_shard(source):
                row = _row_of(sample.key)
                if row not in omit:
                    yield sample
                elif row not in withdrawn and len(thumbs) < _DUPLICATES_SHOWN:
                    thumbs[str(row)] = base64.b64encode(thumbnail(sample.photo())).decode()

        source = work.checked(number, ".tar")
        if source.exists():
            samples = self._captioned(kept(), tries, crashed)
        elif shard.exists():
            source, samples = shard, kept()
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
        for suffix in (".tar", ".json", ".npy"):
            work.checked(number, suffix).unlink(missing_ok=True)
        tries.done()
        return {"unit": number, "samples": count}

    def _captioned(self, samples: Iterator[Sample], tries: Tries, crashed: list[int]) -> Iterator[Sample]:
        """The samples, in order, with captions; a few batches are held at a time."""
        if self._caption is None:
            yield from samples
            return
        batch = 1 if tries.again else self._batch
        held: list[Sample] = []
        wanting = 0
        for sample in samples:
            if tries.is_over(_row_of(sample.key)):
                crashed.append(_row_of(sample.key))
                continue
            held.append(sample)
            wanting += self._wants(sample)
            if wanting == batch or len(held) == _BATCHES_HELD * batch:
                yield from self._with_captions(held, tries, crashed)
                held, wanting = [], 0
        yield from self._with_captions(held, tries, crashed)

    def _one_by_one(
        self, held: Sequence[Sample], tries: Tries, crashed: list[int], error: Exception
    ) -> Iterator[Sample]:
        """Samples among which are some that the captioner fails on: these are passed over, if it ever did better."""
        if len(held) > 1:
            for sample in held:
                yield from self._with_captions([sample], tries, crashed)
            return
        (sample,) = held
        self._caption_failures += 1
        if not self._captions_well or self._caption_failures >= _MOST_CAPTION_FAILURES:
            before = "and on others before" if self._captions_well else "and on whatever it was given"
            raise HyperLoRAError(
                f"the captioner {self._name} failed on {sample.source.get('path')} ({type(error).__name__}: {error}), "
                f"{before}: mend it, and run the same command again"
            ) from error
        log.warning("the captioner failed on %s: %s", sample.source.get("path"), error)
        crashed.append(_row_of(sample.key))

    def _wants(self, sample: Sample) -> bool:
        return self._recaption or not sample.caption

    def _with_captions(self, held: Sequence[Sample], tries: Tries, crashed: list[int]) -> Iterator[Sample]:
        wanting = [sample for sample in held if self._wants(sample)]
        captions: dict[str, str] = {}
        if wanting and self._caption:
            tries.at(_row_of(wanting[0].key))
            try:
                written = list(self._caption([sample.photo() for sample in wanting]))
            except HyperLoRAError:
                raise
            except Exception as error:  # whatever another's code may raise
                yield from self._one_by_one(held, tries, crashed, error)
                return
            self._captions_well, self._caption_failures = True, 0
            if len(written) != len(wanting) or not all(isinstance(caption, str) for caption in written):
                raise HyperLoRAError(
                    f"the captioner {self._name} gave {len(written)} captions for {len(wanting)} pictures, or some "
                    "that are no text: one text for each was expected"
                )
            captions = dict(zip((sample.key for sample in wanting), written, strict=True))
        for sample in held:
            if caption := " ".join(captions.get(sample.key, "").split()):
                yield replace(sample, caption=caption, source=sample.source | {"caption_by": self._name})
            else:
                yield sample
