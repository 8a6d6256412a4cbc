"""A person's face found on each of their photos."""

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from ..cache import NOTHING_KEPT, Cache, digest
from ..errors import HyperLoRAError, NoFaceError
from ..files.encoders import Encoder
from .analyzer import FaceAnalyzer, choose_face, sort_faces
from .face import Face
from .picks import Pick, check_picks
from .scale import INSIGHTFACE
from .upright import TURNED, View, roll, turned_back, turned_upright

log = logging.getLogger(__name__)

ON_NO_FACE = ("error", "skip", "bypass")


@dataclass(frozen=True, eq=False)
class Reference:
    """A photo and the face on it that is the person's.

    Attributes:
        photo: RGB, as it came in.
        photo_sha256: over its size and pixels.
        faces: all faces on it, in the order that ``index`` counts in.
        face: the person's, on ``photo``.
        view: the photo and the face that are read: the same two, or turned upright where the head was turned.
        id_embed: ``(512,)``, unit length: the embedding that the network is conditioned on; None where it reads none.
        number: the photo's position among the person's photos, from 1.
        embedder: the model that the faces' embeddings are from.
    """

    photo: Image.Image
    photo_sha256: str
    faces: tuple[Face, ...]
    face: Face
    view: View
    id_embed: np.ndarray | None
    number: int
    embedder: Encoder


def find_references(
    analyzer: FaceAnalyzer,
    photos: Sequence[Image.Image],
    order: str = "largest",
    index: int = 0,
    match: Image.Image | None = None,
    on_no_face: str = "error",
    embed: bool = True,
    cache: Cache = NOTHING_KEPT,
    report: Callable[[str], None] = log.warning,
    progress: Callable[[int], None] = lambda number: None,
    picks: Sequence[Pick] = (),
    turn_upright: bool = True,
) -> list[Reference]:
    """Find a person's face in each photo.

    Args:
        analyzer: finds and describes faces.
        photos: RGB pictures.
        order: how faces are ordered before ``index`` picks one; see ``faces.ORDERS``.
        index: which face in that order, from 0.
        match: for the order "best match" alone, a photo of the person; its largest face is compared with.
        on_no_face: "error" raises for a photo without that face; "skip" leaves it out and reports it, and raises where
            no photo is left; "bypass" reports that too, and gives an empty list.
        embed: find the embedding that the network is conditioned on, which takes a second look at each face; not needed
            where the network reads CLIP alone.
        cache: of detections and embeddings.
        report: called with a line for each photo that is left out, and for photos that hardly show one person.
        progress: called after each photo with the number of finished photos.
        picks: faces that were pointed at; on their photos they are taken, and ``order`` and ``index`` choose on the
            others.
        turn_upright: turn photos on which the head is turned by more than ``upright.TURNED`` degrees; where it is not,
            or cannot be, it is reported.

    Returns:
        One reference for each photo that has the face, and one for each face picked where some were.

    Raises:
        NoFaceError: a photo has no face, naming its number; or, skipping, not one photo has; or ``match`` has none.
        HyperLoRAError: there is no photo, or ``index``, ``match`` or a pick does not fit.
    """
    if not photos:
        raise HyperLoRAError("no photo was given: connect at least one")
    if on_no_face not in ON_NO_FACE:
        raise HyperLoRAError(f"on_no_face is {on_no_face!r}; one of {', '.join(ON_NO_FACE)} was expected")

    embedding, matched = None, order == "best match"
    if matched and match is not None:
        try:
            match_faces = detect_faces(analyzer, match, digest(match), matched, cache)
            embedding = choose_face(sort_faces(match_faces)).embedding
        except NoFaceError as error:
            raise NoFaceError(f"the reference photo for the best match: {error}") from error
    contents = [digest(photo) for photo in photos]
    check_picks(picks, dict.fromkeys(contents))
    references, problems = [], []
    for number, (photo, sha256) in enumerate(zip(photos, contents, strict=True), start=1):
        faces = tuple(sort_faces(detect_faces(analyzer, photo, sha256, matched, cache), order, embedding))
        try:
            picked_faces = [pick.find(faces, photo, number) for pick in picks if pick.photo == sha256]
            for face in picked_faces or [choose_face(faces, index)]:
                view, remark = _view(analyzer, photo, face, turn_upright, cache)
                if remark:
                    report(f"photo {number} of {len(photos)}: {remark}")
                id_embed = id_embedding(analyzer, view.photo, sha256, view.face, cache) if embed else None
                references.append(Reference(photo, sha256, faces, face, view, id_embed, number, analyzer.embedder))
        except NoFaceError as error:
            problem = f"photo {number} of {len(photos)}: {error}"
            if on_no_face == "error":
                raise NoFaceError(problem) from error
            report(f"left out {problem.partition('. ')[0]}")
            problems.append(problem)
        progress(number)
    _compare(references, report)
    if not references:
        nothing = f"the face was found in none of the {len(photos)} photos, so none is left"
        if on_no_face == "skip":
            raise NoFaceError(f"{nothing}. {problems[0]}")
        report(f"{nothing}: the model stays as it is")
    return references


def _view(
    analyzer: FaceAnalyzer, photo: Image.Image, face: Face, turn_upright: bool, cache: Cache
) -> tuple[View, str | None]:
    """The view in which a face is read, and a remark for the user where the head is turned."""
    degrees = roll(face.keypoints)
    if abs(degrees) <= TURNED:
        return View(photo, face), None

    def find() -> View | None:
        return turned_upright(photo, face, lambda view: detect_faces(analyzer, view, digest(view), cache=cache))

    view = find() if turn_upright else None
    if view is None:
        return View(photo, face), (
            f"the head is turned by some {abs(degrees):.0f} degrees, and is read as another person's: "
            + (
                "it was not surely found upright, so turn the photo yourself"
                if turn_upright
                else "turn the photo upright"
            )
        )
    return view, f"the head was turned by some {abs(view.turned):.0f} degrees: the photo is read upright"


def detect_faces(
    analyzer: FaceAnalyzer, photo: Image.Image, photo_sha256: str, embed: bool = False, cache: Cache = NOTHING_KEPT
) -> Sequence[Face]:
    """``FaceAnalyzer.detect``, cached."""
    key = ("faces", analyzer.cache_key, photo_sha256, embed)
    return cache.get(key, lambda: analyzer.detect(photo, embed=embed))


def id_embedding(
    analyzer: FaceAnalyzer, photo: Image.Image, photo_sha256: str, face: Face, cache: Cache = NOTHING_KEPT
) -> np.ndarray:
    """``FaceAnalyzer.id_embedding``, cached.

    Raises:
        NoFaceError: as there.
    """
    key = ("face embedding", analyzer.cache_key, photo_sha256, digest(face.box, face.landmarks))
    return cache.get(key, lambda: analyzer.id_embedding(photo, face))


def on_photos(
    analyzer: FaceAnalyzer,
    references: Sequence[Reference],
    photos: Sequence[Image.Image],
    embed: bool = True,
    cache: Cache = NOTHING_KEPT,
) -> list[Reference]:
    """Move references to other photos: the same ones, or the same ones retouched.

    Args:
        analyzer: describes the face anew where a photo was retouched.
        references: from ``find_references``.
        photos: as many as ``find_references`` got, in that order.
        embed: describe faces on retouched photos anew; not needed for the Base part.
        cache: of detections and embeddings.

    Raises:
        HyperLoRAError: there are fewer photos, or one has another size.
        NoFaceError: the face is not found again where it was, naming the photo.
    """
    updated = []
    for ref in references:
        photo = photos[ref.number - 1] if ref.number <= len(photos) else None
        if photo is None or photo.size != ref.photo.size:
            problem = "is absent" if photo is None else f"is {photo.width} x {photo.height}"
            raise HyperLoRAError(
                f"the faces are of other photos: photo {ref.number} was {ref.photo.width} x {ref.photo.height} when "
                f"its face was found, and now {problem}. Connect the same photos to both"
            )
        sha256 = digest(photo)
        if sha256 != ref.photo_sha256:
            needs_embedding = embed and ref.id_embed is not None
            view = replace(ref.view, photo=turned_back(photo, ref.view.turned))
            try:
                found_again = id_embedding(analyzer, view.photo, sha256, view.face, cache) if needs_embedding else None
            except NoFaceError as error:
                raise NoFaceError(f"photo {ref.number} of {len(photos)}, as it is now: {error}") from error
            ref = replace(ref, photo=photo, photo_sha256=sha256, view=view, id_embed=found_again)
        updated.append(ref)
    return updated


def _compare(references: Sequence[Reference], report: Callable[[str], None]) -> None:
    """Report the two photos that are least like one person, if they hardly are."""
    embeddings = [(ref.number, ref.id_embed) for ref in references if ref.id_embed is not None]
    pairs = [(float(a @ b), first, second) for (first, a), (second, b) in itertools.combinations(embeddings, 2)]
    likeness, first, second = min(pairs, default=(1.0, 0, 0))
    if likeness < INSIGHTFACE.different:
        subject = f"photo {first} and photo {second}" if first != second else f"the faces picked on photo {first}"
        report(f"{subject} may show two people: their likeness is {likeness:.2f}, of at most 1")
