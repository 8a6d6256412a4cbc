"""Where pictures come from: folders of pictures, and WebDataset shards, as img2dataset writes both.

A unit of work is one shard, or some pictures of a folder. Units follow from the sources alone, in the order of names,
so whoever goes on with them after a kill finds the same ones.
"""

import errno
import json
import logging
import lzma
import mimetypes
import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import HyperLoRAError
from ..files import is_clutter
from ..files.photos import SUFFIXES as PICTURE_SUFFIXES

SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz")

LARGEST_FILE = 64 << 20
"""Bytes; a larger file is not looked at."""

_LARGEST_NOTE = 1 << 20
# Errors of a file itself; whatever else a system says is of its disk, network or memory, and ends the run.
_OWN = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG})
_LONGEST = 2000  # letters of a note that are kept
_NAMES_OF_LICENCE = ("licence", "license", "LICENSE", "LICENCE", "License")
_NO_LICENCE = ("?", "unknown", "none", "n/a", "null", "nan")  # LAION's table has the first where it knows none
_NAMES_OF_URL = ("url", "URL")
_LEFT_OUT = {"caption", "TEXT", "exif", "status", "error_message", "width", "height", "person"}

# By which tarfile ends a loop over members without a word, wherever in a file they come.
_BREAKS: Any = (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError, tarfile.EmptyHeaderError)  # type: ignore[attr-defined]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unit:
    """A piece of work.

    Attributes:
        root: the source, as it was given: a folder, or a shard itself.
        shard: the file of a WebDataset shard; empty for a folder's pictures.
        files: pictures, relative to the folder; empty for a shard.
    """

    root: str
    shard: str = ""
    files: tuple[str, ...] = ()

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Unit":
        """Read what ``to_json`` gave."""
        fields = json.loads(text)
        return cls(fields["root"], fields["shard"], tuple(fields["files"]))


@dataclass(frozen=True)
class Item:
    """What a source has of one picture.

    Attributes:
        name: its path below the source; of a shard's, the shard's path and the key in it.
        picture: the file's bytes; empty where there is a problem.
        caption: the source's own; may be empty.
        source: url, licence and whatever else came with it.
        person: whom it shows, where the source says so.
        problem: why it cannot be looked at; empty where it can.
        detail: more of the problem, where more is known.
    """

    name: str
    picture: bytes = b""
    caption: str = ""
    source: dict[str, Any] = field(default_factory=dict)
    person: str | None = None
    problem: str = ""
    detail: str = ""


def check_sources(sources: Sequence[Path], out: Path) -> None:
    """Refuse what can be no source.

    Raises:
        HyperLoRAError: a source is not there, is no folder or shard, stands twice, or the set would lie in it.
    """
    resolved: set[Path] = set()
    within: dict[Path, Path] = {}  # each source, and each folder that holds one -> the source
    for source in sources:
        if not source.exists():
            raise HyperLoRAError(
                f"there is no source {source}: give a folder of pictures, or a WebDataset shard (.tar)"
            )
        if source.is_file() and not source.name.lower().endswith(SHARD_SUFFIXES):
            raise HyperLoRAError(f"{source} is no source: give a folder of pictures, or a WebDataset shard (.tar)")
        path = source.resolve()
        overlapping = within.get(path) or next((folder for folder in path.parents if folder in resolved), None)
        if overlapping is not None:
            raise HyperLoRAError(f"the source {source} lies in {overlapping}, or the other way round: give one of them")
        if path == out.resolve() or path in out.resolve().parents:
            raise HyperLoRAError(
                f"the set {out} would lie in the source {source}, and be read with it the next time: give another"
            )
        resolved.add(path)
        within |= dict.fromkeys([path, *path.parents], path)


def units_of(sources: Sequence[Path], size: int) -> Iterator[Unit]:
    """The units of work, in the sources' order; names of one folder at a time are in memory.

    Args:
        sources: folders and shards.
        size: pictures of a folder that one unit has at most.

    Raises:
        HyperLoRAError: a source has none, or a folder of it cannot be listed.
    """
    for source in sources:
        root = str(source.resolve())
        if source.is_file():
            yield Unit(root, shard=root)
            continue
        files: list[str] = []
        path, skipped = "", Counter[str]()
        for path in _walk(root, skipped):
            if path.lower().endswith(SHARD_SUFFIXES):
                yield Unit(root, shard=path)
            else:
                files.append(os.path.relpath(path, root))
                if len(files) == size:
                    yield Unit(root, files=tuple(files))
                    files = []
        if files:
            yield Unit(root, files=tuple(files))
        if skipped:
            summary = "; ".join(f"{count} {kind}" for kind, count in sorted(skipped.items()))
            log.warning("in %s these are not looked at: %s", source, summary)
        if not path:
            raise HyperLoRAError(
                f"there are no pictures and no shards in {source}: a folder of .jpg, .png, .webp, ... or of "
                "WebDataset's .tar files was expected"
            )


def _walk(folder: str, skipped: Counter[str]) -> Iterator[str]:
    """Pictures and shards in a folder and below, by name; not hidden ones, nor what links to folders lead to.

    What is left out that could be meant is counted, by its kind.
    """
    try:
        with os.scandir(folder) as listing:
            entries = sorted((entry for entry in listing if not is_clutter(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        raise HyperLoRAError(
            f"{folder} cannot be read ({error.strerror or error}): what it holds would be missing for ever. Make it "
            "readable, or take it out of the source"
        ) from error
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, skipped)
        elif not _is_file(entry):
            skipped["linked folders, pipes and links to nothing"] += 1
        elif entry.name.lower().endswith((*PICTURE_SUFFIXES, *SHARD_SUFFIXES)):
            yield entry.path
        elif str(mimetypes.guess_type(entry.name, strict=False)[0]).startswith("image/"):
            skipped[f"pictures of kinds that are not read ({os.path.splitext(entry.name)[1].lower()})"] += 1


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError as error:  # a link to itself, or to where nobody may look
        log.warning("%s cannot be read (%s): left out", entry.path, error.strerror or error)
        return False


def items_of(
    unit: Unit,
    person_folders: bool = False,
    licence: str = "",
    unreadable: Callable[[int], bool] = lambda place: False,
) -> Iterator[Item]:
    """The pictures of a unit, one in memory at a time; what cannot be read is given with its problem.

    Args:
        unit: of ``units_of``.
        person_folders: the first folder below the source names a person.
        licence: of pictures that come without one.
        unreadable: whether a picture's place in the unit is known to end the process that reads it; of a shard, what
            follows is left out too.

    Raises:
        HyperLoRAError: the source, or a shard of it, is gone, or cannot be read for a reason that is not its own.
    """
    if unit.shard:
        samples = _of_shard(unit, unreadable)
    else:
        root = Path(unit.root)
        samples = (
            (name, {}, "crashed", "") if unreadable(place) else _of_file(root, name)
            for place, name in enumerate(unit.files)
        )
    for name, files, problem, detail in samples:
        name = _clean(name.replace(os.sep, "/"))
        folder = name.split("/")[0] if person_folders and unit.files and "/" in name else None
        yield replace(_item(name, files, problem, folder, licence), detail=detail)


_Found = tuple[str, dict[str, bytes], str, str]
"""Name, files by their suffixes, problem, more of it."""


def _of_file(root: Path, name: str) -> _Found:
    path = root / name
    files: dict[str, bytes] = {}
    try:
        if path.stat().st_size > LARGEST_FILE:
            return name, files, "file too large", ""
        files[path.suffix.lower()] = path.read_bytes()
        for suffix in (".TXT", ".txt", ".JSON", ".json"):
            beside = path.with_suffix(suffix)
            if beside.is_file():
                files[suffix.lower()] = _note(beside.stat().st_size, beside.read_bytes)
    except OSError as error:
        _see_that_it_is_there(root, path, error, _OWN)
        return name, {}, "unreadable", error.strerror or str(error)
    return name, files, "", ""


class _Header(tarfile.TarInfo):
    """A header in a shard: one that is broken is an error, where tarfile takes it for the end and says nothing."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> "_Header":
        begins = tar.offset
        try:
            return super().fromtarfile(tar)
        except _BREAKS as error:
            if begins:
                raise tarfile.ReadError(f"{error} at byte {begins}") from error
            raise


def _goes_on(tar: tarfile.TarFile) -> bool:
    """Whether anything but zeros follows the end of a shard, which is read as a stream."""
    stream: Any = tar.fileobj
    while block := stream.read(1 << 20):
        if block.strip(b"\0"):
            return True
    return False


def _of_shard(unit: Unit, unreadable: Callable[[int], bool]) -> Iterator[_Found]:
    """Samples are files of one name, up to the first dot, that stand one after the other."""
    within = os.path.relpath(unit.shard, unit.root) if unit.shard != unit.root else os.path.basename(unit.shard)
    key, problem = "", ""
    files: dict[str, bytes] = {}
    earlier_keys: set[str] = set()
    if unreadable(0):
        yield f"{within}/(start)", {}, "broken shard", "its first picture ended the process"
        return
    try:
        with tarfile.open(unit.shard, "r|*", tarinfo=_Header) as tar:
            for member in tar:
                folder, _, file = member.name.rpartition("/")
                if not member.isfile() or file.startswith("__") or is_clutter(member.name):
                    continue
                stem, dot, suffix = file.partition(".")
                name = f"{folder}/{stem}" if folder else stem
                if name != key and key:
                    yield f"{within}/{key}", files, problem, ""
                    files, problem = {}, ""
                    earlier_keys.add(key)
                    if unreadable(len(earlier_keys)):
                        yield f"{within}/{name}", {}, "broken shard", "this picture ended the process"
                        return
                    if name in earlier_keys:
                        raise HyperLoRAError(
                            f"the files of {name} do not stand together in the shard {unit.shard}, so its notes would "
                            "be lost: write the shard anew, in the order of names (tar --sort=name)"
                        )
                key = name
                suffix = (dot + suffix).lower()
                is_picture = suffix in PICTURE_SUFFIXES
                if is_picture and member.size > LARGEST_FILE:
                    problem = "file too large"
                elif is_picture or suffix in (".txt", ".json"):
                    content = tar.extractfile(member)
                    read_member = content.read if content else bytes
                    files[suffix] = read_member() if is_picture else _note(member.size, read_member)
            if _goes_on(tar):
                raise tarfile.ReadError("something follows its end: shards that were joined, or a broken block")
        if key:
            yield f"{within}/{key}", files, problem, ""
    except HyperLoRAError:
        raise
    except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error, lzma.LZMAError) as error:
        _see_that_it_is_there(Path(unit.root), Path(unit.shard), error)
        # what was read of the last one may be all of it, but for a note of its licence: nobody knows
        yield f"{within}/{key or '(start)'}", {}, "broken shard", f"{type(error).__name__}: {error}"


def _note(size: int, read: Callable[[], bytes]) -> bytes:
    """What stands beside a picture; rubbish, which rejects it, where it is too large to be read."""
    return read() if size <= _LARGEST_NOTE else b"{"


def _see_that_it_is_there(root: Path, path: Path, error: Exception, own: Container[int] = ()) -> None:
    """A disk that is not mounted, or that fails, must not make a set of rejected pictures.

    Args:
        root: the source.
        path: what was read of it.
        error: which came of it; one without a number is of what the file holds.
        own: numbers of errors that are the file's.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        raise HyperLoRAError(f"the source {root} is gone: bring it back, and run the same command again") from error
    if isinstance(error, OSError) and error.errno is not None and error.errno not in own:
        raise HyperLoRAError(
            f"{path} is gone: bring it back, and run the same command again"
            if error.errno == errno.ENOENT
            else f"{path} cannot be read ({error.strerror}): mend that, and run the same command again"
        ) from error


def _item(name: str, files: dict[str, bytes], problem: str, person: str | None, licence: str) -> Item:
    picture = next((files[suffix] for suffix in files if suffix in PICTURE_SUFFIXES), b"")
    if not problem and not picture:
        problem = "empty file" if any(suffix in PICTURE_SUFFIXES for suffix in files) else "no picture"
    try:
        notes = json.loads(files.get(".json", b"{}"))
        if not isinstance(notes, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError):
        notes, problem = {}, problem or "broken notes"
    if isinstance(notes.get("source"), dict):  # as in shards that were prepared before
        notes = notes | notes["source"]
        name = _clean(str(notes.get("path") or name))  # by which a drop list knows it
    source: dict[str, Any] = {"path": name}
    notes = {key: value for key, value in notes.items() if key not in _NAMES_OF_LICENCE or _is_licence(value)}
    for kind, names in (("url", _NAMES_OF_URL), ("licence", _NAMES_OF_LICENCE)):
        value = next((notes.pop(key) for key in names if _is_said(notes.get(key))), None)
        if value is not None or (kind == "licence" and licence):
            source[kind] = _clean(str(licence if value is None else value)[:_LONGEST])
    for key, value in notes.items():
        if key not in (*source, *_LEFT_OUT) and isinstance(value, str | int | float | bool) and value != "":
            source[_clean(key)] = _clean(value[:_LONGEST]) if isinstance(value, str) else value
    note_caption = notes.get("caption")
    caption = files.get(".txt", b"").decode("utf-8", errors="replace") or (
        note_caption if _is_said(note_caption) else ""
    )
    if person is None and _is_said(notes.get("person")):
        person = str(notes["person"])
    return Item(
        name,
        b"" if problem else picture,
        _clean(" ".join(str(caption).split())),
        source,
        _clean(person) if person else None,
        problem,
    )


def _is_said(value: Any) -> bool:
    """Whether a note says something; 0 does, as Flickr's licence of that number."""
    return value is not None and value != "" and value == value


def _is_licence(value: Any) -> bool:
    """Whether it names one."""
    return _is_said(value) and str(value).strip().lower() not in _NO_LICENCE


def _clean(text: str) -> str:
    """Names that are no Unicode, as old archives have, become such as can be written."""
    return text.encode("utf-8", "backslashreplace").decode()
