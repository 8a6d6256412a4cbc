"""The metrics of each picture, from embeddings of the picture, of the person's photos and of the prompt.

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
from ..comfy.manifest import Manifest
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
    """Embeddings of a picture.

    Attributes:
        clip: CLIP's embedding.
        face: embedding of its largest face; None where it has no face.
        faces: how many faces it has.
    """

    clip: np.ndarray
    face: np.ndarray | None
    faces: int


@dataclass(frozen=True)
class Scores:
    """The metrics of one picture; None where one cannot be measured.

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


METRICS = tuple(metric.name for metric in fields(Scores))


@dataclass(frozen=True)
class Row:
    """One picture, drawn or not, and one person that it is compared with.

    Attributes:
        method: the variant's name.
        person: whom it is compared with.
        group, name, prompt, seed: of the task.
        state: ``DONE``, ``FAILED`` (it was tried) or ``MISSING`` (it was not).
        picture: its file, from the folder of results; empty where there is none.
        error: why there is none.
        scores: its metrics.
        timing: seconds and memory as the server reported them, see ``Batch``.
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
    """Computes the embeddings of pictures and prompts, and caches those of pictures in a folder.

    Args:
        clip: embeds pictures and prompts.
        judge: finds and embeds faces.
        folder: of the cache; None caches in memory only.
    """

    def __init__(self, clip: ClipScorer, judge: FaceJudge, folder: Path | None = None) -> None:
        self.clip, self.judge, self._folder = clip, judge, folder
        finder = hashlib.sha256(repr(judge.analyzer.cache_key).encode()).hexdigest()
        self._models = f"{clip.fingerprint[:12]}-{judge.encoder.sha256[:12]}-{finder[:12]}"
        self._kept: dict[str, Features] = {}
        self._texts: dict[str, np.ndarray] = {}

    def file(self, path: Path) -> Features:
        """Describe a picture by its file.

        Raises:
            HyperLoRAError: it cannot be read.
        """
        return self._described(file_sha256(path), lambda: open_photo(path))

    def picture(self, picture: Image.Image) -> Features:
        """Describe an RGB picture."""
        return self._described(digest(picture), lambda: picture)

    def people(self, plan: Plan) -> list[str]:
        """Describe the people's photos, before anything is drawn.

        Returns:
            Remarks for the report, as sentences.

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

    def _described(self, sha256: str, open_picture: Callable[[], Image.Image]) -> Features:
        if sha256 not in self._kept:
            path = self._folder / f"{sha256[:32]}-{self._models}.npz" if self._folder else None
            features = _load(path) if path else None
            if features is None:
                features = self._compute(open_picture())
                if path:
                    _save(path, features)
            self._kept[sha256] = features
        return self._kept[sha256]

    def _compute(self, picture: Image.Image) -> Features:
        faces = self.judge.faces(picture)
        face = self.judge.embedding(picture, faces[0]) if faces else None
        return Features(self.clip.pictures([picture])[0], face, len(faces))


def score(
    picture: Features,
    photos: Sequence[Features] = (),
    held_out: Sequence[Features] = (),
    without: Features | None = None,
    text: np.ndarray | None = None,
) -> Scores:
    """Compute the metrics of a picture.

    Args:
        picture: drawn of the person.
        photos: the photos that a method was given.
        held_out: other photos of the person.
        without: what the same prompt and seed give without the person.
        text: of its prompt.
    """
    id_sim, held_out_sim = _id_sim(picture, photos), _id_sim(picture, held_out)
    return Scores(
        clip_i=_mean([float(picture.clip @ photo.clip) for photo in photos]),
        id_sim=id_sim,
        held_out=held_out_sim,
        copy_paste=id_sim - held_out_sim if picture.faces and id_sim is not None and held_out_sim is not None else None,
        clip_i_edit=float(picture.clip @ without.clip) if without is not None else None,
        clip_t=float(picture.clip @ text) if text is not None else None,
        face_found=float(picture.faces > 0),
    )


def mean_of(scores: Sequence[Scores]) -> Scores:
    """The mean of each metric, over the pictures that have it."""
    numbers = {
        name: [value for of_picture in scores if (value := getattr(of_picture, name)) is not None] for name in METRICS
    }
    return Scores(**{name: _mean(values) for name, values in numbers.items()})


def rows_of(
    plan: Plan,
    manifest: Manifest,
    describer: Describer,
    progress: Callable[[int, int], None] = lambda scored, tasks: None,
) -> list[Row]:
    """Score all pictures of a plan; one that failed or is missing gives a row without scores.

    Args:
        plan: of the evaluation.
        manifest: of the pictures that were drawn.
        describer: computes the embeddings.
        progress: called with how many tasks of how many are scored.

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
    rows: list[Row] = []
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
                photo_features, held_out_features = photos[name]
                without = baseline.get((compared[labels["method"]], labels["name"], labels["seed"]))
                scores = score(features, photo_features[: plan.protocol.photos], held_out_features, without, text)
            rows.append(
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
    return rows


def _outcome(
    manifest: Manifest, key: str, entry: Mapping[str, Any], describer: Describer
) -> tuple[str, Features | None, str, str]:
    """State, embeddings, error and file of a task's first picture."""
    if not manifest.is_done(key):
        was_drawn = entry.get("state") == DONE
        error = entry.get("error", "") or ("its picture is gone" if was_drawn else "")
        return (FAILED if entry.get("state") == FAILED else MISSING), None, error, ""
    file = entry["pictures"][0]
    try:
        return DONE, describer.file(manifest.path.parent / file), "", file
    except HyperLoRAError as error:
        sentence = f"{error}; or remove it, and it is drawn again"
        log.warning("%s", sentence)
        return FAILED, None, sentence, file


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


def _save(path: Path, features: Features) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    face = features.face if features.face is not None else np.zeros(0, np.float32)
    with atomic.writing(path) as part, part.open("wb") as file:
        np.savez(file, clip=features.clip, face=face, faces=features.faces)
