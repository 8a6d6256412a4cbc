"""Checks whether a picture is fit for a training set, and measures its face."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from hashlib import sha256
from typing import Any, TypeVar

from ..errors import HyperLoRAError, NoFaceError
from ..faces import Face, FaceAnalyzer
from ..faces.photo_report import BLURRED, UNSURE, pose, sharpness
from . import pictures
from .shards import Sample
from .sources import Item

_T = TypeVar("_T")

ACCEPTED = ""
REASONS = {
    "unreadable": "the file could not be read",
    "broken shard": "the shard ends here: what follows in it could not be read",
    "broken notes": "the .json beside it is none, so its licence is not known",
    "no licence": "nothing says under which licence it is",
    "no picture": "nothing but notes",
    "empty file": "the file is empty",
    "file too large": "the file is larger than 64 MB",
    "broken picture": "it is no picture, or cut short",
    "picture too small": "the shorter side has too few pixels",
    "no face": "no face was found",
    "several faces": "more than one face was found",
    "uncertain face": "the detector is not sure",
    "face too small": "the face has too few pixels",
    "face too small a part": "the face is too small a part of the picture",
    "face too large a part": "nothing but the face is to be seen",
    "turned away": "the head is turned too far",
    "blurred": "the face is not sharp",
    "not found again": "the face was not found in the crop that its embedding is made of",
    "failed": "the models failed on it",
    "crashed": "it ended the process twice, or the captioner failed on it",
    "duplicate": "the same pixels were there before",
    "near-duplicate": "the same picture was there before, of another size or compression",
    "withdrawn": "it is on a drop list, or a duplicate of one that is",
}
"""Reason for a rejection -> a sentence on it, in the order of the checks."""

_DETECT, _EMBED = "detect", "embed"
_PAUSE = 1.0  # seconds before the models get a picture a second time
_MOST_FAILURES = 50  # one after the other: then it is not the pictures


def _limit(default: float, about: str) -> Any:
    return field(default=default, metadata={"help": about})


@dataclass(frozen=True)
class Limits:
    """Which pictures are accepted; numbers are pixels, shares or degrees."""

    min_side: int = _limit(512, "pixels of the picture's shorter side, at least")
    min_face: int = _limit(128, "pixels of the face box's longer side, at least")
    min_face_share: float = _limit(0.02, "of the picture's area that the face box takes, at least")
    max_face_share: float = _limit(0.7, "of the picture's area that the face box takes, at most")
    min_score: float = _limit(UNSURE, "of the face detector, 0 to 1")
    max_yaw: float = _limit(60.0, "degrees that the head is turned aside, at most")
    max_pitch: float = _limit(45.0, "degrees that the head is turned up or down, at most")
    max_roll: float = _limit(45.0, "degrees that the head is inclined, at most")
    min_sharpness: float = _limit(
        BLURRED, "of the face at 160 pixels: spread of the Laplacian at a contrast of one; sharp portraits have 0.4"
    )

    def __post_init__(self) -> None:
        for limit in fields(self):
            if not getattr(self, limit.name) >= 0:
                raise HyperLoRAError(
                    f"the limit {limit.name} is {getattr(self, limit.name)}; a number from 0 was expected"
                )
        if self.min_score > 1:
            raise HyperLoRAError(f"the limit min_score is {self.min_score:g}; a number from 0 to 1 was expected")
        if self.min_face_share >= self.max_face_share:
            raise HyperLoRAError(
                f"the face has to take {self.min_face_share} of the picture at least, {self.max_face_share} at most: "
                "there is no such picture"
            )


@dataclass(eq=False)
class Checked:
    """The result of checking one picture.

    Attributes:
        item: the picture as its source has it.
        reason: why it is rejected, a key of ``REASONS``; or ``ACCEPTED``.
        width, height: of the picture, 0 where it cannot be read.
        measured: ``face`` (pixels), ``share``, ``score``, ``yaw``, ``pitch``, ``roll``, ``sharpness``; empty without
            one face.
        file_sha256: of the file as the source has it.
        pixels: see ``pictures.pixel_hash``; of accepted pictures only.
        phash: see ``pictures.perceptual_hash``; of accepted pictures only.
        sample: of accepted pictures only, without its key.
        thumb: a small JPEG, where the picture can be read.
        detail: what went wrong, where something did.
    """

    item: Item
    reason: str
    width: int = 0
    height: int = 0
    measured: dict[str, float] = field(default_factory=dict)
    file_sha256: str = ""
    pixels: bytes = b""
    phash: int = 0
    sample: Sample | None = None
    thumb: bytes = b""
    detail: str = ""


class _BrokenError(HyperLoRAError):
    """A picture that cannot be decoded."""


class _ModelsError(HyperLoRAError):
    """The models fail on every picture."""


class Checker:
    """Checks pictures, one after the other.

    Args:
        analyzer: finds faces.
        limits: which pictures are accepted.
        need_licence: reject pictures that come without a licence.

    Attributes:
        failures: step -> on how many pictures in a row it failed.
    """

    def __init__(self, analyzer: FaceAnalyzer, limits: Limits, need_licence: bool = False) -> None:
        self.analyzer, self.limits, self.need_licence = analyzer, limits, need_licence
        self.failures = {_DETECT: 0, _EMBED: 0}

    def __call__(self, item: Item) -> Checked:
        """Check a picture.

        Raises:
            HyperLoRAError: the models failed on so many pictures in a row that it cannot be the pictures.
        """
        if item.problem:
            return Checked(item, item.problem, detail=item.detail)
        checked = Checked(item, ACCEPTED, file_sha256=sha256(item.picture).hexdigest())
        if self.need_licence and "licence" not in item.source:
            checked.reason = "no licence"
            return checked
        try:
            self._look(checked)
        except _ModelsError:
            raise
        except _BrokenError as error:
            checked.reason, checked.detail = "broken picture", str(error)
        except Exception as error:  # one picture never stops the others
            checked.reason, checked.detail = "failed", f"{type(error).__name__}: {error}"
        return checked

    def _run(self, step: str, name: str, models: Callable[[], _T]) -> _T:
        """Run a step of the models; it may fail on single pictures, but not on many in a row.

        A step that fails is repeated once, for a GPU that others use too may be full for a moment.
        """
        try:
            try:
                answer = models()
            except NoFaceError:
                raise
            except Exception:
                if not self.failures[step]:
                    time.sleep(_PAUSE)
                answer = models()
        except NoFaceError:  # which is an answer
            self.failures[step] = 0
            raise
        except Exception as error:
            self.failures[step] += 1
            if self.failures[step] >= _MOST_FAILURES:
                raise _ModelsError(
                    f"the models failed on {self.failures[step]} pictures one after the other, last on {name} "
                    f"({type(error).__name__}: {error}): mend that, and run the same command again"
                ) from error
            raise
        self.failures[step] = 0
        return answer

    def _look(self, checked: Checked) -> None:
        item, limits = checked.item, self.limits
        try:
            checked.width, checked.height = pictures.size_of(item.picture, item.name)
            if min(checked.width, checked.height) < limits.min_side:
                checked.reason = "picture too small"
                return
            picture = pictures.read(item.picture, item.name)
        except MemoryError:
            raise
        except Exception as error:  # a decoder may raise anything over a file that is made to break it
            raise _BrokenError(f"{item.name} cannot be decoded ({type(error).__name__}: {error})") from error
        photo = picture.photo
        checked.width, checked.height = photo.size
        if min(photo.size) < limits.min_side:  # one that was reduced
            checked.reason = "picture too small"
            return
        checked.thumb = pictures.thumbnail(photo)
        faces = self._run(_DETECT, item.name, lambda: self.analyzer.detect(photo, margins=False))
        if len(faces) != 1:
            checked.reason = "several faces" if faces else "no face"
            return
        (face,) = faces
        checked.measured = _measure(face, checked)
        checked.measured["sharpness"] = sharpness(photo, face.landmarks)
        checked.reason = next(_faults(checked.measured, limits), ACCEPTED)
        if checked.reason != ACCEPTED:
            return
        try:
            embed = self._run(_EMBED, item.name, lambda: self.analyzer.id_embedding(photo, face))
        except NoFaceError:
            checked.reason = "not found again"
            return
        checked.pixels, checked.phash = pictures.pixel_hash(photo), pictures.perceptual_hash(photo)
        checked.sample = Sample(
            key="",
            picture=picture.file,
            suffix=picture.suffix,
            width=photo.width,
            height=photo.height,
            caption=item.caption,
            box=face.box,
            score=face.score,
            keypoints=face.keypoints,
            landmarks=face.landmarks,
            pose=(checked.measured["pitch"], checked.measured["yaw"], checked.measured["roll"]),
            embed=embed,
            person=item.person,
            source=item.source,
        )


def _measure(face: Face, checked: Checked) -> dict[str, float]:
    left, top, right, bottom = (float(edge) for edge in face.box)
    yaw, pitch, roll = pose(face.keypoints)
    return {
        "face": max(right - left, bottom - top),
        "share": face.area / (checked.width * checked.height),
        "score": face.score,
        "yaw": yaw,
        "pitch": pitch,
        "roll": roll,
    }


def _faults(measured: dict[str, float], limits: Limits) -> Iterator[str]:
    if measured["score"] < limits.min_score:
        yield "uncertain face"
    if measured["face"] < limits.min_face:
        yield "face too small"
    if measured["share"] < limits.min_face_share:
        yield "face too small a part"
    if measured["share"] > limits.max_face_share:
        yield "face too large a part"
    if any(abs(measured[angle]) > getattr(limits, f"max_{angle}") for angle in ("yaw", "pitch", "roll")):
        yield "turned away"
    if not measured["sharpness"] >= limits.min_sharpness:
        yield "blurred"
