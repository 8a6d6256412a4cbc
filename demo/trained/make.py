"""``make demo-models``: all that is trained, from nothing, by the commands that anybody would use.

Each step is a command that goes on where it was stopped; what is done is not done again. What comes of it replaces the
weights in the repository with ``--keep``.
"""

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from demo import face_pack
from demo.cache import cache_dir
from hyperlora_core import atomic

from . import folders

PEOPLE, PHOTOS, SEED = 3000, 2, 10
"""Of the HyperLoRA's training set; the base's pictures and those of the evaluation have other seeds."""

# glibc keeps the memory of freed tensors, instead of having the system clear it each time.
_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
}

log = logging.getLogger("demo-models")


@dataclass(frozen=True)
class Step:
    """A command.

    Attributes:
        name: of it.
        words: after ``python``.
        done: the file or folder that is there when it has come to its end.
    """

    name: str
    words: tuple[str, ...]
    done: Path

    def command(self) -> list[str]:
        """The whole command."""
        return [sys.executable, *self.words]


def steps(work: Path) -> list[Step]:
    """All of them, in order.

    Args:
        work: the folder of states and results.
    """
    part = ("-m", "demo.trained")
    people, shards = work / "people", work / "set"
    drawn = ("-m", "demo.drawn", str(people), f"--people={PEOPLE}", f"--photos={PHOTOS}", f"--seed={SEED}")
    prepare = (
        *("-m", "hyperlora_core.cli", "prepare", str(people), "--out", str(shards)),
        *("--faces", str(face_pack.face_pack()), "--person-folders", "--min-side=256", "--min-face=64"),
        *("--min-score=0.5", "--min-sharpness=0", "--workers=2"),
    )
    return [
        Step("vae", (*part, "vae"), work / "vae.safetensors"),
        Step("latents", (*part, "latents"), work / "latents.safetensors"),
        Step("base", (*part, "base"), work / "base.safetensors"),
        Step("clip", (*part, "clip"), work / "clip.safetensors"),
        Step("judge", (*part, "judge"), work / "judge.safetensors"),
        Step("people", drawn, people / f"person-{PEOPLE - 1:05d}" / f"{PHOTOS - 1}.png"),
        Step("set", prepare, shards / "dataset.json"),
    ]


def make(work: Path, deadline: float) -> bool:
    """Do what is left, until the deadline of ``time.monotonic``; whether all is done.

    Raises:
        SystemExit: a step failed.
    """
    times = work / "seconds.json"
    work.mkdir(parents=True, exist_ok=True)
    for step in steps(work):
        if step.done.exists():
            continue
        log.info("%s: %s", step.name, " ".join(step.command()))
        began = time.monotonic()
        process = subprocess.Popen(step.command(), env=os.environ | _ENVIRONMENT, start_new_session=True)
        try:
            process.wait(max(0.0, deadline - began) if deadline < float("inf") else None)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            return False
        finally:
            spent = json.loads(times.read_text()) if times.exists() else {}
            spent[step.name] = round(spent.get(step.name, 0.0) + time.monotonic() - began, 1)
            atomic.write_text(times, json.dumps(spent, indent=1) + "\n")
        if process.returncode or not step.done.exists():
            raise SystemExit(f"{step.name} failed: what it said stands above")
    return True


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m demo.trained.make", description=__doc__)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many, to go on another time")
    parser.add_argument("--keep", action="store_true", help="put what is done into the repository, in half precision")
    given = parser.parse_args()
    work = cache_dir() / "drawn-models"
    whole = make(work, time.monotonic() + 60 * given.minutes)
    if given.keep:
        folders.keep_all(work)
    log.info("%s is %s", work, "done" if whole else "not done yet; the same command goes on with what is left")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    main()
