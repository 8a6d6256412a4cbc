"""Identities on disk: one safetensors file each, about 0.6 MB a photo at SDXL's size.

Tensors: ``id_rows`` and ``base_rows`` ``(refs, 8 M, K)`` float32, unscaled; ``embeds`` ``(refs, 512)`` float32;
``thumbnail``, the bytes of a JPEG. The rest of an ``Identity`` is in the metadata. A slider's file holds several
identities, each under a prefix.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from .. import files
from ..errors import HyperLoRAError
from ..files import kinds
from ..files.encoders import Encoder
from ..network.config import ROWS_PER_MODULE, Source
from .value import Identity, check_weights

FORMAT = "1"
_THUMBNAIL_SIDE = 1024  # at most
_NUMBERS = ("id_rows", "base_rows", "embeds")
_THUMBNAIL = "thumbnail"


def save_identity(identity: Identity, path: str | Path) -> Path:
    """Write an identity to a file.

    Args:
        identity: the person.
        path: where to; folders are made, and an existing file is replaced in one step.

    Returns:
        The path written.

    Raises:
        HyperLoRAError: there is nothing in it, or the file cannot be written.
    """
    tensors, described = pack(identity)
    return files.save(path, tensors, {kinds.IDENTITY_KEY: FORMAT, **described})


def load_identity(path: files.PathOrFile) -> Identity:
    """Read an identity from a file.

    Raises:
        HyperLoRAError: it cannot be read, is another kind of file, or what it holds does not fit together.
    """
    tensors, metadata = read(path, kinds.IDENTITY_KEY, kinds.IDENTITY)
    try:
        return unpack(tensors, metadata)
    except HyperLoRAError as error:
        raise HyperLoRAError(f"{path}: {error}") from error


def read(path: files.PathOrFile, key: str, wanted: kinds.Kind) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """The tensors and metadata of one of our files, which is known by an entry of its metadata.

    Raises:
        HyperLoRAError: it cannot be read, or is another kind of file, or of a later format.
    """
    kind, file = kinds.open_recognised(path)
    if file is None or kind is None or kind.key != wanted.key:
        found = f"{kind.name}: {kind.advice}" if kind else "a safetensors file of no known kind"
        raise HyperLoRAError(f"{path} is not {wanted.name} but {found}")
    metadata = file.metadata
    if metadata[key] != FORMAT:
        raise HyperLoRAError(
            f"{path} is {wanted.name} of format {metadata[key]!r}, and this version reads {FORMAT!r}: update "
            "ComfyUI-HyperLoRA"
        )
    return {name: tensor.clone() for name, tensor in file.load().items()}, metadata  # a mapped file cannot change


def pack(identity: Identity) -> tuple[dict[str, Tensor], dict[str, str]]:
    """An identity as tensors and metadata.

    Raises:
        HyperLoRAError: there is nothing in it.
    """
    if identity.id_rows is None and identity.base_rows is None:
        raise HyperLoRAError("there is nothing to save: this identity is empty, for no photo with a face was left")
    tensors = {name: getattr(identity, name) for name in _NUMBERS if getattr(identity, name) is not None}
    if identity.thumbnail is not None:
        tensors[_THUMBNAIL] = torch.frombuffer(bytearray(_jpeg(identity.thumbnail)), dtype=torch.uint8)
    described = {
        "hyperlora.checkpoint": identity.checkpoint.name,
        "hyperlora.checkpoint_fingerprint": identity.checkpoint.fingerprint,
        "hyperlora.attentions": " ".join(identity.attentions),
        "hyperlora.photos_sha256": " ".join(identity.photos),
        "hyperlora.base_photos_sha256": " ".join(identity.base_photos),
        "hyperlora.weights": " ".join(map(repr, identity.weights)),
        "hyperlora.settings": json.dumps(dict(identity.settings)),
    }
    if identity.embedder is not None:
        described["hyperlora.embedder"] = json.dumps([identity.embedder.name, identity.embedder.sha256])
    return tensors, described


def unpack(tensors: Mapping[str, Tensor], described: Mapping[str, str]) -> Identity:
    """What ``pack`` was given.

    Raises:
        HyperLoRAError: a part is missing, misshapen or not finite, or does not fit the others.
    """
    try:
        embedder = json.loads(described["hyperlora.embedder"]) if "hyperlora.embedder" in described else None
        identity = Identity(
            id_rows=tensors.get("id_rows"),
            base_rows=tensors.get("base_rows"),
            checkpoint=Source(described["hyperlora.checkpoint"], described["hyperlora.checkpoint_fingerprint"]),
            attentions=tuple(described["hyperlora.attentions"].split()),
            photos=tuple(described["hyperlora.photos_sha256"].split()),
            base_photos=tuple(described["hyperlora.base_photos_sha256"].split()),
            weights=tuple(map(float, described["hyperlora.weights"].split())),
            embeds=tensors.get("embeds"),
            embedder=Encoder(*map(str, embedder)) if embedder else None,
            settings={str(key): str(value) for key, value in json.loads(described["hyperlora.settings"]).items()},
            thumbnail=_picture(tensors[_THUMBNAIL]) if _THUMBNAIL in tensors else None,
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise HyperLoRAError(f"its description cannot be read ({error}): {files.DOWNLOAD_AGAIN}") from error
    wrong = _wrong(identity, tensors)
    if wrong:
        raise HyperLoRAError(f"{wrong}: {files.DOWNLOAD_AGAIN}")
    return identity


def _wrong(identity: Identity, tensors: Mapping[str, Tensor]) -> str | None:
    """What does not fit together in an identity."""
    unknown = tensors.keys() - {*_NUMBERS, _THUMBNAIL}
    if unknown or not tensors.keys() & {"id_rows", "base_rows"}:
        return f"an identity holds rows, and it holds {', '.join(sorted(unknown)) or 'none'}"
    rows = ROWS_PER_MODULE * len(identity.attentions)
    for name in filter(tensors.__contains__, _NUMBERS):
        tensor = tensors[name]
        expected = {"embeds": (identity.refs, None)}.get(name, (None, rows, None))
        fits = len(tensor.shape) == len(expected) and all(
            size > 0 and wanted in (None, size) for size, wanted in zip(tensor.shape, expected, strict=True)
        )
        if not fits or tensor.dtype != torch.float32:
            wanted = ", ".join("any" if size is None else str(size) for size in expected)
            return f"{name} is {tuple(tensor.shape)} {tensor.dtype} instead of ({wanted}) float32"
        if not torch.isfinite(tensor).all():
            return f"{name} holds NaN or infinite numbers"
    if identity.weights:
        check_weights(identity.weights, identity.refs)
    return None


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=90)
    return file.getvalue()


def _picture(data: Tensor) -> Image.Image:
    """A thumbnail.

    Raises:
        ValueError: it is none.
    """
    if data.dtype != torch.uint8 or data.ndim != 1:
        raise ValueError(f"its thumbnail is {tuple(data.shape)} {data.dtype}")
    try:
        picture: Any = Image.open(io.BytesIO(data.numpy().tobytes()), formats=["JPEG"])
        if max(picture.size) > _THUMBNAIL_SIDE:
            raise ValueError(f"its thumbnail has {picture.width} x {picture.height} pixels")
        return picture.convert("RGB")
    except (OSError, SyntaxError) as error:
        raise ValueError(f"its thumbnail is broken: {error}") from error
