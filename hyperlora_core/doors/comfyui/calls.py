"""One call of ComfyUI's UNet: what it is given, and what stands in it meanwhile."""

import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import comfy.utils
import torch
from torch import Tensor, nn

from ...errors import HyperLoRAError
from .masks import Where
from .pictures import Part, Sampled, part
from .projections import (
    Crossed,
    Crossing,
    Gates,
    Joined,
    Keys,
    Looking,
    OfPrompt,
    Out,
    Projection,
    Query,
    Standing,
    Values,
)

CROSSED: dict[str, type[Crossed]] = {"to_q": Query, "to_k": Keys, "to_v": Values, "to_out.0": Out}

Stands = TypeVar("Stands", bound=Standing)

_standing: weakref.WeakKeyDictionary[nn.Module, dict[type[Standing], Standing]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Prompt:
    """What is known of a conditioning.

    Attributes:
        marks: of the layers that act on it.
        area: of the picture, in the latent's pixels: ``(height, width, top, left)``; None: the whole.
    """

    marks: frozenset[str] = frozenset()
    area: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class Call:
    """What the UNet is given in one call.

    Attributes:
        x: ``(rows, channels, height, width)``: each prompt's pictures, one prompt after another.
        prompts: whose rows they are.
        options: ComfyUI's ``transformer_options``.
        sampled: what the sampler was given.
    """

    x: Tensor
    prompts: Sequence[Prompt]
    options: Mapping[str, Any]
    sampled: Sampled

    def parts(self, retained: Sequence[int]) -> list[Part]:
        """What part of it each prompt draws; ``retained`` is what ComfyUI's windows keep."""
        count, rest = divmod(len(self.x), len(self.prompts))
        shape = (-1 if rest else count, *self.x.shape[1:])
        return [part(self.sampled, shape, prompt.area, self.options, retained) for prompt in self.prompts]

    def pictures(self, part: Part) -> list[int]:
        """Places of a part's pictures in the batch.

        Raises:
            HyperLoRAError: they cannot be known.
        """
        if part.pictures is None:
            raise HyperLoRAError(
                f"the UNet was given {len(self.x)} rows for {len(self.prompts)} prompts and a batch of "
                f"{len(self.sampled.numbers)} pictures: another node draws them in groups and does not say which. Take "
                "it out, use ComfyUI's Context Windows, or apply one LoRA to all with HyperLoRA Apply"
            )
        return list(part.pictures)

    def lines(self, part: Part) -> list[int]:
        """Lines of the latent that a part has.

        Raises:
            HyperLoRAError: they cannot be known.
        """
        return self._known(part.lines)

    def columns(self, part: Part) -> list[int]:
        """Columns of the latent that a part has.

        Raises:
            HyperLoRAError: they cannot be known.
        """
        return self._known(part.columns)

    def _known(self, indices: tuple[int, ...] | None) -> list[int]:
        if indices is None:
            given = " x ".join(map(str, self.x.shape[-2:]))
            raise HyperLoRAError(
                f"the UNet was given a part of {given} of a latent of {self.sampled.height} x {self.sampled.width}: "
                "another node draws it in tiles and does not say where each is. Take it out, or apply the LoRA without "
                "masks"
            )
        return list(indices)


class Moment:
    """What stands in the UNet during one call.

    Attributes:
        confined: numbers of the layers that have a mask.
        rows: ``(rows, layers)`` or None.
        where: what part of the picture tokens are, where masks confine LoRAs.
    """

    def __init__(self, confined: Collection[int], rows: Tensor | None, where: Where | None) -> None:
        self.confined = confined
        self.rows = rows
        self.where = where
        self._gates: dict[Any, Gates] = {}
        self._crossings: dict[str, Crossing] = {}

    def standing(self, model: nn.Module, joined: Mapping[str, Joined]) -> Iterator[tuple[nn.Module, Standing]]:
        """What stands for each module of a model: all projections with LoRAs beside them, and who looks at sizes."""
        for name, factors in joined.items():
            linear = comfy.utils.get_attr(model, name)
            attention, _, last = name.rpartition(".attn2.")
            if self.where is None or not attention:
                projection = _stands(linear, Projection)
            else:
                projection = _stands(linear, CROSSED[last])
                projection.crossing = self.crossing(model, f"{attention}.attn2", self.where)
            projection.joined, projection.gates = factors, self.gates(factors, isinstance(projection, OfPrompt))
            yield linear, projection
        if self.where is not None:
            for name in {name.rpartition(".transformer_blocks.")[0] for name in joined}:
                module = comfy.utils.get_attr(model, name)
                looking = _stands(module, Looking)
                looking.where = self.where
                yield module, looking

    def crossing(self, model: nn.Module, attention: str, where: Where) -> Crossing:
        """What the four projections of an attention share."""
        if attention not in self._crossings:
            module = comfy.utils.get_attr(model, attention)
            self._crossings[attention] = Crossing(module, self.confined, where)
        return self._crossings[attention]

    def gates(self, joined: Joined, reads_prompt: bool) -> Gates:
        """On what each rank acts."""
        key = (joined.layers, reads_prompt)
        if key not in self._gates:
            like = joined.up
            layers = torch.tensor(
                [n for n, rank in joined.layers for _ in range(rank)], dtype=torch.long, device=like.device
            )
            rows = None if self.rows is None else self.rows.to(like.device, like.dtype)[:, None, layers]
            where = None if reads_prompt else self.where
            self._gates[key] = gates = Gates(layers, rows, where)
            if where is not None:
                for size in tuple(where.painted.at):
                    gates.open(where, size, like)
        return self._gates[key]


def _stands(module: nn.Module, kind: type[Stands]) -> Stands:
    """The one object of a kind that stands for a module."""
    kinds: dict = _standing.setdefault(module, {})
    return kinds.setdefault(kind, kind())
