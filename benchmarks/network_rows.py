"""Rows of the network alone: from a checkpoint, embeddings and tokens to a LoRA."""

from collections.abc import Iterator
from pathlib import Path

import torch

from hyperlora_core.network.hyperlora import HyperLoRA

from . import full_size
from .inputs import tokens
from .measure import Machine, Spread, Times, alternate, in_a_process, timed
from .once import compute_dtype
from .reference import Reference
from .rows import Row

PEOPLE = 8


def opening(folder: Path, pairs: int, device: torch.device) -> Iterator[Row]:
    """Opening, and the first LoRA, each in a process of its own."""
    runs = [tuple(in_a_process(way, str(folder), str(device)) for way in ("ours", "reference")) for _ in range(pairs)]

    def times(side: int, *stages: str) -> Times:
        wall, cpu = (tuple(sum(run[side][stage][i] for stage in stages) for run in runs) for i in (0, 1))
        return Times(wall, cpu)

    yield Row.of_times("open / reference", 0.10, times(0, "open"), times(1, "open"))
    whole = (times(side, "open", "first") for side in (0, 1))
    yield Row.of_times("open + first LoRA / reference", 0.35, *whole)
    for name, required in (("anonymous", 0.30), ("file", None)):
        sides = ([run[side][name] for run in runs] for side in (0, 1))
        label = "anonymous" if name == "anonymous" else "file-backed"
        yield Row.of_bytes(f"open + first LoRA, peak {label} memory / reference", required, *sides)


def warm(folder: Path, pairs: int, device: torch.device, host: Machine) -> Iterator[Row]:
    """Tokens to LoRA, everything loaded, against the reference and against the floor."""
    dtype = compute_dtype(device)
    network, reference = HyperLoRA.load(folder, device, dtype), Reference(folder).to(device, dtype)
    embeds, clip = (value.to(device, dtype) for value in tokens(1))

    def whole_way() -> object:
        return network.id_lora(network.id_coefficients(embeds, clip)).cpu()

    ours, other = alternate(whole_way, lambda: reference.lora(reference.coefficients(embeds, clip)), pairs, device)
    yield Row.of_times("tokens -> LoRA, warm / reference", 0.75, ours, other).explained(whole_way)
    floor = floor_seconds(network, host)
    ratios = Spread.of([seconds / floor for seconds in ours.wall])
    yield Row("tokens -> LoRA, warm / floor", 1.25, ratios, sides=f"floor {floor:.3f} s")
    coefficients = network.id_coefficients(embeds, clip).to(dtype)
    for name, ours_work, other_work in (
        ("  of it the rows", lambda: network.id_rows(embeds, clip), lambda: reference.coefficients(embeds, clip)),
        ("  of it the bases", lambda: network.id_lora(coefficients).cpu(), lambda: reference.lora(coefficients)),
    ):
        yield Row.of_times(f"{name} / reference", None, *alternate(ours_work, other_work, pairs, device))


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


def people(folder: Path, pairs: int, device: torch.device) -> Iterator[Row]:
    """Several people in one call, against one after the other."""
    dtype = compute_dtype(device)
    network = HyperLoRA.load(folder, device, dtype)
    embeds, clip = (value.to(device, dtype) for value in tokens(PEOPLE))

    def together() -> None:
        network.id_loras(network.mix(network.id_rows(embeds, clip)[:, None]))

    def apart() -> None:
        for i in range(PEOPLE):
            network.id_lora(network.id_coefficients(embeds[i : i + 1], clip[i : i + 1]))

    yield Row.of_times(
        f"{PEOPLE} people in one call / {PEOPLE} calls", 0.90, *alternate(together, apart, pairs, device)
    )
    coefficients = network.mix(network.id_rows(embeds, clip)[:, None])
    times = alternate(
        lambda: network.id_loras(coefficients), lambda: [network.id_lora(one) for one in coefficients], pairs, device
    )
    yield Row.of_times("  of it the bases alone", 0.35, *times)


def streamed(folder: Path, device: torch.device, runs: int) -> Iterator[Row]:
    """Bases that stay where they lie and go to the device leaf by leaf."""
    measured = [in_a_process("streamed", str(folder), str(device)) for _ in range(runs)]
    beyond = Spread.of([run["beyond"] / (1 << 20) for run in measured])
    sides = f"beside a result of {measured[0]['result'] / (1 << 20):.0f} MB"
    yield Row("streamed LoRA, peak beyond resampler and result", 256, beyond, "MB", sides=sides)
    error = Spread.of([run["error"] for run in measured])
    yield Row("streamed LoRA, largest difference / largest number", 1e-5, error)


def growth(device: torch.device) -> list[str]:
    """Seconds of tokens -> LoRA as photos, rank and K grow; a seventh of SDXL's attentions, for files that fit.

    For each the straight line through the points, and how much of the points' spread it leaves: 0 is a line.
    """
    dtype = compute_dtype(device)

    def seconds(photos: int = 1, rank: int = 8, bases: int = 128) -> float:
        checkpoint = full_size.checkpoint(full_size.sdxl_config(bases, rank, attentions=20))
        network = HyperLoRA.load(checkpoint, device, dtype)
        embeds, clip = (value.to(device, dtype) for value in tokens(photos))
        work = lambda: network.id_lora(network.id_coefficients(embeds, clip)).cpu()  # noqa: E731
        return min(timed(work, device)[0] for _ in range(12))

    return [
        _line(label, points)
        for label, points in (
            ("photos", [(p, seconds(photos=p)) for p in (1, 2, 4, 8)]),
            ("rank", [(r, seconds(rank=r)) for r in (4, 8, 16)]),
            ("K", [(k, seconds(bases=k)) for k in (64, 128, 256)]),
        )
    ]


def _line(label: str, points: list[tuple[int, float]]) -> str:
    x, y = (torch.tensor(side, dtype=torch.float64) for side in zip(*points, strict=True))
    design = torch.stack([torch.ones_like(x), x], dim=1)
    start, slope = torch.linalg.lstsq(design, y[:, None]).solution[:, 0]
    left = float(((y - start - slope * x) ** 2).sum() / ((y - y.mean()) ** 2).sum())
    measured = "   ".join(f"{value}: {time * 1e3:.0f} ms" for value, time in points)
    return f"{label:<7} {measured}   line: {start * 1e3:.0f} + {slope * 1e3:.2f} a step, {left:.1%} left"
