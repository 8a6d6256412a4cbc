"""``python -m demo.shown``: draw, measure, and write the table beside the weights."""

import argparse
import json
import logging
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from demo.server import ComfyServer
from demo.trained import folders
from hyperlora_core import atomic
from hyperlora_core.evaluation.statistics import LEVEL, Difference

from . import material, studies, world
from .results import NUMBERS, TABLE
from .rows import Row
from .studio import SAMPLING, SIZE, Studio, kept_pictures

log = logging.getLogger("demo.shown")


def written(row: Row) -> str:
    """A row as the table has it."""
    found = row.found

    def number(value: float | None) -> str:
        if value is None:
            return "?"
        return f"{value:.0%}" if row.share else f"{value:+.3f}" if isinstance(found, Difference) else f"{value:.2f}"

    met = {True: "yes", False: "**no**", None: ""}[row.met]
    interval = f"{number(found.low)} .. {number(found.high)}"
    return f"| {row.what} | {number(found.mean)} | {interval} | {found.people} | {row.wanted} | {met} |"


def table(found: dict[str, list[Row]], seconds: dict[str, float]) -> str:
    """The whole text."""
    same, other = material.photos_themselves()
    lines = [
        "# What the demo's models draw",
        "",
        "By `make demo-results`, which draws through a real ComfyUI server with the example workflows: "
        f"{SIZE} x {SIZE} pixels, {SAMPLING['steps']} steps, CFG {SAMPLING['cfg']:g}, {world.PEOPLE} people that no "
        f"training saw. An interval holds the mean over people at {LEVEL:.0%}. Likeness is the cosine of the stand-in "
        "models' embeddings with another photo of the person than the one that was given: two photos of one person "
        f"have {same:.2f} on average, of two people {other:.2f}; a picture without a face counts 0. Scenes are read by "
        "the judge, a small network that learned on drawings alone.",
    ]
    for name, rows in found.items():
        lines += [
            "",
            f"## {name.capitalize()}",
            "",
            f"{(studies.STUDIES[name].__doc__ or '').strip()} ({seconds[name]:.0f} s)",
        ]
        lines += ["", "| | mean | interval | people | wanted | met |", "|---|--:|--:|--:|--:|--:|", *map(written, rows)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m demo.shown", description=__doc__)
    parser.add_argument(
        "--only", default="", help=f"some of {', '.join(studies.STUDIES)}, between commas; writes nothing"
    )
    given = parser.parse_args()
    chosen = [name.strip() for name in given.only.split(",") if name.strip()] or list(studies.STUDIES)
    found, seconds = {}, {}
    with tempfile.TemporaryDirectory() as base, ComfyServer(Path(base), folders.models()) as server:
        studio = Studio(server, kept_pictures())
        for name in chosen:
            began = time.monotonic()
            found[name] = studies.STUDIES[name](studio)
            seconds[name] = time.monotonic() - began
            log.info("%s, %.0f s\n%s", name, seconds[name], "\n".join(map(written, found[name])))
    if not given.only:
        same, other = material.photos_themselves()
        told: dict[str, object] = {"photos of one person": same, "of two": other}
        told |= {name: [asdict(row) for row in rows] for name, rows in found.items()}
        atomic.write_text(NUMBERS, json.dumps(told, indent=1) + "\n")
        atomic.write_text(TABLE, table(found, seconds))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    main()
