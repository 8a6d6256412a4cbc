"""A training set on disk: WebDataset shards, and beside each a note of what it holds.

    dataset.json        what the set was made with, see ``DatasetInfo``; written last
    shard-000000.tar    <key>.jpg (or .png, .webp), <key>.json and <key>.npy of each sample, one after the other
    shard-000000.json   {"samples": how many, "people": {person: [places of their samples in the shard]}}

``<key>.json`` holds the fields of ``Sample``, ``<key>.npy`` its face embedding. Pictures are upright RGB. A shard
counts once its note is there, so one that was cut short is not taken for whole.

Samples are read by their place, not in the order of the files: a tar's headers say where each lies. So any process can
take any sample, and what a run draws does not depend on how many processes draw it. Format:
https://github.com/webdataset/webdataset
"""

import hashlib
import io
import json
import math
import os
import tarfile
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from ..errors import HyperLoRAError
from ..files import atomic, is_clutter
from ..files.encoders import Encoder
from ..files.photos import open_picture

INFO = "dataset.json"
FORMAT = "1"
PICTURES = (".jpg", ".png", ".webp")

_OPEN_SHARDS = 64


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture with one face; pixels of the picture throughout.

    Attributes:
        key: names it within the set.
        picture: the file's bytes.
        suffix: of the file, one of ``PICTURES``.
        width, height: of the picture.
        caption: what it shows; may be empty.
        box: ``(4,)``, left, top, right, bottom of the face.
        score: how sure the detector was, 0..1.
        keypoints: ``(5, 2)``, eyes, nose, corners of the mouth.
        landmarks: ``(106, 2)``.
        pose: pitch, yaw and roll of the head, degrees.
        embed: ``(id_embed_dim,)`` float32, unit length, as ``FaceAnalyzer.id_embedding`` gives it.
        person: whom it shows, where that is known: samples of one name show one person.
        source: where it comes from: path or URL, licence, and whatever came with it.
    """

    key: str
    picture: bytes
    suffix: str
    width: int
    height: int
    caption: str
    box: np.ndarray
    score: float
    keypoints: np.ndarray
    landmarks: np.ndarray
    pose: tuple[float, float, float]
    embed: np.ndarray
    person: str | None = None
    source: dict[str, Any] = field(default_factory=dict)

    def photo(self) -> Image.Image:
        """The picture, decoded: RGB.

        Raises:
            HyperLoRAError: it is broken.
        """
        with open_picture(self.picture, f"of sample {self.key}") as image:
            return image.convert("RGB")

    def members(self) -> dict[str, bytes]:
        """The files that it is stored as, by their suffixes."""
        embed = io.BytesIO()
        np.save(embed, self.embed.astype(np.float32))
        described = {
            "key": self.key,
            "width": self.width,
            "height": self.height,
            "caption": self.caption,
            "box": _numbers(self.box),
            "score": round(float(self.score), 4),
            "keypoints": _numbers(self.keypoints),
            "landmarks": _numbers(self.landmarks),
            "pose": [round(float(angle), 2) for angle in self.pose],
            "person": self.person,
            "source": self.source,
        }
        return {self.suffix: self.picture, ".json": json.dumps(described).encode(), ".npy": embed.getvalue()}

    @classmethod
    def of_members(cls, members: dict[str, bytes]) -> "Sample":
        """Read what ``members`` gave.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        described = json.loads(members[".json"])
        suffix = next(suffix for suffix in PICTURES if suffix in members)
        described |= {name: np.array(described[name], np.float32) for name in ("box", "keypoints", "landmarks")}
        described["pose"] = tuple(described["pose"])
        embed = np.load(io.BytesIO(members[".npy"]), allow_pickle=False)
        return cls(picture=members[suffix], suffix=suffix, embed=embed, **described)


def _numbers(values: np.ndarray) -> Any:
    return np.asarray(values, np.float64).round(2).tolist()


@dataclass(frozen=True)
class DatasetInfo:
    """What a set was made with.

    Attributes:
        face_encoder: whose embeddings it holds.
        captioner: what wrote the captions; empty where they came with the pictures.
        settings: of the preparation, by name.
    """

    face_encoder: Encoder
    captioner: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write it into the set's folder, by which the set is complete."""
        atomic.write_text(folder / INFO, json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "DatasetInfo":
        """Read it from a set's folder.

        Raises:
            HyperLoRAError: it is not there, or something else.
        """
        path = folder / INFO
        if not path.is_file():
            raise HyperLoRAError(
                f"{folder} is no training set, for it has no {INFO}: make one with hyperlora prepare, or run that "
                "again where it was broken off"
            )
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            version = fields.pop("format")
            if version != FORMAT:
                raise HyperLoRAError(f"{path} is of format {version}; {FORMAT} was expected: prepare the set again")
            return cls(**fields | {"face_encoder": Encoder(**fields["face_encoder"])})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HyperLoRAError(f"{path} cannot be read ({error}): prepare the set again") from error


def write_shard(folder: Path, name: str, samples: Iterable[Sample]) -> int:
    """Write a shard and its note; both appear whole, the note last.

    Args:
        folder: of the set.
        name: of the shard, without a suffix.
        samples: what it holds; one at a time is held in memory.

    Returns:
        How many samples it holds.

    Raises:
        HyperLoRAError: it cannot be written.
    """
    from webdataset import TarWriter

    people, count = defaultdict(list), 0
    with (
        atomic.writing(folder / f"{name}.tar") as part,
        part.open("wb") as file,
        TarWriter(file, encoder=False, mtime=0) as writer,
    ):
        for sample in samples:
            files = {suffix.removeprefix("."): value for suffix, value in sample.members().items()}
            writer.write({"__key__": sample.key, **files})
            if sample.person is not None:
                people[sample.person].append(count)
            count += 1
    atomic.write_text(folder / f"{name}.json", json.dumps({"samples": count, "people": people}) + "\n")
    return count


def read_shard(path: Path) -> Iterator[Sample]:
    """The samples of one shard, in its order, whether or not its set is complete.

    Raises:
        HyperLoRAError: it is broken.
    """
    spans = _spans(path)
    with _reading(path) as file:
        for within in range(len(spans)):
            yield _sample(path, file, spans, within)


class UnreadableError(HyperLoRAError):
    """A disk or a network fails: nothing is wrong with the set, so no other sample may take a sample's place."""


class Shards:
    """A training set, read at random.

    Args:
        folder: of the set.

    Attributes:
        info: what it was made with.
        fingerprint: what tells the set from another: a hash of its description, its shards' notes and their sizes.

    Raises:
        HyperLoRAError: the folder holds no whole set, or no sample.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.info = DatasetInfo.read(self.folder)
        self._shards: list[Path] = []
        self._ends: list[int] = []
        self._person: dict[int, str] = {}
        self._photos: dict[str, list[int]] = defaultdict(list)
        end, digest = 0, hashlib.sha256((self.folder / INFO).read_bytes())
        for tar in sorted(tar for tar in self.folder.glob("*.tar") if not is_clutter(tar.name)):
            try:
                text = tar.with_suffix(".json").read_text(encoding="utf-8")
                digest.update(f"{tar.name} {tar.stat().st_size} {text}".encode())
                note = json.loads(text)
                for person, places in note["people"].items():
                    self._photos[person] += [end + place for place in places]
                    self._person |= {end + place: person for place in places}
                end += note["samples"]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise HyperLoRAError(
                    f"{tar} has no readable note {tar.stem}.json beside it ({error}): run hyperlora prepare again"
                ) from error
            self._shards.append(tar)
            self._ends.append(end)
        if not end:
            raise HyperLoRAError(f"the training set {folder} holds no sample")
        expected = self.info.settings.get("counts", {}).get("", end)
        if expected != end:
            raise HyperLoRAError(
                f"the training set {folder} holds {end} samples, and was made of {expected}: shards are missing, or "
                "not of it. Copy all of it, or run hyperlora prepare again"
            )
        self.fingerprint = digest.hexdigest()
        self._spans: dict[int, np.ndarray] = {}
        self._opened: OrderedDict[int, BinaryIO] = OrderedDict()
        self._process = os.getpid()

    def __len__(self) -> int:
        """How many samples there are."""
        return self._ends[-1]

    def __getitem__(self, place: int) -> Sample:
        """The sample at a place, from 0.

        Raises:
            IndexError: there is no such place.
            UnreadableError: a disk or a network fails.
            HyperLoRAError: the shard is not what its note says, or broken.
        """
        if not 0 <= place < len(self):
            raise IndexError(place)
        shard = int(np.searchsorted(self._ends, place, side="right"))
        within = place - (self._ends[shard - 1] if shard else 0)
        try:
            return self._read(shard, within)
        except UnreadableError:  # a server that was away and came back knows no files that were open before
            if (file := self._opened.pop(shard, None)) is not None:
                with suppress(OSError):
                    file.close()
            return self._read(shard, within)

    def _read(self, shard: int, within: int) -> Sample:
        file = self._open(shard)
        return _sample(self._shards[shard], file, self._spans[shard], within)

    def photos_of(self, place: int) -> Sequence[int]:
        """The places of all photos of the person on a sample; the sample's own alone where nobody knows who it is."""
        person = self._person.get(place)
        return (place,) if person is None else self._photos[person]

    @property
    def people(self) -> int:
        """How many people are known by name."""
        return len(self._photos)

    def by_person(self) -> Mapping[str, Sequence[int]]:
        """The places of each person's photos, by the names of those who are known by name."""
        return self._photos

    def _open(self, shard: int) -> BinaryIO:
        if self._process != os.getpid():  # a forked worker's files would share their places with its parent's
            self._opened, self._process = OrderedDict(), os.getpid()
        path = self._shards[shard]
        if shard not in self._spans:
            self._spans[shard] = _spans(path)  # kept: two numbers a sample, for a walk through all headers of a file
        if shard not in self._opened:
            if len(self._opened) >= _OPEN_SHARDS:
                self._opened.popitem(last=False)[1].close()
            self._opened[shard] = _reading(path)
        self._opened.move_to_end(shard)
        return self._opened[shard]

    def __getstate__(self) -> dict[str, Any]:
        """For a worker process, which opens files of its own."""
        return self.__dict__ | {"_opened": OrderedDict()}


def _spans(path: Path) -> np.ndarray:
    """Where the samples of a shard begin and end in its file, in its order, ``(samples, 2)``."""
    spans: dict[str, list[int]] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                end = member.offset_data + math.ceil(member.size / tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                spans.setdefault(member.name.partition(".")[0], [member.offset, end])[1] = end
    except OSError as error:
        raise UnreadableError(f"the shard {path} cannot be read ({error})") from error
    except tarfile.TarError as error:
        raise HyperLoRAError(f"the shard {path} cannot be read ({error})") from error
    return np.array(list(spans.values()), np.int64).reshape(-1, 2)


def _reading(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UnreadableError(f"the shard {path} cannot be read ({error})") from error


def _sample(path: Path, file: BinaryIO, spans: np.ndarray, within: int) -> Sample:
    content = _span(path, file, *spans[within]) if within < len(spans) else b""
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            streams = {member.name.partition("."): tar.extractfile(member) for member in tar}
            members = {dot + suffix: value.read() for (_, dot, suffix), value in streams.items() if value is not None}
        return Sample.of_members(members)
    except (ValueError, KeyError, TypeError, IndexError, EOFError, StopIteration, tarfile.TarError) as error:
        raise HyperLoRAError(
            f"sample {within} of {path} cannot be read ({error}): run hyperlora prepare again"
        ) from error


def _span(path: Path, file: BinaryIO, start: int, end: int) -> bytes:
    try:
        file.seek(start)
        return file.read(end - start)
    except OSError as error:
        raise UnreadableError(f"the shard {path} cannot be read ({error})") from error
