"""``make bench``: every row of the performance table, and a JSON of them under ``benchmarks/results``.

Each ratio is of pairs of runs made in turn, so that a machine that slows down slows both.
"""

import argparse
import json
import logging
import multiprocessing
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import torch

from hyperlora_core import __version__

from . import full_size, host_rows, network_rows, photo_rows, step_rows, training_rows
from .measure import Machine, machine
from .once import compute_dtype
from .rows import HEADING, Row
from .table import RESULTS, put_into_document

PAIRS = 10
PARTS: dict[str, Callable[[Path, torch.device, int, int, Machine], Iterable[Row]]] = {
    "opening": lambda folder, device, pairs, prompts, host: network_rows.opening(folder, pairs, device),
    "warm": lambda folder, device, pairs, prompts, host: network_rows.warm(folder, pairs, device, host),
    "people": lambda folder, device, pairs, prompts, host: network_rows.people(folder, pairs, device),
    "photos": lambda folder, device, pairs, prompts, host: photo_rows.photo_to_lora(folder, pairs, device),
    "faces": lambda folder, device, pairs, prompts, host: photo_rows.one_pass(),
    "streamed": lambda folder, device, pairs, prompts, host: network_rows.streamed(folder, device, max(3, pairs // 3)),
    "apply": lambda folder, device, pairs, prompts, host: host_rows.applying(pairs, device),
    "steps": lambda folder, device, pairs, prompts, host: step_rows.steps(pairs, device),
    "prompts": lambda folder, device, pairs, prompts, host: step_rows.prompts(pairs, device),
    "training": lambda folder, device, pairs, prompts, host: training_rows.passes(pairs, device),
    "queue": lambda folder, device, pairs, prompts, host: host_rows.queue(prompts),
}

log = logging.getLogger("benchmarks")


def measure(part: str, device: torch.device, pairs: int, prompts: int, host: Machine) -> list[Row]:
    """Measure one of ``PARTS``, and print its rows as they come."""
    _log_to_stdout()
    rows = []
    with torch.inference_mode():
        for row in PARTS[part](full_size.checkpoint(full_size.sdxl_config()), device, pairs, prompts, host):
            log.info("%s", row)
            rows.append(row)
    return rows


def _log_to_stdout() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    log.setLevel(logging.INFO)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of runs, for each ratio (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument("--prompts", type=int, default=50, help="over the API (%(default)s)")
    parser.add_argument("--rows", default="", help="a part of the name of what is measured, to measure less")
    options = parser.parse_args(arguments)
    _log_to_stdout()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        log.error("DEVICE=%s, but torch finds no such GPU here", options.device)
        return 1
    full_size.checkpoint(full_size.sdxl_config())
    with torch.inference_mode():
        host = machine(device, compute_dtype(device))
    log.info("%s: %.0f GFLOP/s, %.1f GB/s, %d threads", host.name, host.gflops, host.bandwidth, host.threads)
    log.info("%s", HEADING)
    rows = []
    for part in (part for part in PARTS if options.rows in part):
        # a process each: what one part held would be missing to the next, and full-size SDXL needs nearly all
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            rows += process.submit(measure, part, device, options.pairs, options.prompts, host).result()
    if options.rows:
        return 0
    with torch.inference_mode():
        lines = network_rows.growth(device)
    log.info("growth of tokens -> LoRA, 20 attentions:\n  %s", "\n  ".join(lines))
    RESULTS.mkdir(exist_ok=True)
    result = {"version": __version__, "machine": asdict(host), "rows": [asdict(row) for row in rows], "growth": lines}
    (RESULTS / f"{device.type}.json").write_text(json.dumps(result, indent=1) + "\n")
    if device.type == "cpu":
        put_into_document()
    return 0


if __name__ == "__main__":
    sys.exit(main())
