"""Mixing in coefficient space, on unscaled rows: photos of one person weighed and sifted, two people blended."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..errors import HyperLoRAError
from ..faces.scale import mean_agreement
from ..lora.blocks import BlockStrengths
from ..network.bases import targets
from ..network.rows import interpolate
from .value import Identity, check_weights

METHODS = ("linear", "spherical")
EVERYWHERE = BlockStrengths({})


def join(identities: Sequence[Identity]) -> Identity:
    """All photos of several identities of one person, as if they had been encoded together.

    Raises:
        HyperLoRAError: there is none, or they were made by two checkpoints.
    """
    if not identities:
        raise HyperLoRAError("no identity was given: connect at least one")
    first, *others = identities
    for other in others:
        first.check_alike(other)
    weights = [weight for one in identities for weight in one.weights or (1.0,) * one.refs]
    with_id = [one for one in identities if one.refs]
    comparable = all(one.embeds is not None and one.embedder == with_id[0].embedder for one in with_id)
    return replace(
        first,
        id_rows=_stacked([one.id_rows for one in identities]),
        base_rows=_stacked([one.base_rows for one in identities]),
        photos=_together(one.photos for one in identities),
        base_photos=_together(one.base_photos for one in identities),
        weights=tuple(weights) if any(one.weights for one in identities) else (),
        embeds=_stacked([one.embeds for one in identities]) if comparable else None,
        embedder=with_id[0].embedder if with_id and comparable else None,
        settings=_common(identities),
        thumbnail=next((one.thumbnail for one in identities if one.thumbnail is not None), None),
    )


def weighted(identity: Identity, weights: Sequence[float]) -> Identity:
    """The same photos, each with a weight of its own in the mean.

    Args:
        identity: the person.
        weights: one a photo, not below zero; only their proportions matter.

    Raises:
        HyperLoRAError: the weights do not fit.
    """
    check_weights(weights, identity.refs)
    return replace(identity, weights=tuple(map(float, weights)))


def agreement(identity: Identity) -> list[float]:
    """How well each photo agrees with the others: the mean cosine of its face embedding with theirs.

    Returns:
        One number a photo, 1 for a single one.

    Raises:
        HyperLoRAError: the identity has no face embeddings.
    """
    if identity.embeds is None:
        raise HyperLoRAError(
            "this identity has no face embeddings to compare its photos by: its HyperLoRA reads CLIP alone, or its "
            "photos were described by several face models"
        )
    return mean_agreement(identity.embeds)


def without_outliers(identity: Identity, least: float, report: Callable[[str], None]) -> Identity:
    """Drop the photos that agree least with the others, one after the other, while their agreement is below ``least``.

    Of two photos that disagree none is dropped, for neither is the outlier.

    Args:
        identity: the person.
        least: agreement that a photo needs, see ``agreement``.
        report: told of each photo that is dropped, by its place among those given, from 1.

    Raises:
        HyperLoRAError: the identity has no face embeddings, or only photos of weight 0 would be left.
    """
    kept = list(range(identity.refs))
    left = identity
    while len(kept) > 1:
        agreements = agreement(left)
        worst = min(range(len(kept)), key=agreements.__getitem__)
        if agreements[worst] >= least:
            break
        said = f"an agreement of {agreements[worst]:.2f}, below {least:g}"
        if len(kept) == 2:
            report(f"photo {kept[0] + 1} and photo {kept[1] + 1} have {said}, and both are kept: either may be wrong")
            break
        report(f"dropped photo {kept[worst] + 1} of {identity.refs}: it has {said}, with the others")
        del kept[worst]
        left = _only(identity, kept)
    return left


def blend(
    one: Identity,
    other: Identity,
    amount: float,
    method: str = METHODS[0],
    blocks: BlockStrengths = EVERYWHERE,
) -> Identity:
    """A person between two people.

    Args:
        one: the first; of each, the mean of its photos is taken.
        other: the second.
        amount: 0 is the first, 1 the second; beyond them, what tells them apart is exaggerated.
        method: "linear", or "spherical", along the arc between their rows, which keeps to lengths as people have them.
        blocks: what ``amount`` is multiplied by in each part; one at 0 is the first person's.

    Returns:
        An identity of one set of rows. A part that only one of them has, ID or Base, is taken as it is.

    Raises:
        HyperLoRAError: they were made by two checkpoints, the method is unknown, or a block is.
    """
    if method not in METHODS:
        raise HyperLoRAError(f"the method {method!r} is unknown: one of {', '.join(METHODS)} was expected")
    one.check_alike(other)
    names = targets(one.attentions)
    blocks.check(names)
    amounts = torch.tensor([amount * blocks.of(name) for name in names]).repeat_interleave(2)[:, None]

    def between(first: Tensor | None, second: Tensor | None) -> Tensor | None:
        if first is None or second is None:
            found = second if first is None else first
            return None if found is None else found[None]
        return interpolate(first, second, amounts, method == "spherical")[None]

    embeds, comparable = None, one.embedder == other.embedder
    if one.embeds is not None and other.embeds is not None and comparable:
        means = [_mean_embed(person) for person in (one, other)]
        embeds = torch.nn.functional.normalize((1 - amount) * means[0] + amount * means[1], dim=-1)[None]
    nearer = one if amount < 0.5 else other
    return replace(
        one,
        id_rows=between(one.id_mean, other.id_mean),
        base_rows=between(one.base_mean, other.base_mean),
        photos=_together((one.photos, other.photos)),
        base_photos=_together((one.base_photos, other.base_photos)),
        weights=(),
        embeds=embeds,
        embedder=one.embedder if embeds is not None else None,
        settings=_common((one, other)) | {"blend": f"{method} {amount:g}"},
        thumbnail=nearer.thumbnail or one.thumbnail or other.thumbnail,
    )


def _only(identity: Identity, kept: Sequence[int]) -> Identity:
    """Some of the ID photos."""
    assert identity.id_rows is not None and identity.embeds is not None
    weights = tuple(identity.weights[i] for i in kept) if identity.weights else ()
    if weights and not sum(weights):
        raise HyperLoRAError("every photo whose weight is not 0 would be dropped: ask for less agreement")
    photos = tuple(identity.photos[i] for i in kept) if len(identity.photos) == identity.refs else identity.photos
    return replace(
        identity,
        id_rows=identity.id_rows[list(kept)],
        embeds=identity.embeds[list(kept)],
        weights=weights,
        photos=photos,
    )


def _mean_embed(identity: Identity) -> Tensor:
    assert identity.embeds is not None
    weights = torch.tensor(identity.weights or (1.0,) * identity.refs)
    return torch.nn.functional.normalize((weights[:, None] * identity.embeds).sum(0), dim=-1)


def _stacked(tensors: Sequence[Tensor | None]) -> Tensor | None:
    found = [tensor for tensor in tensors if tensor is not None]
    return torch.cat(found) if found else None


def _together(names: Any) -> tuple[str, ...]:
    return tuple(name for some in names for name in some)


def _common(identities: Sequence[Identity]) -> dict[str, str]:
    """The settings that all of them have."""
    first, *others = identities
    shared = set(first.settings.items()).intersection(*(one.settings.items() for one in others))
    return {name: value for name, value in first.settings.items() if (name, value) in shared}
