"""``python -m demo.shown``: draw, measure, and write the table beside the weights."""

import argparse
import inspect
import logging
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from demo.server import ComfyServer
from demo.trained import folders
from hyperlora_core.evaluation.statistics import LEVEL
from hyperlora_core.files import atomic

from . import material, results, world
from .results import Measured, Results
from .studies import STUDIES
from .studio import SAMPLING, SIZE, Studio, kept_pictures

log = logging.getLogger("demo.shown")


def table(scores: Results) -> str:
    """The whole text."""
    lines = [
        "# What the demo's models draw",
        "",
        "By `make demo-results`, which draws through a real ComfyUI server with the example workflows: "
        f"{SIZE} x {SIZE} pixels, {SAMPLING['steps']} steps, CFG {SAMPLING['cfg']:g}, {world.PEOPLE} people that no "
        f"training saw. An interval holds the mean over people at {LEVEL:.0%}. Likeness is the cosine of the stand-in "
        "models' embeddings with another photo of the person than the one that was given: two photos of one person "
        f"have {scores.same:.2f} on average, of two people {scores.other:.2f}; a picture without a face counts 0. "
        "Scenes are read by the judge, a small network that learned on drawings alone.",
    ]
    for name, study in STUDIES.items():
        lines += ["", f"## {name.capitalize()}", "", inspect.getdoc(study) or ""]
        if name not in scores.studies:
            lines[-1] += " Not measured of these weights yet."
            continue
        measured = scores.studies[name]
        lines[-1] += f" ({measured.seconds:.0f} s)"
        lines += ["", "| | mean | interval | people | wanted | met |", "|---|--:|--:|--:|--:|--:|"]
        lines += map(str, measured.rows)
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m demo.shown", description=__doc__)
    names = ", ".join(STUDIES)
    parser.add_argument("--only", default="", help=f"some of {names}, between commas; the others stay as they are")
    args = parser.parse_args()
    selected = [name.strip() for name in args.only.split(",") if name.strip()] or list(STUDIES)
    if unknown := [name for name in selected if name not in STUDIES]:
        parser.error(f"there is no study {unknown[0]!r}: one of {names} was expected")
    scores = results.read() or Results(*material.photos_themselves())
    with tempfile.TemporaryDirectory() as base, ComfyServer(Path(base), folders.models()) as server:
        studio = Studio(server, kept_pictures())
        for name in selected:
            began = time.monotonic()
            rows = STUDIES[name](studio)
            measured = Measured(round(time.monotonic() - began, 1), rows)
            log.info("%s, %.0f s\n%s", name, measured.seconds, "\n".join(map(str, rows)))
            scores = replace(scores, studies={**scores.studies, name: measured})
            scores.write()
            atomic.write_text(results.TABLE, table(scores))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    main()
