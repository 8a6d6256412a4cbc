"""The jobs of a batch: people x prompts x seeds."""

import csv
import itertools
import mimetypes
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import HyperLoRAError
from ..files import is_clutter
from ..files.photos import SUFFIXES, photo_files, unreadable
from ..trigger_words import TRIGGER_WORDS


@dataclass(frozen=True)
class Job:
    """One prompt of the queue.

    Attributes:
        person: whose pictures it draws; the folder of the results.
        photos: of them; none where the workflow has its own, or loads an identity.
        prompt: with the trigger words; None leaves the workflow's.
        seed: None leaves the workflow's.
        inputs: further inputs, "node.input" -> value; the node by its title, class or number.
    """

    person: str
    photos: tuple[Path, ...] = ()
    prompt: str | None = None
    seed: int | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)


def read_people(source: Path) -> list[Job]:
    """The people of a folder or of a table, without prompts and seeds where the table has none.

    Args:
        source: a folder, in which each sub-folder of photos is a person, and each photo beside them another; or a CSV
            file with the columns ``person``, ``photos`` (their paths from the file, with ``;`` between), ``prompt``,
            ``seed`` and any ``node.input``, of which each may be absent.

    Raises:
        HyperLoRAError: there is nobody, somebody has no photo, or a photo is missing.
    """
    if source.is_dir():
        entries = [entry for entry in sorted(source.iterdir()) if not is_clutter(entry.name)]
        people = [_of_folder(entry) for entry in entries]
        with_photos = [person for person in people if person.photos]
        if not with_photos:
            raise HyperLoRAError(f"{source} has no photo in it, nor a folder with photos ({', '.join(SUFFIXES)})")
        bare = [entry for entry, person in zip(entries, people, strict=True) if not person.photos and _is_meant(entry)]
        if bare:
            raise HyperLoRAError(
                f"{', '.join(map(str, bare))}: no photo that can be read is there ({', '.join(SUFFIXES)}); add one, or "
                "take that out of the folder of people"
            )
        return with_photos
    if source.suffix.lower() != ".csv" or not source.is_file():
        raise HyperLoRAError(f"{source} is no folder of photos and no .csv file")
    with source.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise HyperLoRAError(f"{source} has no row below its heading")
    return [_of_row(row, number, source) for number, row in enumerate(rows, start=2)]


def with_readable_photos(people: Sequence[Job]) -> tuple[list[Job], dict[str, str]]:
    """Split people into those whose photos can all be opened, and those who cannot be drawn.

    Args:
        people: from ``read_people``.

    Returns:
        The people whose photos can be opened; and for the others, name -> what is wrong with which photo.

    Raises:
        HyperLoRAError: nobody is left.
    """
    wrong = unreadable(photo for person in people for photo in person.photos)
    left_out: dict[str, str] = {}
    for person in people:
        if why := [wrong[photo] for photo in person.photos if photo in wrong]:
            left_out[person.person] = "; ".join(why)
    readable = [person for person in people if not wrong.keys() & {*person.photos}]
    if people and not readable:
        raise HyperLoRAError(f"nobody is left to draw: {'; '.join(left_out.values())}")
    return readable, left_out


def read_seeds(text: str) -> list[int]:
    """Seeds, as ``1,2,3`` or ``1-20``.

    Raises:
        HyperLoRAError: they cannot be read.
    """
    seeds: list[int] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, _, last = part.partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise HyperLoRAError(f"the seeds {text!r} cannot be read: 1,2,3 or 1-20 was expected")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def jobs_of(people: Iterable[Job], prompts: Sequence[str], seeds: Sequence[int]) -> list[Job]:
    """Every person with every prompt and every seed; a prompt or seed of a table's row stays as it is."""
    jobs = []
    for person in people:
        own_prompts: list[str | None] = [person.prompt] if person.prompt is not None else [*prompts] or [None]
        own_seeds: list[int | None] = [person.seed] if person.seed is not None else [*seeds] or [None]
        for prompt, seed in itertools.product(own_prompts, own_seeds):
            jobs.append(Job(person.person, person.photos, _with_trigger_words(prompt), seed, person.inputs))
    return jobs


def _is_meant(entry: Path) -> bool:
    """Whether an entry is probably meant as a person: a folder, or a picture in a format that is not read."""
    return entry.is_dir() or str(mimetypes.guess_type(entry.name, strict=False)[0]).startswith("image/")


def _of_folder(entry: Path) -> Job:
    if entry.is_dir():
        return Job(entry.name, tuple(photo_files(entry)))
    return Job(entry.stem, (entry,) if entry.suffix.lower() in SUFFIXES and entry.is_file() else ())


def _of_row(row: Mapping[str, str | None], number: int, source: Path) -> Job:
    columns = {name: (value or "").strip() for name, value in row.items() if name}
    photos = tuple(source.parent / part.strip() for part in columns.pop("photos", "").split(";") if part.strip())
    missing = [str(photo) for photo in photos if not photo.is_file()]
    if missing:
        raise HyperLoRAError(f"{source}, line {number}: there is no photo {', '.join(missing)}")
    seed, prompt, person = columns.pop("seed", ""), columns.pop("prompt", ""), columns.pop("person", "")
    try:
        numbered = int(seed) if seed else None
    except ValueError as error:
        raise HyperLoRAError(f"{source}, line {number}: the seed {seed!r} is no whole number") from error
    wrong = [name for name in columns if "." not in name]
    if wrong:
        raise HyperLoRAError(
            f"{source}: the column {wrong[0]!r} is unknown: person, photos, prompt, seed or a node.input were expected"
        )
    inputs = {name: value for name, value in columns.items() if value}
    return Job(person or (photos[0].stem if photos else f"line_{number}"), photos, prompt or None, numbered, inputs)


def _with_trigger_words(prompt: str | None) -> str | None:
    if prompt is None or all(word in re.findall(r"\w+", prompt.lower()) for word in TRIGGER_WORDS.split()):
        return prompt
    return f"{TRIGGER_WORDS}, {prompt}"
