"""Measuring two ways of doing one thing in alternation, and what the machine itself can do."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

Work = Callable[[], object]


@dataclass(frozen=True)
class Times:
    """Seconds of repeated runs.

    Attributes:
        wall: of the clock, each run.
        cpu: of all the process's threads, each run.
    """

    wall: tuple[float, ...]
    cpu: tuple[float, ...]


@dataclass(frozen=True)
class Ratio:
    """Ours over something else, of pairs of runs.

    Attributes:
        median: of the pairs' ratios.
        low: their lower quartile.
        high: their upper quartile.
        ours: median seconds (or bytes) of ours.
        other: median seconds (or bytes) of the other.
    """

    median: float
    low: float
    high: float
    ours: float
    other: float

    @classmethod
    def of(cls, ours: tuple[float, ...], other: tuple[float, ...]) -> "Ratio":
        """Of runs that were made in pairs."""
        ratios = [a / b for a, b in zip(ours, other, strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        return cls(median, low, high, statistics.median(ours), statistics.median(other))


def timed(work: Work) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def alternate(ours: Work, other: Work, pairs: int) -> tuple[Times, Times]:
    """Run both once, then in turn."""
    ours(), other()
    runs = [(timed(ours), timed(other)) for _ in range(pairs)]
    return tuple(Times(*zip(*(pair[i] for pair in runs), strict=True)) for i in (0, 1))  # type: ignore[return-value]


@dataclass(frozen=True)
class Machine:
    """What the machine can do, measured in this run.

    Attributes:
        name: of the processor.
        threads: that torch computes with.
        gflops: single-precision matrix products, 1e9 operations a second.
        bandwidth: reading memory, 1e9 bytes a second.
    """

    name: str
    threads: int
    gflops: float
    bandwidth: float


def machine() -> Machine:
    """Measure the machine: the best of several runs, for a floor has to be one."""
    side = 3072
    one, other = torch.randn(side, side), torch.randn(side, side)
    product = min(timed(lambda: one @ other)[0] for _ in range(10))
    numbers = torch.ones(256 << 20)
    reading = min(timed(numbers.sum)[0] for _ in range(10))
    return Machine(_processor(), torch.get_num_threads(), 2 * side**3 / product / 1e9, numbers.nbytes / reading / 1e9)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def in_a_process(*arguments: str) -> dict[str, float]:
    """Run ``benchmarks.once`` in a process of its own; what it measured."""
    command = [sys.executable, "-m", "benchmarks.once", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def as_json(value: object) -> object:
    """A dataclass as JSON takes it."""
    return asdict(value)  # type: ignore[call-overload]
