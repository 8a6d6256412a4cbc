"""What a leg is measured by: pictures of people drawn in several ways, and what is read off them."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hyperlora_core.files import atomic
from hyperlora_core.network.hyperlora import HyperLoRA
from hyperlora_core.training.forward import Conditions

from . import base_training
from .encoders import Judge
from .people import People, people
from .readings import Reading
from .recipe import recipe_hash
from .runs import checkpoint_of, folder_of, losses_of
from .sampling import draw_plain, draw_with, without
from .task import World
from .variants import Leg
from .words import captions, middles, person_only, prompts
from .world import scenes

RESULTS = Path(__file__).parents[1] / "results" / "toy_world"
COUNT = 128
STRENGTHS = (0.25, 0.5, 0.75, 1.2)
PICTURES = "pictures.npz"
_FIRST = 12  # people whose pictures are kept for figures

log = logging.getLogger(__name__)

Pictures = Iterator[tuple[str, Callable[[], Tensor]]]


def stored(name: str, recipe: str, results: Path = RESULTS) -> dict | None:
    """What was measured by this name, where it was by this recipe."""
    path = results / f"{name}.json"
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if found["recipe"] == recipe else None


def store(name: str, found: dict, results: Path = RESULTS) -> None:
    """Write it, whole or not at all: a line for each of its parts."""
    results.mkdir(parents=True, exist_ok=True)
    lines = [f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in found.items()]
    atomic.write_text(results / f"{name}.json", "{\n" + ",\n".join(lines) + "\n}\n")


def plain_recipe() -> str:
    """Of what is measured of the base alone."""
    sources = ("world.py", "words.py", "base.py", "encoders.py", "people.py", "sampling.py")
    return recipe_hash(sources, base_training.Recipe())


def measure_plain(parts: World, reader: Judge, count: int = COUNT, results: Path = RESULTS) -> None:
    """Measure the base without any LoRA, what it makes of words for a person, and the judge on real pictures."""
    some = people(count)
    said = torch.ones(count, dtype=torch.bool)
    plain = prompts(some.background, some.clothing, said, ~said)
    scene = scenes(torch.full((count, 14), 0.5))
    told = captions(some.identity, scene, person_only(count))
    ways = {
        "real": some.references[:, 1],
        "none": draw_plain(parts.base, plain, some.noise),
        "none, unprompted": draw_plain(parts.base, torch.zeros_like(plain), some.noise),
        "words of the person": draw_plain(parts.base, torch.where(told > 0, told, plain), some.noise),
    }
    _keep(base_training.folder(), ways)
    found = {"recipe": plain_recipe(), "people": count}
    found["middles"] = np.round(middles(some.identity).numpy().astype(float), 2).tolist()
    store("plain", found | {name: Reading.of(pictures, reader).to_json() for name, pictures in ways.items()}, results)


def measure(leg: Leg, parts: World, reader: Judge, count: int = COUNT, results: Path = RESULTS) -> None:
    """Measure a leg's HyperLoRA."""
    network = HyperLoRA.load(checkpoint_of(leg))
    ways: dict[str, Tensor] = {}
    for name, pictures in ways_of(leg, network, parts, people(count)):
        log.info("%s: drawing %r", leg.name, name)
        ways[name] = pictures()
    _keep(folder_of(leg), ways)
    found = {"recipe": leg.recipe, "people": count, "steps": leg.all_steps} | losses_of(leg)
    store(leg.name, found | {name: Reading.of(pictures, reader).to_json() for name, pictures in ways.items()}, results)


def ways_of(leg: Leg, network: HyperLoRA, parts: World, some: People) -> Pictures:
    """The ways in which a leg's HyperLoRA is drawn with: their names, and the pictures of all people."""
    count = len(some.identity)
    said = torch.ones(count, dtype=torch.bool)
    is_id = leg.stage != "base"
    prompted = prompts(some.background, some.clothing, said, said if is_id else ~said)
    unprompted = prompts(some.background, some.clothing, ~said, said if is_id else ~said)

    def drawn(
        words: Tensor, id_on: float = 0, base_on: float = 0, refs: int = 1, off: str = "", swapped: bool = False
    ) -> Callable[[], Tensor]:
        def pictures() -> Tensor:
            conditions = conditions_of(parts, some, id_on, base_on, refs)
            if swapped:
                conditions = Conditions(**vars(conditions) | {"clip_tokens": conditions.clip_tokens.roll(1, dims=0)})
            with without(network, off) if off else nullcontext():
                return draw_with(parts.base, network, conditions, words, some.noise)

        return pictures

    if not is_id:
        yield "base", drawn(prompted, base_on=1)
        yield "base, unprompted", drawn(unprompted, base_on=1)
        return
    yield "id", drawn(prompted, id_on=1)
    yield "id, unprompted", drawn(unprompted, id_on=1)
    if leg.with_base:
        yield "id + base", drawn(prompted, id_on=1, base_on=1)
        yield "id + base, unprompted", drawn(unprompted, id_on=1, base_on=1)
    yield "id, CLIP off", drawn(prompted, id_on=1, off="attn3")
    yield "id, embedding off", drawn(prompted, id_on=1, off="attn2")
    if leg.variant != "full" or leg.stage != "id_embed":
        return
    for strength in STRENGTHS:
        yield f"id at {strength:g}", drawn(prompted, id_on=strength)
    for refs in (2, 4):
        yield f"id, {refs} photos", drawn(prompted, id_on=1, refs=refs)
    yield "id, CLIP of another", drawn(prompted, id_on=1, swapped=True)


def conditions_of(parts: World, some: People, id_on: float, base_on: float, refs: int) -> Conditions:
    """What the hypernetwork reads of people."""
    count = len(some.identity)
    return parts.conditions(
        some.references[:, :refs],
        some.embedding_noise[:, :refs],
        some.faceless,
        torch.ones(count, refs),
        torch.full((count,), float(id_on)),
        torch.full((count,), float(base_on)),
    )


def _keep(folder: Path, ways: dict[str, Tensor]) -> None:
    """The first people's pictures, for figures."""
    first = {name: pictures[:_FIRST].permute(0, 2, 3, 1) for name, pictures in ways.items()}
    kept = {name: (pictures * 255).round().byte().numpy() for name, pictures in first.items()}
    with (folder / PICTURES).open("wb") as file:
        np.savez_compressed(file, **kept)
