"""Which CLIP tower and which face embedder a HyperLoRA was trained with, by name and content.

Another encoder of the same size would run without an error and give another person, so what is loaded is compared.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import HyperLoRAError
from . import file_sha256

OTHER_ENCODERS = ("refuse", "allow")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoder:
    """An encoder; two are equal when their content is.

    Attributes:
        name: as messages call it.
        sha256: of a face embedder's file; of a CLIP tower's content, see ``clip.weights.TowerFile.encoder``.
    """

    name: str = field(compare=False)
    sha256: str


@dataclass(frozen=True)
class Encoders:
    """The encoders that a checkpoint was trained with; None where it does not say.

    Attributes:
        clip_vision: the CLIP tower.
        face: the face embedder.
    """

    clip_vision: Encoder | None = None
    face: Encoder | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Encoders":
        """The inverse of ``to_json``.

        Raises:
            HyperLoRAError: the value has other keys or types.
        """
        try:
            encoders = cls(**{key: Encoder(**entry) for key, entry in value.items()})
        except TypeError as error:
            raise HyperLoRAError(f"its entry of encoders cannot be read ({error}): convert it again") from error
        for encoder in (encoders.clip_vision, encoders.face):
            if encoder and not (isinstance(encoder.name, str) and isinstance(encoder.sha256, str)):
                raise HyperLoRAError(f"its entry of encoders cannot be read ({encoder}): convert it again")
        return encoders

    def to_json(self) -> dict[str, Any]:
        """As a JSON object, without the encoders that are unknown."""
        return {key: value for key, value in asdict(self).items() if value is not None}


UNKNOWN = Encoders()
"""The encoders of a checkpoint that names none."""

ANTELOPEV2 = Encoder("antelopev2's glintr100", "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf")
"""The face embedder of the released weights; assumed for checkpoints that name none."""

# insightface's and fal's published files.
_KNOWN = (
    ANTELOPEV2,
    Encoder("buffalo_l's w600k_r50", "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43"),
    Encoder("buffalo_s's w600k_mbf", "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f"),
    Encoder("AuraFace's glintr100", "a7933ea5330113b01c9b60351d8f4c33003f145d8470ac5f0e52ee2effe25c60"),
)
_FOREIGN_NAMES = ("w600k", "buffalo", "auraface")
_ARCFACE_NAMES = ("antelope", "glintr100", "arcface.onnx")


def face_encoder(path: Path) -> Encoder:
    """Which face embedder a file holds, by its sha256, which is computed once a process."""
    digest = file_sha256(path)
    known = next((encoder for encoder in _KNOWN if encoder.sha256 == digest), None)
    return known or Encoder(f"{path.parent.name}/{path.name}", digest)


def is_known_embedder(encoder: Encoder) -> bool:
    """Whether identity methods are trained with it, by its content or its name."""
    names = (*_FOREIGN_NAMES, *_ARCFACE_NAMES)
    return encoder in _KNOWN or any(name in encoder.name.lower() for name in names)


def check_face(trained_with: Encoder | None, loaded: Encoder, other: str = "refuse") -> None:
    """Compare a face embedder with the one that a checkpoint was trained with.

    A checkpoint that names none is taken to be made for antelopev2, as the released ones are. Other known embedders are
    then refused, by their content or their name; an unknown one is used with a warning.

    Args:
        trained_with: the embedder that the checkpoint names.
        loaded: the embedder that is to be used, see ``face_encoder``.
        other: "refuse" or "allow" another embedder; "never" refuses it where there is no setting to allow it with.

    Raises:
        HyperLoRAError: it is another embedder, and that is refused.
    """
    expected = trained_with or ANTELOPEV2
    if loaded.sha256 == expected.sha256:
        return
    foreign = loaded in _KNOWN or any(name in loaded.name.lower() for name in _FOREIGN_NAMES)
    if trained_with is None and not foreign:
        log.warning("The face embedder %s is not known; this HyperLoRA takes %s", loaded.name, expected.name)
        return
    _differs("face embedder", expected, loaded, other)


def check_clip(trained_with: Encoder | None, loaded: Encoder, other: str = "refuse") -> None:
    """Compare a CLIP tower with the one that a checkpoint was trained with; see ``check_face``."""
    if trained_with is not None and loaded.sha256 != trained_with.sha256:
        _differs("CLIP vision model", trained_with, loaded, other)


def _differs(what: str, expected: Encoder, loaded: Encoder, other: str) -> None:
    message = (
        f"this HyperLoRA was trained with the {what} {_with_hash(expected)}, and {_with_hash(loaded)} is given: the "
        "same photo means another person to it"
    )
    if other != "allow":
        way = ", or set other_encoders to 'allow'" if other == "refuse" else ""
        raise HyperLoRAError(f"{message}. Choose the first{way}")
    log.warning("%s; it is used all the same, for other_encoders is 'allow'", message)


def _with_hash(encoder: Encoder) -> str:
    return f"{encoder.name} ({encoder.sha256[:10]})"
