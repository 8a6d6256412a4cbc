"""Measuring two ways of doing one thing in alternation, and what the machine itself can do."""

import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Work = Callable[[], object]

_SHOWN = 6


@dataclass(frozen=True)
class Times:
    """Seconds of repeated runs.

    Attributes:
        wall: of the clock, each run; on a GPU, of its own events.
        cpu: of all the process's threads, each run.
    """

    wall: tuple[float, ...]
    cpu: tuple[float, ...]


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of repeated runs."""
        low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else [*values] * 3
        return cls(median, low, high)

    @classmethod
    def of_ratios(cls, ours: Sequence[float], other: Sequence[float]) -> "Spread":
        """Ours over the other, of runs that were made in pairs."""
        return cls.of([a / b for a, b in zip(ours, other, strict=True)])


def timed(work: Work, device: torch.device) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    wall, cpu = time.perf_counter(), time.process_time()
    if device.type != "cuda":
        work()
        return time.perf_counter() - wall, time.process_time() - cpu
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    begin.record()
    work()
    end.record()
    torch.cuda.synchronize(device)
    return begin.elapsed_time(end) / 1e3, time.process_time() - cpu


def alternate(ours: Work, other: Work, pairs: int, device: torch.device) -> tuple[Times, Times]:
    """Run both once, then in turn."""
    ours(), other()
    runs = [(timed(ours, device), timed(other, device)) for _ in range(pairs)]
    return tuple(Times(*zip(*(pair[i] for pair in runs), strict=True)) for i in (0, 1))  # type: ignore[return-value]


def profile(work: Work) -> tuple[str, ...]:
    """The operations that take the most of a run's time, and their shares."""
    with torch.profiler.profile(activities=list(torch.profiler.supported_activities())) as profiler:
        work()
    events = sorted(profiler.key_averages(), key=_own_time, reverse=True)
    whole = sum(map(_own_time, events))
    return tuple(
        f"{_own_time(event) / whole:6.1%} {event.key}, {event.count} times, {_own_time(event) / 1e3:.0f} ms"
        for event in events[:_SHOWN]
    )


def _own_time(event: Any) -> float:
    """Microseconds, of the GPU where there is one."""
    return event.self_device_time_total or event.self_cpu_time_total


@dataclass(frozen=True)
class Machine:
    """What the machine can do, measured in this run.

    Attributes:
        name: of the processor, or of the GPU.
        threads: that torch computes with on the CPU.
        gflops: matrix products in the type computed in, 1e9 operations a second.
        bandwidth: reading memory, 1e9 bytes a second.
    """

    name: str
    threads: int
    gflops: float
    bandwidth: float


def machine(device: torch.device, dtype: torch.dtype) -> Machine:
    """Measure the machine: the best of several runs, for a floor has to be one."""
    side = 3072
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    product = min(timed(lambda: one @ other, device)[0] for _ in range(10))
    numbers = torch.ones(256 << 20, device=device)
    reading = min(timed(numbers.sum, device)[0] for _ in range(10))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return Machine(name, torch.get_num_threads(), 2 * side**3 / product / 1e9, numbers.nbytes / reading / 1e9)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def in_a_process(*arguments: str) -> dict[str, float]:
    """Run ``benchmarks.once`` in a process of its own; what it measured."""
    command = [sys.executable, "-m", "benchmarks.once", *arguments]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def resident(pid: int | str = "self") -> dict[str, int]:
    """A process's memory in bytes: ``VmRSS`` of ``RssAnon`` and ``RssFile``. Linux alone tells."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon", "RssFile")}


class PeakMemory(threading.Thread):
    """Watches this process's memory while it is entered.

    Attributes:
        anonymous: the most that was not of files, in bytes.
        file: the most that was of files.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.anonymous = self.file = 0
        self._done = threading.Event()

    def run(self) -> None:
        """Look every two milliseconds."""
        while not self._done.is_set():
            self._look()
            time.sleep(0.002)

    def _look(self) -> None:
        now = resident()
        self.anonymous, self.file = max(self.anonymous, now["RssAnon"]), max(self.file, now["RssFile"])

    def __enter__(self) -> "PeakMemory":
        self._look()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()
        self._look()
