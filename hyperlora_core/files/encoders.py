"""The encoders that a HyperLoRA was trained with: its CLIP tower and its face embedder, by name and content.

Another encoder of the same size runs and gives another person, so the one that is loaded is compared.
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
    """One encoder; two of the same content are equal.

    Attributes:
        name: as messages call it.
        sha256: of a face embedder's file; of a CLIP tower's content, see ``TowerFile.fingerprint``.
    """

    name: str = field(compare=False)
    sha256: str


@dataclass(frozen=True)
class Encoders:
    """What a checkpoint was trained with; None where it does not say.

    Attributes:
        clip_vision: the CLIP tower.
        face: the face embedder.
    """

    clip_vision: Encoder | None = None
    face: Encoder | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Encoders":
        """Read what ``to_json`` gave.

        Raises:
            HyperLoRAError: it is something else.
        """
        try:
            found = cls(**{key: Encoder(**entry) for key, entry in value.items()})
        except TypeError as error:
            raise HyperLoRAError(f"its entry of encoders cannot be read ({error}): convert it again") from error
        for encoder in (found.clip_vision, found.face):
            if encoder and not (isinstance(encoder.name, str) and isinstance(encoder.sha256, str)):
                raise HyperLoRAError(f"its entry of encoders cannot be read ({encoder}): convert it again")
        return found

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; what is not known is absent."""
        return {key: value for key, value in asdict(self).items() if value is not None}


UNKNOWN = Encoders()
"""Of a checkpoint that says nothing."""

ANTELOPEV2 = Encoder("antelopev2's glintr100", "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf")
"""What the released weights were trained with; assumed of checkpoints that do not say it."""

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
    """Which face embedder a file is. Hashes the file, once a process."""
    digest = file_sha256(path)
    known = next((encoder for encoder in _KNOWN if encoder.sha256 == digest), None)
    return known or Encoder(f"{path.parent.name}/{path.name}", digest)


def is_known_embedder(encoder: Encoder) -> bool:
    """Whether it is one that identity methods are trained with, by its content or its name."""
    names = (*_FOREIGN_NAMES, *_ARCFACE_NAMES)
    return encoder in _KNOWN or any(name in encoder.name.lower() for name in names)


def check_face(trained_with: Encoder | None, found: Encoder, other: str = "refuse") -> None:
    """Compare a face embedder with the one that a checkpoint was trained with.

    A checkpoint that does not say it is taken for one of antelopev2, as the released ones are: embedders known to be
    others are refused, by their content or their name, and one that is not known is used with a warning.

    Args:
        trained_with: as the checkpoint says.
        found: what is there, see ``face_encoder``.
        other: "refuse" or "allow" another embedder; "never" where nobody could allow it.

    Raises:
        HyperLoRAError: it is another, and that is refused.
    """
    expected = trained_with or ANTELOPEV2
    if found.sha256 == expected.sha256:
        return
    foreign = found in _KNOWN or any(name in found.name.lower() for name in _FOREIGN_NAMES)
    if trained_with is None and not foreign:
        log.warning("The face embedder %s is not known; this HyperLoRA takes %s", found.name, expected.name)
        return
    _differs("face embedder", expected, found, other)


def check_clip(trained_with: Encoder | None, found: Encoder, other: str = "refuse") -> None:
    """Compare a CLIP tower with the one that a checkpoint was trained with; see ``check_face``."""
    if trained_with is not None and found.sha256 != trained_with.sha256:
        _differs("CLIP vision model", trained_with, found, other)


def _differs(what: str, expected: Encoder, found: Encoder, other: str) -> None:
    message = (
        f"this HyperLoRA was trained with the {what} {_named(expected)}, and {_named(found)} is given: the same photo "
        f"means another person to it"
    )
    if other != "allow":
        way = ", or set other_encoders to 'allow'" if other == "refuse" else ""
        raise HyperLoRAError(f"{message}. Choose the first{way}")
    log.warning("%s; it is used all the same, for other_encoders is 'allow'", message)


def _named(encoder: Encoder) -> str:
    return f"{encoder.name} ({encoder.sha256[:10]})"
