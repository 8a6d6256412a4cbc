"""Preparations as a user runs them: in this process, or in one of its own that can be killed with all its workers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from hyperlora_core.cli import main

OF_THE_SET = ("*.tar", "*.json", "report.html")


def command(source: Path, out: Path, faces: Path, *more: str) -> list[str]:
    """After ``hyperlora``."""
    return ["prepare", str(source), "--out", str(out), "--faces", str(faces), *more]


def prepare(source: Path, out: Path, faces: Path, *more: str) -> int:
    """Run it in this process; the exit code."""
    return main(command(source, out, faces, *more))


def files(out: Path) -> dict[str, bytes]:
    """All that a set consists of."""
    return {path.name: path.read_bytes() for pattern in OF_THE_SET for path in sorted(out.glob(pattern))}


class Run:
    """A process of its own.

    Args:
        arguments: after ``hyperlora``, or of another module.
        log: of what it says.
        module: that is run.
    """

    def __init__(self, arguments: Sequence[str], log: Path, module: str = "hyperlora_core.cli") -> None:
        self.log = log
        with log.open("a") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdout=file,
                stderr=file,
                env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
                start_new_session=True,
            )

    def wait(self, timeout: float = 300) -> int:
        """Its exit code; one that takes too long is killed."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def family(self) -> list[psutil.Process]:
        """It, and all that it began."""
        try:
            own = psutil.Process(self.process.pid)
            return [own, *own.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def workers(self) -> list[psutil.Process]:
        """Those that look at pictures, or write shards."""
        found = []
        for process in self.family():
            try:
                if "Map(" in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def kill(self) -> None:
        """SIGKILL to all of them at once."""
        family = self.family()
        for process in family:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(family, timeout=20)
        self.process.wait(20)

    def wait_until(self, condition: Callable[[], object], timeout: float = 200) -> None:
        """Wait for something to be so while it runs.

        Raises:
            AssertionError: it ended before, or it took too long and was killed.
        """
        since = time.monotonic()
        while not condition():
            assert self.process.poll() is None, f"it ended before: {self.log.read_text()}"
            if time.monotonic() - since > timeout:
                self.kill()
                raise AssertionError(f"it took too long: {self.log.read_text()}")
            time.sleep(0.01)
