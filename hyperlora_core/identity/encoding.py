"""The way from photos to an identity, in the steps that the nodes and the command share: faces, ID part, Base part."""

import logging
from collections.abc import Hashable, Sequence

import torch
from PIL import Image

from ..cache import NOTHING_KEPT, Cache, digest
from ..clip.vision import ClipVision
from ..errors import NOT_FINITE, HyperLoRAError
from ..faces import Reference, crops
from ..network.hyperlora import HyperLoRA
from .value import Identity

log = logging.getLogger(__name__)


def encode_id(
    network: HyperLoRA,
    clip: ClipVision | None,
    references: Sequence[Reference],
    remove_background: bool = True,
    grayscale: bool = False,
    cache: Cache = NOTHING_KEPT,
) -> tuple[Identity, list[Image.Image]]:
    """Encode who the person is.

    Args:
        network: the HyperLoRA.
        clip: the CLIP vision tower that it was trained with; None where it reads the face embedding alone.
        references: photos of one person.
        remove_background: show CLIP the face on grey only.
        grayscale: show CLIP the face without colour.
        cache: where results are kept, and found again.

    Returns:
        The identity, empty where there is no reference, and the pictures that CLIP sees, or would if it were read.

    Raises:
        HyperLoRAError: an encoder does not fit the network, or the rows are not finite.
    """
    if not references:
        return Identity(None, None, network.source, network.attentions), []

    first, embeds, views = references[0], _embeds(references), [ref.view for ref in references]

    def make() -> tuple[torch.Tensor, list[Image.Image], Image.Image]:
        pictures = [crops.id_image(view.photo, view.face.landmarks, remove_background, grayscale) for view in views]
        tokens = _tokens(clip, pictures, cache) if network.config.reads_clip else None
        rows = network.id_rows(embeds, tokens)
        return _finite(rows.cpu()), pictures, crops.thumbnail(first.view.photo, first.view.face.landmarks)

    key = ("ID rows", *_encoded_by(network, clip), *_seen(references), remove_background, grayscale)
    rows, pictures, thumbnail = cache.get(key, make)
    identity = Identity(
        id_rows=rows,
        base_rows=None,
        checkpoint=network.source,
        attentions=network.attentions,
        photos=tuple(ref.photo_sha256 for ref in references),
        embeds=embeds,
        embedder=first.embedder if embeds is not None else None,
        settings={"remove_background": str(remove_background), "grayscale": str(grayscale)},
        thumbnail=thumbnail,
    )
    return identity, pictures


def encode_base(
    network: HyperLoRA,
    clip: ClipVision | None,
    references: Sequence[Reference],
    crop: bool = True,
    scale_lrtb: tuple[float, float, float, float] = (1, 1, 1, 1),
    safe_crop: bool = True,
    cache: Cache = NOTHING_KEPT,
) -> tuple[Identity, list[Image.Image]]:
    """Encode what is not the person: background, clothing, light. The face is blurred.

    Args:
        network: a HyperLoRA with Base parts.
        clip: the CLIP vision tower that it was trained with; may be None where the network has no Base parts either.
        references: photos, whose faces are known.
        crop: cut to the face's surroundings; else the whole photo.
        scale_lrtb: how far the cut reaches to the left, right, top and bottom, as factors.
        safe_crop: stay inside the photo.
        cache: where results are kept, and found again.

    Returns:
        An identity with the Base part alone, empty where there is no reference, and the pictures that CLIP saw.

    Raises:
        HyperLoRAError: the network has no Base parts, CLIP does not fit it, or the rows are not finite.
    """
    network.need_base()
    if not references:
        return Identity(None, None, network.source, network.attentions), []

    def make() -> tuple[torch.Tensor, list[Image.Image]]:
        views = [ref.view for ref in references]
        pictures = [crops.base_image(view.photo, view.face.landmarks, crop, scale_lrtb, safe_crop) for view in views]
        rows = network.base_rows(_tokens(clip, pictures, cache))
        return _finite(rows.cpu()), pictures

    key = ("Base rows", *_encoded_by(network, clip), *_seen(references), crop, tuple(scale_lrtb), safe_crop)
    rows, pictures = cache.get(key, make)
    identity = Identity(
        id_rows=None,
        base_rows=rows,
        checkpoint=network.source,
        attentions=network.attentions,
        base_photos=tuple(ref.photo_sha256 for ref in references),
        settings={
            "base_crop": str(crop),
            "base_crop_scale_lrtb": " ".join(f"{scale:g}" for scale in scale_lrtb),
            "base_safe_crop": str(safe_crop),
        },
    )
    return identity, pictures


def _tokens(clip: ClipVision | None, pictures: Sequence[Image.Image], cache: Cache) -> torch.Tensor | None:
    """CLIP's tokens, kept by all pictures together: beside others a picture's tokens differ in their last bits."""
    if clip is None:
        return None
    key = ("tokens", clip.cache_key, digest(*pictures))
    return cache.get(key, lambda: clip.tokens(clip.preprocess(pictures)))


def _embeds(references: Sequence[Reference]) -> torch.Tensor | None:
    embeds = [torch.from_numpy(ref.id_embed) for ref in references if ref.id_embed is not None]
    return torch.stack(embeds) if embeds else None


def _encoded_by(network: HyperLoRA, clip: ClipVision | None) -> tuple[Hashable, ...]:
    return (network.cache_key, clip.cache_key if clip is not None else None)


def _seen(references: Sequence[Reference]) -> tuple[Hashable, ...]:
    return tuple((ref.photo_sha256, digest(ref.view.face.landmarks, ref.id_embed)) for ref in references)


def _finite(rows: torch.Tensor) -> torch.Tensor:
    if not torch.isfinite(rows).all():
        raise HyperLoRAError(NOT_FINITE.format("coefficients"))
    return rows
