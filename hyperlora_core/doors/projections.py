"""Projections of a UNet with LoRAs beside them: what their ``forward`` is while the UNet runs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import HyperLoRAError

REARRANGED = (
    "the UNet was given {found} rows and tokens where {wanted} were expected: another node rearranges or merges "
    "picture tokens (HyperTile, ToMe). Take it out, or apply the LoRA without masks"
)


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
        rows: ``(rows, 1, ranks)``, or None: on every row alike.
        tokens: number of tokens -> ``(rows, tokens, ranks)``, rows in it; empty: on every token alike.
    """

    rows: Tensor | None
    tokens: Mapping[int, Tensor]

    def on(self, inner: Tensor) -> Tensor:
        """Gate ``(rows, tokens, ranks)``.

        Raises:
            HyperLoRAError: another node has rearranged rows or tokens.
        """
        if self.tokens:
            return inner * at(self.tokens, inner)
        if self.rows is None:
            return inner
        each, rest = divmod(len(inner), len(self.rows))  # HyperTile makes several rows of one
        if rest:
            raise HyperLoRAError(REARRANGED.format(found=tuple(inner.shape[:2]), wanted=f"{len(self.rows)} rows"))
        return inner * (self.rows if each == 1 else self.rows.repeat_interleave(each, dim=0))


def at(by_tokens: Mapping[int, Tensor], tokens: Tensor) -> Tensor:
    """What belongs to as many rows and tokens as ``(rows, tokens, ...)`` has.

    Raises:
        HyperLoRAError: there is nothing for so many.
    """
    found = by_tokens.get(tokens.shape[1])
    if found is None or len(found) != len(tokens):
        known = ", ".join(str((len(each), count)) for count, each in by_tokens.items())
        raise HyperLoRAError(REARRANGED.format(found=tuple(tokens.shape[:2]), wanted=known))
    return found


def add(output: Tensor, inner: Tensor, up: Tensor) -> Tensor:
    """``output + inner @ up.T``, in place where ``output`` is whole in memory."""
    flat = output.flatten(0, -2)
    return flat.addmm_(inner.flatten(0, -2), up.mT).view(output.shape)


class Projection:
    """A linear projection with LoRAs beside it.

    There is one object a projection for as long as that lives, and only tensors change in it: torch.compile then has
    nothing to compile anew when another person comes.
    """

    joined: Joined
    gates: Gates

    def start(self, linear: nn.Module, joined: Joined, gates: Gates) -> None:
        """Take the place of the projection's ``forward``."""
        self.replaced = linear.__dict__.get("forward")
        self.original = linear.forward
        self.joined, self.gates = joined, gates
        linear.forward = self.forward

    def stop(self, linear: nn.Module) -> None:
        """Put back what was there, and forget everything."""
        if self.replaced is None:
            del linear.forward
        else:
            linear.forward = self.replaced
        self.__dict__.clear()

    def forward(self, input: Tensor) -> Tensor:
        """Project ``(rows, tokens, in)`` to ``(rows, tokens, out)``."""
        inner = self.gates.on(F.linear(input, self.joined.down))
        return add(self.original(input), inner, self.joined.up)


class Crossing:
    """What is known in one attention to the prompt, where masks confine LoRAs: it runs once for each of these.

    Attributes:
        attention: the module.
        confined: numbers of the LoRAs that have a mask.
        masks: number of tokens -> ``(rows, tokens, LoRAs)``.
        query: ``(rows, tokens, width)``.
        keys: LoRA's number -> ``(rows, prompt tokens, width)``; that of None is without any that a mask confines.
        values: as ``keys``.
    """

    def __init__(self, attention: nn.Module, confined: Collection[int], masks: Mapping[int, Tensor]) -> None:
        self.attention = attention
        self.confined = confined
        self.masks = masks
        self.query: Tensor | None = None
        self.keys: dict[int | None, Tensor] = {}
        self.values: dict[int | None, Tensor] = {}

    def blend(self, attended: Tensor) -> Tensor:
        """Exchange, where a LoRA's mask is, the attention without it for its own; ``(rows, tokens, width)``.

        The difference is added, so that whatever else is in ``attended`` (an IP-Adapter) stays.
        """
        masks, without = at(self.masks, attended).to(attended.dtype), self._attend(None)
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
