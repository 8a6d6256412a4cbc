"""How like a person the faces on pictures are: cosines of face embeddings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from ..cache import NOTHING_KEPT, Cache, digest
from ..errors import HyperLoRAError, NoFaceError
from ..faces import Face, FaceAnalyzer, Reference, sort_faces
from ..faces.references import detect_faces, id_embedding
from ..files.encoders import Encoder
from ..identity.value import Identity, check_weights


@dataclass(frozen=True, eq=False)
class Person:
    """The person that pictures are compared with.

    Attributes:
        embeds: ``(photos, 512)`` float32, unit length.
        weights: of each photo in the mean.
        embedder: the face model that the embeddings are from.
        encoded_by: the face model by which the person was encoded for a HyperLoRA; None where it is unknown.
    """

    embeds: Tensor
    weights: tuple[float, ...]
    embedder: Encoder
    encoded_by: Encoder | None = None

    @classmethod
    def of_identity(cls, identity: Identity) -> "Person":
        """The person of an identity, by the face embeddings that it keeps.

        Raises:
            HyperLoRAError: it has none.
        """
        if identity.embeds is None or identity.embedder is None:
            raise HyperLoRAError(
                "this identity has no face embeddings to judge by: its HyperLoRA reads CLIP alone, or its photos were "
                "described by several face models. Connect photos of the person instead"
            )
        weights = identity.weights or (1.0,) * len(identity.embeds)
        return cls(identity.embeds, weights, identity.embedder, identity.embedder)

    @classmethod
    def of_references(cls, references: Sequence[Reference]) -> "Person":
        """The person on photos, by the embeddings of their faces.

        Raises:
            HyperLoRAError: there is no photo, or a face has none.
        """
        embeds = [torch.from_numpy(ref.id_embed) for ref in references if ref.id_embed is not None]
        if not embeds or len(embeds) < len(references):
            raise HyperLoRAError("a person is judged by photos whose faces were described: find_references(embed=True)")
        return cls(torch.stack(embeds).float(), (1.0,) * len(embeds), references[0].embedder)

    def __post_init__(self) -> None:
        check_weights(self.weights, len(self.embeds))

    def likeness(self, embed: Tensor) -> float:
        """The weighted mean of a face's cosines with the person's photos, -1 to 1; the same picture has 1."""
        weights = torch.tensor(self.weights)
        return float((self.embeds @ embed.float() * weights).sum() / weights.sum())

    @property
    def remark(self) -> str:
        """Which face model judges, and whether its scores flatter, as they do where it also encoded the person."""
        who = f"judged by {self.embedder.name} ({self.embedder.sha256[:10]})"
        if self.encoded_by is None:
            return f"{who}; if the HyperLoRA reads faces by it too, that flatters"
        if self.encoded_by == self.embedder:
            return f"{who}, by which this person was encoded too: that flatters. Compare seeds and settings by it"
        return f"{who}; the person was encoded by {self.encoded_by.name}"


@dataclass(frozen=True, eq=False)
class Judged:
    """A picture and how like the person its faces are.

    Attributes:
        number: the picture's position in the batch, from 1.
        picture: RGB.
        faces: from left to right.
        scores: of each face; None for one that could not be described.
    """

    number: int
    picture: Image.Image
    faces: tuple[Face, ...]
    scores: tuple[float | None, ...]

    @property
    def score(self) -> float | None:
        """The score of the face most like the person; None where there is no face."""
        return max((score for score in self.scores if score is not None), default=None)

    def __str__(self) -> str:
        if not self.faces:
            return f"picture {self.number}: no face"
        scores = [written(score) for score in self.scores]
        return f"picture {self.number}: {written(self.score)}" + (
            f", of faces {', '.join(scores)}" if scores[1:] else ""
        )


def written(score: float | None) -> str:
    """A score as text: three decimals, or "no face"."""
    return "no face" if score is None else f"{score:.3f}"


def judge(
    analyzer: FaceAnalyzer,
    person: Person,
    pictures: Sequence[Image.Image],
    cache: Cache = NOTHING_KEPT,
    progress: Callable[[int], None] = lambda number: None,
) -> list[Judged]:
    """Find the faces on pictures and compare each with a person.

    Args:
        analyzer: finds and describes faces.
        person: of the same embedder.
        pictures: RGB.
        cache: of detections and embeddings.
        progress: called after each picture with the number of finished pictures.

    Raises:
        HyperLoRAError: the analyzer's embedder is not the person's.
    """
    if analyzer.embedder != person.embedder:
        raise HyperLoRAError(
            f"this person's faces were described by {person.embedder.name}, whose numbers mean nothing to "
            f"{analyzer.embedder.name}: choose the first as face_model, or connect photos of the person"
        )

    def score(picture: Image.Image, sha256: str, face: Face) -> float | None:
        try:
            return person.likeness(torch.from_numpy(id_embedding(analyzer, picture, sha256, face, cache)))
        except NoFaceError:
            return None

    judged = []
    for number, picture in enumerate(pictures, start=1):
        sha256 = digest(picture)
        detected = detect_faces(analyzer, picture, sha256, cache=cache)
        faces = tuple(sort_faces(detected, "left to right"))
        judged.append(Judged(number, picture, faces, tuple(score(picture, sha256, face) for face in faces)))
        progress(number)
    return judged


def select(judged: Sequence[Judged], least: float = -1.0, best_first: bool = False, most: int = 0) -> list[Judged]:
    """Select pictures by their scores.

    Args:
        judged: from ``judge``.
        least: the lowest score that is kept; -1 keeps pictures without a face too.
        best_first: sort by score, pictures without a face last; otherwise the order of ``judged`` stays.
        most: keep only so many, the best; 0 keeps all.

    Raises:
        HyperLoRAError: none is left.
    """
    accepted = [picture for picture in judged if least <= -1 or (picture.score is not None and picture.score >= least)]
    if not accepted:
        best = max((picture.score for picture in judged if picture.score is not None), default=None)
        problem = "no face was found on any" if best is None else f"the best has {best:.3f}"
        raise HyperLoRAError(f"none of the {len(judged)} pictures has a likeness of {least:g}: {problem}")
    ranked = sorted(accepted, key=_rank)[: most or None]
    return ranked if best_first else [picture for picture in accepted if picture in ranked]


def _rank(picture: Judged) -> float:
    return 2.0 if picture.score is None else -picture.score
