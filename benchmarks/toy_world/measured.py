"""What was measured by the present recipes, as the report asks for it."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from . import personal
from .measuring import COUNT, RESULTS, plain_recipe, stored
from .people import people
from .readings import Reading, Truth
from .variants import Leg, legs


@dataclass(frozen=True)
class Measured:
    """All of it.

    Attributes:
        results: folder of the JSON files.
    """

    results: Path = RESULTS

    @cached_property
    def truth(self) -> Truth:
        """The people that were drawn."""
        return Truth.of(people(COUNT))

    @cached_property
    def plain(self) -> dict | None:
        """Of the base alone; None where it is not measured."""
        return stored("plain", plain_recipe(), self.results)

    @cached_property
    def legs(self) -> dict[str, dict]:
        """Name -> what was measured of a leg."""
        found = {leg.name: stored(leg.name, leg.recipe, self.results) for leg in legs()}
        return {name: each for name, each in found.items() if each is not None}

    @property
    def missing(self) -> list[Leg]:
        """Legs that are not measured."""
        return [leg for leg in legs() if leg.name not in self.legs]

    @cached_property
    def personal(self) -> dict | None:
        """Of people's own trainings; None where it is not measured."""
        return stored(personal.NAME, personal.recipe(), self.results)

    def of_personal(self, way: str) -> list[Reading]:
        """What was read in a way of ``personal.way``, one for each picture; empty where it is not measured."""
        return [] if self.personal is None else [Reading.from_json(each) for each in self.personal[way]]

    def of_plain(self, way: str) -> list[Reading]:
        """What was read in a way of drawing with the base alone; empty where it is not measured."""
        return [] if self.plain is None else [Reading.from_json(self.plain[way])]

    def seeds(self, variant: str, stage: str) -> list[int]:
        """Seeds of which a variant's stage is measured."""
        return [leg.seed for leg in legs() if (leg.variant, leg.stage) == (variant, stage) and leg.name in self.legs]

    def of(self, variant: str, stage: str, way: str, seeds: Iterable[int] | None = None) -> list[Reading]:
        """What was read in a way of drawing, one for each seed that is measured, or of some seeds."""
        wanted = self.seeds(variant, stage) if seeds is None else seeds
        stages = [self.legs[f"{variant}-{stage}-{seed}"] for seed in wanted]
        return [Reading.from_json(each[way]) for each in stages if way in each]

    def longest(self) -> tuple[str, float] | None:
        """The leg to whose end training took the longest, with all before it, and how many minutes."""

        def taken(leg: Leg | None) -> float:
            return sum(self.legs.get(leg.name, {}).get("seconds", ())) / 60 + taken(leg.parent) if leg else 0.0

        chains = {leg.name: taken(leg) for leg in legs() if leg.name in self.legs}
        return max(chains.items(), key=lambda chain: chain[1]) if chains else None

    def minutes(self, variant: str, stage: str) -> float:
        """What its training took, the mean over seeds."""
        return float(
            np.mean([sum(self.legs[f"{variant}-{stage}-{s}"]["seconds"]) / 60 for s in self.seeds(variant, stage)])
        )
