"""``make bench``: every row of the performance table, and a JSON of them under ``benchmarks/results``.

Each ratio is of pairs of runs made in turn, so that a machine that slows down slows both.
"""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from hyperlora_core import __version__
from hyperlora_core.network.hyperlora import HyperLoRA

from . import full_size
from .inputs import tokens
from .measure import Machine, Ratio, alternate, as_json, in_a_process, machine, timed
from .reference import Reference

RESULTS = Path(__file__).parent / "results"
PAIRS = 10
PEOPLE = 8

log = logging.getLogger("benchmarks.run")


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: what is measured.
        required: the largest ratio allowed; None where it is printed alone.
        ratio: what came out.
        cpu: the same of CPU seconds, where it is known.
        unit: of the two medians.
    """

    name: str
    required: float | None
    ratio: Ratio
    cpu: Ratio | None = None
    unit: str = "s"

    def __str__(self) -> str:
        verdict = "" if self.required is None else ("ok" if self.ratio.median <= self.required else "SHORT")
        required = "" if self.required is None else f"<= {self.required:.2f}"
        spread = f"{self.ratio.low:.3f} .. {self.ratio.high:.3f}"
        cpu = f"{self.cpu.median:.3f}" if self.cpu else ""
        scale = {"s": 1.0, "MB": 1e-6}[self.unit]
        sides = f"{self.ratio.ours * scale:.3f} / {self.ratio.other * scale:.3f} {self.unit}"
        return f"{self.name:<52} {self.ratio.median:>7.3f}  {spread:<16} {cpu:>7}  {required:<8} {verdict:<6} {sides}"


HEADING = f"{'row':<52} {'ratio':>7}  {'quartiles':<16} {'CPU':>7}  {'required':<8} {'':<6} ours / other"


def opening(folder: Path, pairs: int) -> Iterator[Row]:
    """Opening, and the first LoRA, each in a process of its own."""
    runs = [(in_a_process("ours", str(folder)), in_a_process("reference", str(folder))) for _ in range(pairs)]

    def ratio(value: Callable[[dict], float]) -> Ratio:
        return Ratio.of(tuple(value(ours) for ours, _ in runs), tuple(value(other) for _, other in runs))

    yield Row("open / reference", 0.10, ratio(lambda r: r["open"][0]), ratio(lambda r: r["open"][1]))
    whole, whole_cpu = (ratio(lambda r, i=i: r["open"][i] + r["first"][i]) for i in (0, 1))
    yield Row("open + first LoRA / reference", 0.35, whole, whole_cpu)
    yield Row("open + first LoRA, peak anonymous / reference", 0.30, ratio(lambda r: r["anonymous"]), unit="MB")
    yield Row("open + first LoRA, peak file-backed / reference", None, ratio(lambda r: r["file"]), unit="MB")


def warm(folder: Path, pairs: int, host: Machine) -> Iterator[Row]:
    """Tokens to LoRA, everything loaded, against the reference and against the floor."""
    network, reference = HyperLoRA.load(folder), Reference(folder)
    embeds, clip = tokens(1)
    ours, other = alternate(
        lambda: network.id_lora(network.id_coefficients(embeds, clip)),
        lambda: reference.lora(reference.coefficients(embeds, clip)),
        pairs,
    )
    yield Row("tokens -> LoRA, warm / reference", 0.75, Ratio.of(ours.wall, other.wall), Ratio.of(ours.cpu, other.cpu))
    floor = (floor_seconds(network, host),) * pairs
    yield Row("tokens -> LoRA, warm / floor", 1.25, Ratio.of(ours.wall, floor))
    coefficients = network.id_coefficients(embeds, clip)
    for name, ours_work, other_work in (
        ("  of it the rows", lambda: network.id_rows(embeds, clip), lambda: reference.coefficients(embeds, clip)),
        ("  of it the bases", lambda: network.id_lora(coefficients), lambda: reference.lora(coefficients)),
    ):
        ours, other = alternate(ours_work, other_work, pairs)
        yield Row(f"{name} / reference", None, Ratio.of(ours.wall, other.wall), Ratio.of(ours.cpu, other.cpu))


def floor_seconds(network: HyperLoRA, host: Machine) -> float:
    """The least that one photo can take here: its matrix products at the measured rate, its weights read once."""
    config, resampler = network.config, network.config.id_resampler
    n, dim, inner = resampler.queries, resampler.dim, resampler.heads * resampler.head_dim
    contexts = (config.id_tokens, 257)
    own = 4 * n * dim * inner + 2 * n * n * inner
    looks = sum(2 * n * dim * inner + 2 * t * dim * inner + 2 * n * t * inner for t in contexts)
    products = resampler.depth * (own + looks + 2 * n * dim * dim * resampler.ff_mult) - own
    products += (
        sum(t * w * dim for t, w in zip(contexts, resampler.condition_dims, strict=True)) + n * dim * config.basis_size
    )
    read = sum(parameter.nbytes for parameter in network.parameters())
    return 2 * products / host.gflops / 1e9 + read / host.bandwidth / 1e9


def people(folder: Path, pairs: int) -> Iterator[Row]:
    """Several people in one call, against one after the other."""
    network = HyperLoRA.load(folder)
    embeds, clip = tokens(PEOPLE)

    def together() -> None:
        network.id_loras(network.mix(network.id_rows(embeds, clip)[:, None]))

    def apart() -> None:
        for i in range(PEOPLE):
            network.id_lora(network.id_coefficients(embeds[i : i + 1], clip[i : i + 1]))

    ours, other = alternate(together, apart, pairs)
    yield Row(
        f"{PEOPLE} people in one call / {PEOPLE} calls",
        0.90,
        Ratio.of(ours.wall, other.wall),
        Ratio.of(ours.cpu, other.cpu),
    )
    coefficients = network.mix(network.id_rows(embeds, clip)[:, None])
    ours, other = alternate(
        lambda: network.id_loras(coefficients), lambda: [network.id_lora(one) for one in coefficients], pairs
    )
    yield Row("  of it the bases alone", 0.35, Ratio.of(ours.wall, other.wall), Ratio.of(ours.cpu, other.cpu))


def growth() -> list[str]:
    """Seconds of tokens -> LoRA as photos, rank and K grow; a seventh of SDXL's attentions, for files that fit."""
    lines = []

    def seconds(photos: int = 1, rank: int = 8, bases: int = 128) -> float:
        network = HyperLoRA.load(full_size.checkpoint(full_size.sdxl_config(bases, rank, attentions=20)))
        embeds, clip = tokens(photos)
        return min(timed(lambda: network.id_lora(network.id_coefficients(embeds, clip)))[0] for _ in range(6))

    for label, values in (
        ("photos", [(p, seconds(photos=p)) for p in (1, 2, 4, 8)]),
        ("rank", [(r, seconds(rank=r)) for r in (4, 8, 16)]),
        ("K", [(k, seconds(bases=k)) for k in (64, 128, 256)]),
    ):
        lines.append(f"{label:<7} " + "   ".join(f"{value}: {time * 1e3:.0f} ms" for value, time in values))
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    folder = full_size.checkpoint(full_size.sdxl_config())
    host = machine()
    log.info("%s: %.0f GFLOP/s, %.1f GB/s, %d threads", host.name, host.gflops, host.bandwidth, host.threads)
    log.info("%s", HEADING)
    rows = []
    with torch.inference_mode():
        for row in (
            row
            for rows_of in (
                opening(folder, options.pairs),
                warm(folder, options.pairs, host),
                people(folder, max(3, options.pairs // 3)),
            )
            for row in rows_of
        ):
            log.info("%s", row)
            rows.append(row)
        lines = growth()
    log.info("growth, tokens -> LoRA, 20 attentions\n  %s", "\n  ".join(lines))
    RESULTS.mkdir(exist_ok=True)
    result = {"version": __version__, "machine": as_json(host), "rows": [as_json(row) for row in rows], "growth": lines}
    (RESULTS / "cpu.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
