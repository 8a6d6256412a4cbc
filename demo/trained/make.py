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
from hyperlora_core.files import atomic

from . import folders, tutorial
from .clip import WIDTH as CLIP_WIDTH

PEOPLE, PHOTOS, SEED = 2000, 2, 10
"""Of the HyperLoRA's training set; the base's pictures and those of the evaluation have other seeds."""

TRAINED = (
    *(
        "--resolution=128",
        "--smallest-crop=1",
        "--photo-cache=4000",
        "--latent-cache=200",
        "--mixed-precision=no",
        "--workers=0",
    ),
    *("--no-gradient-checkpointing", "--samples-per-step=32", "--batch=32", "--save-every=200"),
    *(
        "--optimization.learning-rate=5e-4",
        "--optimization.bases-learning-rate=2e-3",
        "--optimization.warmup=50",
        "--optimization.ema=0.995",
        "--shape.bases=24",
        "--shape.id-rank=4",
        "--shape.base-rank=1",
        "--shape.dim=128",
    ),
    *("--shape.heads=2", "--shape.depth=1", "--shape.id-tokens=8", f"--shape.clip-width={CLIP_WIDTH}"),
    *("--validation.people=100", "--validation.every=1000", "--validation.portraits=24"),
)
"""What all three stages are told. Four times the rates learned half as much of the ID-LoRA in 200 steps."""

_ID = (
    "--other-photo",
    "--face-weight=4",
    # the paper's run of thirty million samples draws one in twenty without the Base-LoRA: here so few would be nothing
    *("--scenarios.0.share=0.2", "--scenarios.1.share=0.8", "--scenarios.2.share=0"),
)
_ALL_OF_ID = ("id_bases", "queries", "self_attention", "clip_input", "clip_attention", "feed_forward", "output")
STEPS = {"base": 700, "id_clip": 400, "id_embed": 1800}
STAGES = {
    # what captions say, the Base-LoRA need not learn
    "base": ("--caption-dropout=0.9",),
    "id_clip": _ID,
    "id_embed": (*_ID, "--also-train", *_ALL_OF_ID),
}
"""What each stage is told. The last trains all of the ID-LoRA: the stage before is too short to be done with it."""

# Threads that wait for one another soon sleep: else whatever else the machine does stops them all. And glibc keeps
# the memory of freed tensors, instead of having the system clear it each time.
_ENVIRONMENT = {
    "GOMP_SPINCOUNT": "20000",
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
    """

    name: str
    words: tuple[str, ...]


def steps(work: Path) -> list[Step]:
    """All of them, in order.

    Args:
        work: the folder of states and results.
    """
    faces, people, shards = str(face_pack.face_pack()), str(work / "people"), str(work / "set")
    drawn = ("-m", "demo.drawn", people, f"--people={PEOPLE}", f"--photos={PHOTOS}", f"--seed={SEED}")
    prepare = (
        *("-m", "hyperlora_core.cli", "prepare", people, "--out", shards, "--faces", faces, "--person-folders"),
        *("--min-side=256", "--min-face=64", "--min-score=0.5", "--min-sharpness=0", "--workers=2"),
    )
    inputs = (
        *("--base", str(work / "diffusers"), "--data", shards, "--clip", str(work / "clip_vision.safetensors")),
        *(f"--validation.faces={faces}", *TRAINED),
    )

    def part(name: str) -> Step:
        return Step(name, ("-m", "demo.trained", name))

    parts = [part(name) for name in ("vae", "latents", "base", "clip", "judge")]
    stages, start = [], ()
    for stage, own in STAGES.items():
        out = work / "runs" / stage
        length = (f"--steps={STEPS[stage]}", f"--sample-every={STEPS[stage]}")
        words = ("-m", "hyperlora_core.training", stage, "--out", str(out), *inputs, *length, *own, *start)
        stages.append(Step(f"hyperlora {stage}", words))
        start = ("--start", str(out / "hyperlora"))
    return [*parts, Step("people", drawn), Step("set", prepare), part("decoder"), part("diffusers"), *stages]


def make(work: Path, deadline: float) -> bool:
    """Do what is left, until the deadline of ``time.monotonic``; whether all is done.

    Raises:
        SystemExit: a step failed.
    """
    marks, times = work / "done", work / "seconds.json"
    marks.mkdir(parents=True, exist_ok=True)
    for step in steps(work):
        if (marks / step.name).exists():
            continue
        command = [sys.executable, *step.words]
        log.info("%s: %s", step.name, " ".join(command))
        began = time.monotonic()
        process = subprocess.Popen(command, env=os.environ | _ENVIRONMENT, start_new_session=True)
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
        if process.returncode:
            raise SystemExit(f"{step.name} failed: what it said stands above")
        (marks / step.name).touch()
    return True


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m demo.trained.make", description=__doc__)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many, to go on another time")
    parser.add_argument("--keep", action="store_true", help="put what is done into the repository, in half precision")
    args = parser.parse_args()
    work = cache_dir() / "drawn-models"
    complete = make(work, time.monotonic() + 60 * args.minutes)
    if args.keep:
        folders.keep_all(work)
        if complete:
            tutorial.write(work)
    log.info("%s is %s", work, "done" if complete else "not done yet; the same command goes on with what is left")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    main()
