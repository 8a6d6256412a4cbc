"""Projections of a UNet with LoRAs beside them: what their ``forward`` is while the UNet runs."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import HyperLoRAError
from .masks import Size, Where


@dataclass(frozen=True)
class Joined:
    """All LoRAs' factors for one projection, their ranks joined.

    Attributes:
        down: ``(ranks, in)``.
        up: ``(out, ranks)``, strengths and scales in it.
        layers: each LoRA's number, and how many ranks it has here.
    """

    down: Tensor
    up: Tensor
    layers: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Gates:
    """On what the ranks of a projection act in one call of the UNet.

    Attributes:
        layers: ``(ranks,)``, the number of the LoRA that each belongs to.
        rows: ``(rows, 1, ranks)``, or None: on every row alike.
        where: what part of the picture tokens are; None: on every token alike.
        at: size of the picture -> ``(rows, tokens, ranks)``, rows in it.
    """

    layers: Tensor
    rows: Tensor | None
    where: Where | None
    at: dict[Size, Tensor] = field(default_factory=dict)

    def on(self, inner: Tensor) -> Tensor:
        """Gate ``(rows, tokens, ranks)``.

        Raises:
            HyperLoRAError: another node has rearranged rows or tokens.
        """
        if self.where is not None:
            size = self.where.of(inner)
            return inner * (self.at[size] if size in self.at else self.open(self.where, size, inner))
        if self.rows is None:
            return inner
        each, rest = divmod(len(inner), len(self.rows))  # HyperTile makes several rows of one
        if rest:
            raise HyperLoRAError(
                f"the UNet was given {len(inner)} rows where {len(self.rows)} or several times as many were expected: "
                "another node adds or takes out pictures in the middle of it. Take it out, or apply one LoRA to all"
            )
        return inner * (self.rows if each == 1 else self.rows.repeat_interleave(each, dim=0))

    def open(self, where: Where, size: Size, like: Tensor) -> Tensor:
        """The gate at a size of the picture, in what ``like`` is in."""
        gate = where.painted.paint(size)[..., self.layers].to(like.dtype)
        self.at[size] = gate if self.rows is None else gate * self.rows
        return self.at[size]


def add(output: Tensor, inner: Tensor, up: Tensor) -> Tensor:
    """``output + inner @ up.T``, in place where ``output`` is whole in memory."""
    flat = output.flatten(0, -2)
    return flat.addmm_(inner.flatten(0, -2), up.mT).view(output.shape)


class Standing:
    """Stands for a module's ``forward`` while the UNet runs.

    There is one object a module for as long as that lives, and only tensors change in it: torch.compile then has
    nothing to compile anew when another person comes.
    """

    def start(self, module: nn.Module) -> None:
        """Take the place of the module's ``forward``."""
        self.replaced = module.__dict__.get("forward")
        self.original = module.forward
        module.forward = self.forward

    def stop(self, module: nn.Module) -> None:
        """Put back what was there, and forget everything."""
        if self.replaced is None:
            del module.forward
        else:
            module.forward = self.replaced
        self.__dict__.clear()

    def forward(self, *args: Any, **named: Any) -> Any:
        """What is done in its place."""
        raise NotImplementedError


class Looking(Standing):
    """A transformer of the UNet that says how large its picture is.

    Attributes:
        where: who is told.
    """

    where: Where

    def forward(self, x: Tensor, *args: Any, **named: Any) -> Any:
        """Look at a picture ``(rows, channels, height, width)``."""
        self.where.size = (x.shape[-2], x.shape[-1])
        return self.original(x, *args, **named)


class Projection(Standing):
    """A linear projection with LoRAs beside it."""

    joined: Joined
    gates: Gates

    def forward(self, input: Tensor) -> Tensor:
        """Project ``(rows, tokens, in)`` to ``(rows, tokens, out)``."""
        inner = self.gates.on(F.linear(input, self.joined.down))
        return add(self.original(input), inner, self.joined.up)


class Crossing:
    """What is known in one attention to the prompt, where masks confine LoRAs: it runs once for each of these.

    Attributes:
        attention: the module.
        confined: numbers of the LoRAs that have a mask.
        where: what part of the picture its tokens are.
        query: ``(rows, tokens, width)``.
        keys: LoRA's number -> ``(rows, prompt tokens, width)``; that of None is without any that a mask confines.
        values: as ``keys``.
    """

    def __init__(self, attention: nn.Module, confined: Collection[int], where: Where) -> None:
        self.attention = attention
        self.confined = confined
        self.where = where
        self.query: Tensor | None = None
        self.keys: dict[int | None, Tensor] = {}
        self.values: dict[int | None, Tensor] = {}

    def blend(self, attended: Tensor) -> Tensor:
        """Exchange, where a LoRA's mask is, the attention without it for its own; ``(rows, tokens, width)``.

        The difference is added, so that whatever else is in ``attended`` (an IP-Adapter) stays.
        """
        masks = self.where.painted.paint(self.where.of(attended)).to(attended.dtype)
        without = self._attend(None)
        for number in self.keys.keys() | self.values.keys():
            if number is not None:
                attended = attended + masks[..., number, None] * (self._attend(number) - without)
        return attended

    def _attend(self, number: int | None) -> Tensor:
        keys, values = (each.get(number, each[None]) for each in (self.keys, self.values))
        heads, precision = self.attention.heads, self.attention.attn_precision
        return optimized_attention(self.query, keys, values, heads, attn_precision=precision)


class Crossed(Projection):
    """A projection of an attention to the prompt in which masks confine LoRAs."""

    crossing: Crossing


class Query(Crossed):
    """The picture's queries."""

    def forward(self, input: Tensor) -> Tensor:
        self.crossing.query = super().forward(input)
        return self.crossing.query


class OfPrompt(Crossed):
    """The prompt's keys or values, for each LoRA that a mask confines; those without these LoRAs are what goes on."""

    def forward(self, input: Tensor) -> Tensor:
        inner = self.gates.on(F.linear(input, self.joined.down))
        output = self.original(input)
        ranks = [rank for _, rank in self.joined.layers]
        own = {}
        for (number, _), part, up in zip(
            self.joined.layers, inner.split(ranks, dim=-1), self.joined.up.split(ranks, dim=-1), strict=True
        ):
            if number in self.crossing.confined:
                own[number] = (part, up)
            else:
                output = add(output, part, up)
        self.note({None: output} | {number: output + F.linear(part, up) for number, (part, up) in own.items()})
        return output

    def note(self, variants: dict[int | None, Tensor]) -> None:
        """Take note of LoRA's number, or None -> ``(rows, prompt tokens, out)``."""
        raise NotImplementedError


class Keys(OfPrompt):
    """The prompt's keys."""

    def note(self, variants: dict[int | None, Tensor]) -> None:
        self.crossing.keys = variants


class Values(OfPrompt):
    """The prompt's values."""

    def note(self, variants: dict[int | None, Tensor]) -> None:
        self.crossing.values = variants


class Out(Crossed):
    """The projection of what attention gave."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(self.crossing.blend(input))
