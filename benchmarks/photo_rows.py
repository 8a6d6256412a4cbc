"""Rows from photos on: faces, CLIP, network, and what is kept."""

from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image

from demo.face_pack import face_pack
from demo.photos import photos
from hyperlora_core.cache import NOTHING_KEPT, Cache
from hyperlora_core.clip.vision import ClipVision
from hyperlora_core.faces import FaceAnalyzer, choose_face, sort_faces
from hyperlora_core.faces.references import find_references
from hyperlora_core.files.photos import open_photo
from hyperlora_core.identity.encoding import encode_id
from hyperlora_core.identity.generation import generate
from hyperlora_core.lora.value import LoRA
from hyperlora_core.network.hyperlora import HyperLoRA

from . import full_size
from .measure import Spread, alternate
from .once import compute_dtype
from .photo_reference import PhotoReference
from .reference import Reference
from .rows import Row

PERSON = "obama"
ONE_PASS = 0.995


def photo_to_lora(folder: Path, pairs: int, device: torch.device) -> Iterator[Row]:
    """All stages with warm models, against the reference; then the same photo again, out of the cache."""
    dtype = compute_dtype(device)
    network, reference = HyperLoRA.load(folder, device, dtype), Reference(folder).to(device, dtype)
    clip_folder = full_size.clip()
    clip, analyzer = ClipVision.load(clip_folder, device, dtype), FaceAnalyzer.load(face_pack())
    seen_by = PhotoReference(face_pack(), clip_folder, device, dtype)
    photo = open_photo(photos()[PERSON])

    def ours(photo: Image.Image = photo, cache: Cache = NOTHING_KEPT) -> LoRA:
        references = find_references(analyzer, [photo], cache=cache)
        return generate(network, encode_id(network, clip, references, cache=cache)[0], 1.0, cache=cache)

    def other() -> dict[str, torch.Tensor]:
        return reference.lora(reference.coefficients(*seen_by(photo)))

    yield Row.of_times("photo -> LoRA, warm / reference", 0.80, *alternate(ours, other, pairs, device)).explained(ours)
    cache = Cache(1 << 30)

    def first() -> LoRA:
        cache.clear()
        return ours(cache=cache)

    # an equal photo, but another object, as every prompt brings it
    again, new = alternate(lambda: ours(photo.copy(), cache), first, pairs, device)
    yield Row.of_times("same photo again / first time", 0.01, again, new)


def one_pass() -> Iterator[Row]:
    """How near a face's embedding in the photo is to the one that the weights were trained with, of its crop."""
    analyzer = FaceAnalyzer.load(face_pack())
    likeness = {}
    for name, path in photos().items():
        photo = open_photo(path)
        face = choose_face(sort_faces(analyzer.detect(photo, embed=True)))
        likeness[name] = float(face.embedding @ analyzer.id_embedding(photo, face))
    each = ", ".join(f"{name} {cosine:.3f}" for name, cosine in likeness.items())
    yield Row(
        f"one detection instead of two: 1 - cosine (<= {1 - ONE_PASS:.3f})",
        1 - ONE_PASS,
        Spread.of([1 - cosine for cosine in likeness.values()]),
        sides=f"so two stay; cosines: {each}" if min(likeness.values()) < ONE_PASS else each,
    )
