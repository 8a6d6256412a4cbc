"""``make toy-world``: whatever of it was not done yet, and the report of what was.

Two processes of one thread each work side by side, while the base has both threads; all of it can be stopped at any
moment, and goes on from there.
"""

import argparse
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from demo.cache import cache_dir

from . import base_training
from .encoders import cached
from .job import ENCODERS
from .measuring import plain_recipe, stored
from .personal import NAME as PERSONAL
from .personal import recipe as personal_recipe
from .report import write
from .runs import checkpoint_of
from .variants import Leg, full, legs

WORKERS = 2

# One thread each; and glibc keeps the memory of freed tensors, instead of having it cleared by the system every time.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
}

log = logging.getLogger("toy-world")


@dataclass(frozen=True)
class Job:
    """A piece of the work.

    Attributes:
        name: as ``job`` knows it.
        command: of the process.
        done: whether it is.
        after: names of the jobs before it.
        workers: how many it takes.
    """

    name: str
    command: list[str]
    done: Callable[[], bool]
    after: tuple[str, ...] = ()
    workers: int = 1


def jobs(only: str = "") -> list[Job]:
    """All that is to be done for what was not measured yet, in order."""
    wanted = [leg for leg in legs() if leg.name.startswith(only) and stored(leg.name, leg.recipe) is None]
    plain = stored("plain", plain_recipe()) is None
    personal, end = PERSONAL.startswith(only) and not _personal_is_done(), full(0)[-1]
    if not wanted and not plain and not personal:
        return []
    needed: dict[str, Leg] = {}
    for leg in [*wanted, end] if personal and not checkpoint_of(end).exists() else wanted:
        line = [leg]
        while (parent := line[-1].parent) is not None and not checkpoint_of(parent).exists():
            line.append(parent)
        needed |= {each.name: each for each in reversed(line)}
    base = base_training.folder() / "base.safetensors"
    first = [Job(name, _job(name), lambda name=name: cached(name).exists()) for name in ENCODERS]
    first.append(Job("base", _job("base"), base.exists, tuple(ENCODERS), WORKERS))
    first.append(Job("plain", _job("plain"), lambda: stored("plain", plain_recipe()) is not None, ("base",)))
    rest = [
        Job(
            leg.name,
            _job(leg.name),
            lambda leg=leg: checkpoint_of(leg).exists() and stored(leg.name, leg.recipe) is not None,
            ("base",) if leg.parent is None else ("base", leg.parent.name),
        )
        for leg in needed.values()
    ]
    if personal:
        rest.append(Job(PERSONAL, _job(PERSONAL), _personal_is_done, ("base", end.name)))
    return first + rest


def work(todo: list[Job], deadline: float) -> bool:
    """Do jobs side by side until all are done or the time is over; whether they are.

    Raises:
        SystemExit: a job failed.
    """
    running: dict[str, subprocess.Popen] = {}
    count = 0
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    try:
        while left := [job for job in todo if job.name in running or not job.done()]:
            if told or time.monotonic() > deadline:
                return False
            names = {job.name for job in left}
            for job in left:
                busy = sum(each.workers for each in todo if each.name in running)
                if job.name not in running and not names & set(job.after) and busy + job.workers <= WORKERS:
                    running[job.name] = _start(job)
            if len(left) < count:
                write()
            count = len(left)
            time.sleep(1)
            for name in [name for name, process in running.items() if process.poll() is not None]:
                if running.pop(name).returncode:
                    raise SystemExit(f"{name} failed, see {_log(name)}")
                log.info("%s is done", name)
    except KeyboardInterrupt:
        return False
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
    return True


def _start(job: Job) -> subprocess.Popen:
    log.info("%s is begun; it tells %s", job.name, _log(job.name))
    with _log(job.name).open("ab") as out:
        return subprocess.Popen(
            [sys.executable, *job.command],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | _ENVIRONMENT,
            start_new_session=True,
        )


def _personal_is_done() -> bool:
    return stored(PERSONAL, personal_recipe()) is not None


def _job(name: str) -> list[str]:
    return ["-m", "benchmarks.toy_world.job", name]


def _log(name: str) -> Path:
    folder = cache_dir() / "toy-world-runs"
    folder.mkdir(exist_ok=True)
    return folder / f"{name}.log"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.toy_world", description=__doc__)
    parser.add_argument("--only", default="", help="legs whose name begins so: full, no-base, full-id_embed-0")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many, to go on another time")
    parser.add_argument("--report", action="store_true", help="write the report of what is measured, and nothing else")
    arguments = parser.parse_args()
    whole = arguments.report or work(jobs(arguments.only), time.monotonic() + 60 * arguments.minutes)
    log.info("The report is %s%s", write(), "" if whole else "; the same command goes on with what is left")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    main()
