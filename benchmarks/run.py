"""``make bench``: every row of the performance table, and a JSON of them under ``benchmarks/results``.

Each ratio is of pairs of runs made in turn, so that a machine that slows down slows both.
"""

import argparse
import itertools
import json
import logging
import sys
from dataclasses import asdict

import torch

from hyperlora_core import __version__

from . import full_size, host_rows, network_rows, photo_rows, step_rows
from .measure import machine
from .once import compute_dtype
from .rows import HEADING
from .table import RESULTS, put_into_readme

PAIRS = 10

log = logging.getLogger("benchmarks.run")


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of runs, for each ratio (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument("--prompts", type=int, default=50, help="over the API (%(default)s)")
    parser.add_argument("--rows", default="", help="a part of the name of what is measured, to measure less")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    device, pairs = torch.device(options.device), options.pairs
    if device.type == "cuda" and not torch.cuda.is_available():
        log.error("DEVICE=%s, but torch finds no such GPU here", options.device)
        return 1
    folder = full_size.checkpoint(full_size.sdxl_config())
    few = max(3, pairs // 3)
    measurements = {
        "opening": lambda: network_rows.opening(folder, pairs, device),
        "warm": lambda: network_rows.warm(folder, pairs, device, host),
        "people": lambda: network_rows.people(folder, pairs, device),
        "photos": lambda: photo_rows.photo_to_lora(folder, pairs, device),
        "faces": photo_rows.one_pass,
        "streamed": lambda: network_rows.streamed(folder, device, few),
        "apply": lambda: host_rows.applying(pairs, device),
        "steps": lambda: step_rows.steps(pairs, device),
        "queue": lambda: host_rows.queue(options.prompts),
    }
    with torch.inference_mode():
        host = machine(device, compute_dtype(device))
        log.info("%s: %.0f GFLOP/s, %.1f GB/s, %d threads", host.name, host.gflops, host.bandwidth, host.threads)
        log.info("%s", HEADING)
        rows = []
        chosen = [measure for name, measure in measurements.items() if options.rows in name]
        for row in itertools.chain.from_iterable(measure() for measure in chosen):
            log.info("%s", row)
            rows.append(row)
        if options.rows:
            return 0
        lines = network_rows.growth(device)
    log.info("growth of tokens -> LoRA, 20 attentions:\n  %s", "\n  ".join(lines))
    RESULTS.mkdir(exist_ok=True)
    result = {"version": __version__, "machine": asdict(host), "rows": [asdict(row) for row in rows], "growth": lines}
    (RESULTS / f"{device.type}.json").write_text(json.dumps(result, indent=1) + "\n")
    if device.type == "cpu":
        put_into_readme()
    return 0


if __name__ == "__main__":
    sys.exit(main())
