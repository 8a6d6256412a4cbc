"""What each of the paper's stages trains and what it freezes.

Every parameter of a HyperLoRA is in exactly one group. A stage trains some groups; a recipe may add others, and says
so. Source: HyperLoRA, arXiv 2503.16944: the Base-LoRA first; then the ID-LoRA, led by CLIP; then what hangs on the face
embedding alone.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from torch import nn

from ..errors import HyperLoRAError
from ..network.hyperlora import HyperLoRA

# Group -> the parameters in it. What a LayerNorm normalises for an attention is that attention's.
GROUPS = {
    "base_bases": r"base_bases\.",
    "base_resampler": r"base_resampler\.",
    "id_projector": r"id_projector\.",
    "id_bases": r"id_bases\.",
    "queries": r"resampler\.latents\.",
    "self_attention": r"resampler\.layers\.\d+\.(norm_attn1|attn1)\.",
    "embed_input": r"resampler\.proj_in\.",
    "embed_attention": r"resampler\.layers\.\d+\.(norm_attn2_\w+|attn2)\.",
    "clip_input": r"resampler\.proj_in_2\.",
    "clip_attention": r"resampler\.layers\.\d+\.(norm_attn3_\w+|attn3)\.",
    "feed_forward": r"resampler\.layers\.\d+\.(norm_ff|ff)\.",
    "output": r"resampler\.proj_out\.",
}
_BASE = frozenset({"base_bases", "base_resampler"})
_ID = frozenset(GROUPS) - _BASE


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: as recipes and checkpoints have it.
        steps: optimizer steps in the paper.
        trains: groups that train; every other is frozen, unless a recipe adds it.
        makes: the LoRAs that it draws with.
        gate: shares of the run between which the face embedding's attention goes from nothing to its full part; None:
            it has its full part throughout. It is full when the stage ends, for the file format has no gate.
    """

    name: str
    steps: int
    trains: frozenset[str]
    makes: frozenset[str]
    gate: tuple[float, float] | None = None

    @property
    def learns(self) -> str:
        """The LoRA that it trains, "id" or "base"."""
        return "base" if self.trains & _BASE else "id"


STAGES = {
    stage.name: stage
    for stage in (
        Stage("base", 20_000, _BASE, frozenset({"base"})),
        Stage("id_clip", 15_000, _ID, frozenset({"id", "base"}), gate=(0.2, 0.8)),
        Stage(
            "id_embed",
            55_000,
            frozenset({"id_projector", "embed_input", "embed_attention"}),
            frozenset({"id", "base"}),
        ),
    )
}


def stage(name: str) -> Stage:
    """A stage by its name.

    Raises:
        HyperLoRAError: there is none; those that there are are named.
    """
    if name not in STAGES:
        raise HyperLoRAError(f"there is no stage {name!r}; there are {', '.join(STAGES)}")
    return STAGES[name]


def group_of(parameter: str) -> str:
    """The group of a parameter, by its name in the network.

    Raises:
        HyperLoRAError: it is in none.
    """
    for group, pattern in GROUPS.items():
        if re.match(pattern, parameter):
            return group
    raise HyperLoRAError(f"the parameter {parameter} is in none of the groups {', '.join(GROUPS)}")


def makes(network: HyperLoRA, trained: Stage) -> frozenset[str]:
    """The LoRAs that a network draws with in a stage, of "id" and "base"."""
    return trained.makes if network.config.has_base else trained.makes - {"base"}


def freeze(network: HyperLoRA, trained: Stage, also: Collection[str] = ()) -> None:
    """Let gradients flow to what a stage trains, and to nothing else.

    Args:
        network: its parameters' ``requires_grad`` is set.
        trained: the stage.
        also: groups that train beside the stage's own.

    Raises:
        HyperLoRAError: a group is unknown or is not drawn with, or the network has nothing that the stage trains.
    """
    unknown = set(also) - set(GROUPS)
    if unknown:
        raise HyperLoRAError(f"there is no group {sorted(unknown)[0]!r}; there are {', '.join(GROUPS)}")
    if trained.trains & _BASE:
        network.need_base()
    groups = trained.trains | set(also)
    drawn = makes(network, trained)
    for kind, of_kind in (("base", _BASE), ("id", _ID)):
        if kind not in drawn and (never := sorted(of_kind.intersection(also))):
            raise HyperLoRAError(
                f"{never[0]} cannot train beside the stage {trained.name}: no {'ID' if kind == 'id' else 'Base'}-LoRA "
                "is drawn with there"
            )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(group_of(name) in groups)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise HyperLoRAError(
            f"the stage {trained.name} trains {', '.join(sorted(groups))}; this HyperLoRA has none of it"
        )


def table(network: nn.Module) -> Iterator[tuple[str, int, bool]]:
    """The groups that a network has, in the order of ``GROUPS``: name, parameters, and whether they train."""
    sizes: Counter[str] = Counter()
    trains: dict[str, bool] = {}
    for name, parameter in network.named_parameters():
        group = group_of(name)
        sizes[group] += parameter.numel()
        trains[group] = parameter.requires_grad
    for group in GROUPS:
        if group in sizes:
            yield group, sizes[group], trains[group]


def lines(network: nn.Module, name: str, also: Collection[str] = ()) -> list[str]:
    """The table of a stage, a line for each group of parameters, under its name and what trains beside its own."""
    added = f", and {', '.join(also)}" if also else ""
    rows = (f"  {group:18} {size:>15,}  {'trains' if on else 'frozen'}" for group, size, on in table(network))
    return [f"stage {name}{added}", *rows]


def gate_at(trained: Stage, share: float) -> float:
    """How much of the face embedding's attention counts at a share of the run, 0 to 1: a straight line."""
    if trained.gate is None:
        return 1.0
    start, end = trained.gate
    return min(max((share - start) / (end - start), 0.0), 1.0)
