"""``python -m benchmarks.prepare``: how fast a training set is prepared, and what that comes to for millions.

With the stand-in face pack, on real photos cut and turned by chance. Prints, and writes ``results/prepare-cpu.json``.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from demo.face_pack import face_pack
from demo.photos import photos
from hyperlora_core import FaceAnalyzer, __version__
from hyperlora_core.data.checks import Checked
from hyperlora_core.data.duplicates import settle
from hyperlora_core.data.engine import Cluster, Engine
from hyperlora_core.data.jobs import CaptionConfig, CheckConfig, CheckTask, CheckUnit, FinishTask, FinishUnit
from hyperlora_core.data.near_pairs import FindPairs, Near, Pairs, masks, searches
from hyperlora_core.data.rows import RowWriter
from hyperlora_core.data.sources import Item, units_of
from hyperlora_core.data.work import Work
from hyperlora_core.files.photos import open_photo

from .measure import PeakMemory, machine
from .table import RESULTS

KEPT = 4_400_000  # pictures of the paper's set
KEPT_SHARES = (1.0, 0.1, 0.02)  # of the pictures that are looked at
UNIT = 10
SAMPLES = 300_000  # that duplicates are looked for among

log = logging.getLogger("benchmarks")


@dataclass(frozen=True)
class Rate:
    """Pictures a second, of the clock and of a core's time where one process works."""

    pictures: int
    seconds: float
    cpu_seconds: float | None = None

    @property
    def a_second(self) -> float:
        """Of the clock."""
        return self.pictures / self.seconds

    @property
    def a_core(self) -> float:
        """Of a second of a core's time: on a machine that does other things too, the rate that tells."""
        assert self.cpu_seconds
        return self.pictures / self.cpu_seconds

    def __str__(self) -> str:
        cpu = f", {self.a_core:.2f} a second of a core's time" if self.cpu_seconds else ""
        return f"{self.pictures} pictures in {self.seconds:.1f} s: {self.a_second:.2f} a second{cpu}"


def pictures(folder: Path, count: int) -> Path:
    """Portraits, none of which is like another; and as many without a face."""
    numbers = np.random.default_rng(0)
    originals = [open_photo(photos()[name]) for name in ("obama", "obama2", "obama3", "biden")]
    for kind in ("faces", "none"):
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        photo = originals[number % len(originals)].rotate(numbers.uniform(-8, 8), Image.Resampling.BICUBIC)
        left, top, right, bottom = numbers.uniform(0, 0.12, 4) * np.array(photo.size * 2)
        photo = photo.crop((left, top, photo.width - right, photo.height - bottom))
        photo.save(folder / "faces" / f"{number:05d}.jpg", quality=90)
        noise = Image.fromarray(numbers.integers(0, 255, (30, 24, 3), np.uint8))
        noise.resize(photo.size, Image.Resampling.BICUBIC).save(folder / "none" / f"{number:05d}.jpg", quality=90)
    return folder


def planned(out: Path, source: Path) -> Work:
    """A set that is begun."""
    work = Work(out)
    for name in ("units", "checked", "finished", "tries"):
        (work.folder / name).mkdir(parents=True)
    units = list(units_of([source], UNIT))
    for number, unit in enumerate(units):
        work.unit(number).write_text(unit.to_json(), encoding="utf-8")
    work.plan.write_text(f'{{"units": {len(units)}}}', encoding="utf-8")
    return work


def check_config() -> CheckConfig:
    """Of the stand-in face models."""
    return CheckConfig(str(face_pack()), FaceAnalyzer.load(face_pack()).content)


def in_one_process(work: Work) -> tuple[Rate, Rate]:
    """Looking at pictures, and writing shards, without Ray: what a core does."""
    rates = []
    check = CheckUnit(str(work.out), check_config(), "benchmark")
    finish = FinishUnit(str(work.out), CaptionConfig(), "benchmark")
    steps = (lambda unit: check(CheckTask(unit)).pictures, lambda unit: finish(FinishTask(unit)).samples)
    for step in steps:
        step(0)  # warm
        wall, cpu = time.perf_counter(), time.process_time()
        count = sum(step(unit) for unit in range(1, work.units))
        rates.append(Rate(max(count, 1), time.perf_counter() - wall, time.process_time() - cpu))
    return rates[0], rates[1]


def on_ray(work: Work, workers: int) -> Rate:
    """Looking at pictures with so many workers, from when the last of them is at work."""
    with Engine(Cluster(workers=workers)) as engine:
        check = partial(CheckUnit, str(work.out), check_config(), "benchmark")
        results = engine.each(check, [CheckTask(unit) for unit in range(work.units)])
        for _ in range(2 * workers):
            next(results)
        since = time.perf_counter()
        done = sum(result.pictures for result in results)
        return Rate(done, time.perf_counter() - since)


def duplicates(folder: Path, samples: int) -> dict[str, float]:
    """Looking for duplicates among so many samples of random hashes and faces, in one process."""
    work, numbers, units = Work(folder), np.random.default_rng(0), 30
    (work.folder / "units").mkdir(parents=True)
    (work.folder / "checked").mkdir()
    work.plan.write_text(f'{{"units": {units}}}', encoding="utf-8")
    some = Checked(Item("name"), "")
    for unit in range(units):
        rows = RowWriter()
        for phash in numbers.integers(0, 1 << 63, samples // units):
            some.sample, some.phash, some.pixels = some, int(phash), numbers.bytes(16)  # type: ignore[assignment]
            rows.add(some)
        rows.write(work.checked(unit, ".parquet"))
        np.save(work.checked(unit, ".npy"), numbers.normal(size=(samples // units, 512)).astype(np.float32))
    near, since = Near(), time.perf_counter()
    with PeakMemory() as peak:
        equal = settle(Pairs.concatenate([FindPairs(str(folder), near)(task).pairs for task in searches(samples, 1)]))
        np.save(work.folder / "settled.npy", equal.later)
        finder = FindPairs(str(folder), near, str(work.folder / "settled.npy"))
        for task in searches(samples, len(masks(near.bits))):
            finder(task)
    seconds = time.perf_counter() - since
    log.info("duplicates among %d samples: %.1f s of one core, %d MB", samples, seconds, peak.anonymous >> 20)
    return {"samples": samples, "seconds": seconds, "peak_bytes": peak.anonymous}


def projected(with_face: Rate, without: Rate, shards: Rate) -> Iterator[dict[str, float]]:
    """Hours of one core for the paper's set, by the share of pictures that is kept; the arithmetic is printed.

    Without captions, and without what reading from a network takes.
    """
    for share in KEPT_SHARES:
        looked_at = KEPT / share
        rejected = looked_at - KEPT
        seconds = KEPT / with_face.a_core + rejected / without.a_core + KEPT / shards.a_core
        log.info(
            "%.1f M kept, %.0f %% of those looked at: %.1f M / %.2f + %.1f M / %.2f + %.1f M / %.0f a second = "
            "%.0f hours of one core, %.1f hours of 128",
            KEPT / 1e6,
            100 * share,
            KEPT / 1e6,
            with_face.a_core,
            rejected / 1e6,
            without.a_core,
            KEPT / 1e6,
            shards.a_core,
            seconds / 3600,
            seconds / 3600 / 128,
        )
        yield {"kept_share": share, "core_hours": seconds / 3600}


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=160, metavar="N", help="portraits (%(default)s)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    log.setLevel(logging.INFO)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = pictures(folder / "source", options.pictures)
        faces, shards = in_one_process(planned(folder / "faces", source / "faces"))
        log.info("looked at, with a face, one process: %s", faces)
        none, _ = in_one_process(planned(folder / "none", source / "none"))
        log.info("looked at, without a face, one process: %s", none)
        log.info("written to shards, one process: %s", shards)
        workers = {}
        for count in (1, 2):
            workers[count] = on_ray(planned(folder / f"ray{count}", source / "faces"), count)
            log.info("looked at, with a face, on Ray, %d workers: %s", count, workers[count])
        log.info("2 workers / 1: %.2f times", workers[2].a_second / workers[1].a_second)
        found = duplicates(folder / "duplicates", SAMPLES)
        projection = list(projected(faces, none, shards))
    host = machine(torch.device("cpu"), torch.float32)
    load = os.getloadavg()[2]
    log.info("on %s; %.1f processes wanted the cores at a time meanwhile, this one's among them", host.name, load)
    result = {
        "version": __version__,
        "machine": asdict(host),
        "load": load,
        "one_process": {"with_a_face": asdict(faces), "without": asdict(none), "shards": asdict(shards)},
        "on_ray": {count: asdict(rate) for count, rate in workers.items()},
        "duplicates": found,
        "projection": projection,
    }
    (RESULTS / "prepare-cpu.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
