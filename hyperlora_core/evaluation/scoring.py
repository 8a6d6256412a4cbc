"""What is measured of each picture, by the embeddings of it, of the person's photos and of the prompt.

Cosines throughout. "CLIP-I" is a picture against a photo (fidelity) or against what the same prompt and seed give
without a person (editability), "CLIP-T" a picture against its prompt, "ID Sim" a face against the person's photos.
Shapes: embeddings ``(D,)``, float32, unit length.
"""

import hashlib
import logging
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..cache import digest
from ..comfy.queue import Manifest
from ..errors import HyperLoRAError
from ..files import atomic, file_sha256
from ..files.photos import open_photo
from .clip_scores import ClipScorer
from .face_scores import FaceJudge
from .methods import BASELINE
from .plan import Plan

DONE, FAILED, MISSING = "done", "failed", "missing"

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Features:
    """A picture as models describe it.

    Attributes:
        clip: CLIP's embedding.
        face: of its largest face; None where there is no face.
        faces: how many there are.
    """

    clip: np.ndarray
    face: np.ndarray | None
    faces: int


@dataclass(frozen=True)
class Scores:
    """What is measured of one picture; None where it cannot be.

    Attributes:
        clip_i: against the photos that methods are given, their mean; all methods against the same.
        id_sim: likewise, of faces; 0 where the picture has no face.
        held_out: of faces, against the person's photos that no method is given; 0 where the picture has no face.
        copy_paste: ``id_sim`` minus ``held_out``: how much more it is like the photo than like the person.
        clip_i_edit: against the picture of the same prompt and seed without a person.
        clip_t: against the prompt.
        face_found: 1 where the picture has a face, else 0.
    """

    clip_i: float | None = None
    id_sim: float | None = None
    held_out: float | None = None
    copy_paste: float | None = None
    clip_i_edit: float | None = None
    clip_t: float | None = None
    face_found: float | None = None


METRICS = tuple(each.name for each in fields(Scores))


@dataclass(frozen=True)
class Row:
    """One picture, drawn or not, and one person that it is compared with.

    Attributes:
        method: the variant's name.
        person: whom it is compared with.
        group, name, prompt, seed: what was asked for.
        state: ``DONE``, ``FAILED`` (it was tried) or ``MISSING`` (it was not).
        picture: its file, from the folder of results; empty where there is none.
        error: why there is none.
        scores: what is measured.
        timing: what the server told, see ``Batch``.
    """

    method: str
    person: str
    group: str
    name: str
    prompt: str
    seed: int
    state: str
    picture: str = ""
    error: str = ""
    scores: Scores = field(default_factory=Scores)
    timing: Mapping[str, Any] | None = None


class Describer:
    """Describes pictures, and keeps what it found in a folder, so that nothing is computed twice.

    Args:
        clip: of pictures and prompts.
        judge: of faces.
        folder: where it keeps it; None keeps it for as long as it lives.
    """

    def __init__(self, clip: ClipScorer, judge: FaceJudge, folder: Path | None = None) -> None:
        self.clip, self.judge, self._folder = clip, judge, folder
        finder = hashlib.sha256(repr(judge.analyzer.cache_key).encode()).hexdigest()
        self._models = f"{clip.fingerprint[:12]}-{judge.encoder.sha256[:12]}-{finder[:12]}"
        self._kept: dict[str, Features] = {}
        self._texts: dict[str, np.ndarray] = {}

    def file(self, path: Path) -> Features:
        """Of a picture's file.

        Raises:
            HyperLoRAError: it cannot be read.
        """
        return self._described(file_sha256(path), lambda: open_photo(path))

    def picture(self, picture: Image.Image) -> Features:
        """Of an RGB picture."""
        return self._described(digest(picture), lambda: picture)

    def people(self, plan: Plan) -> list[str]:
        """Look at the people's photos, before anything is drawn of them.

        Returns:
            What is to be said of them, as sentences.

        Raises:
            HyperLoRAError: one cannot be read, or has no face.
        """
        paths = [path for person in plan.people for path in (*person.photos, *person.held_out)]
        faceless = [str(path) for path in paths if self.file(path).face is None]
        if faceless:
            raise HyperLoRAError(
                f"no face was found on {', '.join(faceless)}: take such photos out, or give better ones"
            )
        crowded = [str(path) for path in paths if self.file(path).faces > 1]
        for path in crowded:
            log.warning("%s shows several faces", path)
        if not crowded:
            return []
        return [
            f"several faces are on {', '.join(crowded)}: the largest is judged, and methods may draw another; photos "
            "of one person alone are fair to all"
        ]

    def text(self, text: str) -> np.ndarray:
        """CLIP's embedding of a prompt."""
        if text not in self._texts:
            self._texts[text] = self.clip.texts([text])[0]
        return self._texts[text]

    def _described(self, sha256: str, read: Callable[[], Image.Image]) -> Features:
        if sha256 not in self._kept:
            path = self._folder / f"{sha256[:32]}-{self._models}.npz" if self._folder else None
            found = _load(path) if path else None
            if found is None:
                found = self._compute(read())
                if path:
                    _save(path, found)
            self._kept[sha256] = found
        return self._kept[sha256]

    def _compute(self, picture: Image.Image) -> Features:
        faces = self.judge.faces(picture)
        face = self.judge.embedding(picture, faces[0]) if faces else None
        return Features(self.clip.pictures([picture])[0], face, len(faces))


def score(
    picture: Features,
    given: Sequence[Features] = (),
    held_out: Sequence[Features] = (),
    without: Features | None = None,
    text: np.ndarray | None = None,
) -> Scores:
    """Measure a picture.

    Args:
        picture: drawn of the person.
        given: the photos that a method was given.
        held_out: other photos of the person.
        without: what the same prompt and seed give without the person.
        text: of its prompt.
    """
    id_sim, other = _id_sim(picture, given), _id_sim(picture, held_out)
    return Scores(
        clip_i=_mean([float(picture.clip @ photo.clip) for photo in given]),
        id_sim=id_sim,
        held_out=other,
        copy_paste=id_sim - other if picture.faces and id_sim is not None and other is not None else None,
        clip_i_edit=float(picture.clip @ without.clip) if without is not None else None,
        clip_t=float(picture.clip @ text) if text is not None else None,
        face_found=float(picture.faces > 0),
    )


def mean_of(some: Sequence[Scores]) -> Scores:
    """The mean of each number, of those that have it."""
    numbers = {name: [value for one in some if (value := getattr(one, name)) is not None] for name in METRICS}
    return Scores(**{name: _mean(values) for name, values in numbers.items()})


def rows_of(
    plan: Plan,
    manifest: Manifest,
    describer: Describer,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Row]:
    """Measure all that was drawn of a plan; what is broken or was not drawn is a row too.

    Args:
        plan: what was to be drawn.
        manifest: what became of it.
        describer: by which models.
        progress: told how many tasks of how many are done.

    Raises:
        HyperLoRAError: a photo of a person cannot be read.
    """
    people = {person.name: person for person in plan.people}
    photos = {
        name: (
            [describer.file(path) for path in person.photos],
            [describer.file(path) for path in person.held_out],
        )
        for name, person in people.items()
    }
    compared = {variant.method.name: variant.baseline for variant in plan.variants}
    baseline: dict[tuple[str, str, int], Features] = {}
    found: list[Row] = []
    ordered = sorted(plan.tasks, key=lambda task: task.labels["family"] != BASELINE)
    for number, task in enumerate(ordered, start=1):
        labels = task.labels
        entry = manifest.last.get(task.key, {})
        state, features, error, file = _outcome(manifest, task.key, entry, describer)
        if labels["family"] == BASELINE and features is not None:
            baseline[labels["method"], labels["name"], labels["seed"]] = features
        text = describer.text(labels["prompt"])
        for name in [task.job.person] if labels["method"] in plan.of_people else people:
            scores = Scores()
            if features is not None:
                given, others = photos[name]
                without = baseline.get((compared[labels["method"]], labels["name"], labels["seed"]))
                scores = score(features, given[: plan.protocol.photos], others, without, text)
            found.append(
                Row(
                    labels["method"],
                    name,
                    labels["group"],
                    labels["name"],
                    labels["prompt"],
                    labels["seed"],
                    state,
                    file,
                    error,
                    scores,
                    entry.get("timing"),
                )
            )
        progress(number, len(ordered))
    return found


def _outcome(
    manifest: Manifest, key: str, entry: Mapping[str, Any], describer: Describer
) -> tuple[str, Features | None, str, str]:
    """State, description, error and file of a task's first picture."""
    if not manifest.is_done(key):
        gone = entry.get("state") == DONE
        error = entry.get("error", "") or ("its picture is gone" if gone else "")
        return (FAILED if entry.get("state") == FAILED else MISSING), None, error, ""
    file = entry["pictures"][0]
    try:
        return DONE, describer.file(manifest.path.parent / file), "", file
    except HyperLoRAError as error:
        said = f"{error}; or remove it, and it is drawn again"
        log.warning("%s", said)
        return FAILED, None, said, file


def _id_sim(picture: Features, photos: Sequence[Features]) -> float | None:
    if picture.face is None:
        return 0.0 if photos else None
    return _mean([float(picture.face @ photo.face) for photo in photos if photo.face is not None])


def _mean(numbers: Sequence[float]) -> float | None:
    return sum(numbers) / len(numbers) if numbers else None


def _load(path: Path) -> Features | None:
    try:
        with np.load(path) as stored:
            face = stored["face"]
            return Features(stored["clip"], face if face.size else None, int(stored["faces"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s cannot be read (%s), and is computed anew", path, error)
        return None


def _save(path: Path, found: Features) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    face = found.face if found.face is not None else np.zeros(0, np.float32)
    with atomic.writing(path) as part, part.open("wb") as file:
        np.savez(file, clip=found.clip, face=face, faces=found.faces)
