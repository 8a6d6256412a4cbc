"""Who is held out of a run: the same people of a set, whatever the seed and the stage."""

import hashlib
from collections.abc import Sequence

from ..data.shards import Shards
from ..errors import HyperLoRAError


def held_out(shards: Shards, people: int) -> list[str]:
    """People whom no step sees: those with two photos or more whose names' hashes are smallest.

    Raises:
        HyperLoRAError: too few are known by name, or nothing would be left to train on.
    """
    candidates = [name for name, places in shards.by_person().items() if len(places) > 1]
    out = sorted(candidates, key=lambda name: hashlib.sha256(name.encode()).digest())[:people]
    if len(out) < people or sum(len(shards.by_person()[name]) for name in out) == len(shards):
        raise HyperLoRAError(
            f"validation.people is {people}, but {shards.folder} knows {len(candidates)} people by name with two "
            "photos or more, and somebody must be left to train on: prepare it with --person-folders or a person in "
            "the notes, or hold out fewer"
        )
    return out


def trained_on(shards: Shards, people: int) -> Sequence[int]:
    """The places of all samples but those of the people that are held out.

    Raises:
        HyperLoRAError: see ``held_out``.
    """
    if not people:
        return range(len(shards))
    away = {place for name in held_out(shards, people) for place in shards.by_person()[name]}
    return [place for place in range(len(shards)) if place not in away]
