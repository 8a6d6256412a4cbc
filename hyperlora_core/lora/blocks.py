"""Strengths by part of the UNet: of a LoRA, or of what one identity takes from another."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import HyperLoRAError, shortened
from .names import PROJECTIONS

PLACES = {"down": "down_blocks", "mid": "mid_block", "up": "up_blocks"}


@dataclass(frozen=True)
class BlockStrengths:
    """A factor for each part of the UNet that is named; those of all parts that a module is in are multiplied.

    A part is one or several steps of a diffusers path, wherever in it they stand: ``down``, ``mid``, ``up``, ``attn1``
    (the picture's own tokens), ``attn2`` (the prompt), ``to_v``, ``up.0``, ``down.2.attentions.1``,
    ``transformer_blocks.3.attn2``.

    Attributes:
        strengths: part -> factor.
    """

    strengths: Mapping[str, float]

    def __post_init__(self) -> None:
        for part, strength in self.strengths.items():
            if not part or not math.isfinite(strength):
                raise HyperLoRAError(
                    f"the strength of the block {shortened(part)} is {strength}: a number was expected"
                )

    @classmethod
    def parse(cls, text: str, more: Mapping[str, float] | None = None) -> "BlockStrengths":
        """Read lines such as ``up.0.attentions.1 = 0.5``; empty lines, and what follows a ``#``, are nothing.

        Args:
            text: the lines; several may stand on one, with commas between.
            more: further parts.

        Raises:
            HyperLoRAError: a line cannot be read.
        """
        strengths = dict(more or {})
        lines = [line.partition("#")[0].strip() for line in text.replace(",", "\n").splitlines()]
        for line in filter(None, lines):
            part, _, number = line.replace(":", "=").partition("=")
            try:
                strengths[part.strip()] = float(number)
            except ValueError as error:
                raise HyperLoRAError(
                    f"the line {shortened(line)} cannot be read: a block and its strength were expected, as "
                    "'up.0.attn2 = 0.5'"
                ) from error
        return cls(strengths)

    def of(self, name: str) -> float:
        """The factor for a canonical name."""
        return math.prod(strength for part, strength in self.strengths.items() if _is_in(name, part))

    def check(self, names: Iterable[str]) -> None:
        """Refuse a part that none of these modules is in: it is misspelt, or another UNet's.

        Raises:
            HyperLoRAError: naming it.
        """
        known = list(names)
        places = (*PLACES, "attn1", "attn2", *PROJECTIONS)
        for part in self.strengths:
            if part not in places and not any(_is_in(name, part) for name in known):
                raise HyperLoRAError(
                    f"nothing is in the block {shortened(part)}. What there is has names such as "
                    f"{next(iter(known), 'none')}; a block is 'down', 'mid', 'up', 'attn1', 'attn2', or steps of "
                    "such a name, as 'up.0.attentions.1'"
                )


def _is_in(name: str, part: str) -> bool:
    head, dot, rest = part.partition(".")
    steps = PLACES.get(head, head) + dot + rest
    return f".{steps}." in f".{name}."
