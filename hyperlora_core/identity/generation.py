"""From identities to a LoRA: a person's, or a slider's."""

import json
from collections.abc import Mapping, Sequence

import torch

from ..cache import NOTHING_KEPT, Cache
from ..errors import NOT_FINITE, HyperLoRAError
from ..lora.value import LoRA, combine
from ..network.base_models import metadata_of
from ..network.hyperlora import HyperLoRA
from ..network.rows import unit
from ..trigger_words import TRIGGER_WORDS
from ..version import __version__
from .slider import Slider
from .value import Identity

_NOTHING = 1e-4  # of a person's norm: sides that differ by less are the same


def generate(
    network: HyperLoRA,
    identity: Identity,
    id_weight: float = 0.8,
    base_weight: float = 0.4,
    cache: Cache = NOTHING_KEPT,
) -> LoRA:
    """Make the LoRA of an identity: its ID part and, where it has one, its Base part, each at its weight.

    Args:
        network: the HyperLoRA that encoded the identity.
        identity: what to make it of.
        id_weight: strength of the ID-LoRA.
        base_weight: strength of the Base-LoRA.
        cache: where results are kept, and found again: the same LoRA then, to be left as it is.

    Returns:
        One LoRA on the CPU, with the ranks of both parts side by side; empty where every weight is 0.

    Raises:
        HyperLoRAError: the identity is another checkpoint's, or a weight is not finite.
    """
    identity.check_checkpoint(network.source)
    key = ("LoRA", network.cache_key, identity.cache_key, id_weight, base_weight)
    return cache.get(key, lambda: _generate(network, identity, id_weight, base_weight))


def _generate(network: HyperLoRA, identity: Identity, id_weight: float, base_weight: float) -> LoRA:
    parts = []
    if identity.id_mean is not None and id_weight != 0:
        parts.append((network.id_lora(unit(identity.id_mean)), id_weight))
    if identity.base_mean is not None and base_weight != 0:
        parts.append((network.base_lora(unit(identity.base_mean)), base_weight))
    weights = {
        "hyperlora.id_weight": f"{id_weight if identity.id_rows is not None else 0:g}",
        "hyperlora.base_weight": f"{base_weight if identity.base_rows is not None else 0:g}",
    }
    return described(network, combine(parts), identity.photos, weights)


def described(network: HyperLoRA, lora: LoRA, photos: Sequence[str], more: Mapping[str, str]) -> LoRA:
    """A LoRA that was made, on the CPU, with the metadata that says so.

    Args:
        network: what made it.
        lora: of any device.
        photos: sha256 of each photo that it was made of.
        more: further entries of the metadata.

    Raises:
        HyperLoRAError: a weight is not finite.
    """
    metadata = {
        **metadata_of(network.config.modules),
        "ss_tag_frequency": json.dumps({"hyperlora": {TRIGGER_WORDS: max(1, len(photos))}}),
        "modelspec.trigger_phrase": TRIGGER_WORDS,
        "hyperlora.version": __version__,
        "hyperlora.checkpoint": network.source.name,
        "hyperlora.checkpoint_fingerprint": network.source.fingerprint,
        "hyperlora.photos_sha256": " ".join(photos),
        **more,
    }
    lora = lora.cpu()
    if not lora.is_finite:
        raise HyperLoRAError(NOT_FINITE.format("weights"))
    return LoRA(lora, metadata)


def generate_slider(network: HyperLoRA, slider: Slider, cache: Cache = NOTHING_KEPT) -> LoRA:
    """Make a slider's LoRA: the mean over its pairs of delta W(more) - delta W(less).

    It is exact, by ranks side by side: 2 r for each pair. It is scaled to the mean norm of its people's own LoRAs, so
    that strengths mean what they mean for a person.

    Args:
        network: the HyperLoRA that encoded the identities.
        slider: the pairs.
        cache: where results are kept, and found again.

    Returns:
        The LoRA on the CPU, for strengths above and below 0.

    Raises:
        HyperLoRAError: the identities are another checkpoint's, the two sides are the same, or a weight is not finite.
    """
    for identity in slider.people:
        identity.check_checkpoint(network.source)
    return cache.get(("slider", network.cache_key, slider.cache_key), lambda: _generate_slider(network, slider))


def _generate_slider(network: HyperLoRA, slider: Slider) -> LoRA:
    people = slider.people
    means = [identity.id_mean for identity in people]
    loras = network.id_loras(unit(torch.stack([mean for mean in means if mean is not None])))
    signs = [sign / len(slider.pairs) for _ in slider.pairs for sign in (1, -1)]
    difference = combine(list(zip(loras, signs, strict=True)))
    norm, usual = difference.norm, sum(lora.norm for lora in loras) / len(loras)
    if norm <= _NOTHING * usual:
        raise HyperLoRAError("the two sides of this slider are the same: give it identities that differ")
    photos = tuple(photo for identity in people for photo in identity.photos)
    return described(
        network, combine([(difference, usual / norm)]), photos, {"hyperlora.slider_pairs": str(len(slider.pairs))}
    )
