"""The jobs of a batch: people x prompts x seeds, each filled into a workflow."""

import csv
import hashlib
import itertools
import json
import mimetypes
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import HyperLoRAError
from ..files import file_sha256, is_clutter
from ..files.photos import SUFFIXES, photo_files, unreadable
from ..trigger_words import TRIGGER_WORDS
from .client import Workflow

_SLOT = "images."  # an input that photos are connected with, one to a slot
_SEEDS = ("seed", "noise_seed")


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


@dataclass(frozen=True)
class Task:
    """A job and the workflow that draws it.

    Attributes:
        workflow: in the API format.
        job: what is filled into it.
        labels: what else is noted of its pictures; a "prompt" or "seed" where the workflow has them already.
        photo_inputs: as ``Job.inputs`` names them, where each photo goes; empty: the one node that takes photos.
        cold_start: whether a server unloads its models before it draws its first picture of this method.
        servers: addresses of the servers that can draw it; empty where all can.
        single: whether it fails where the workflow saves more than one picture.
    """

    workflow: Workflow
    job: Job
    labels: Mapping[str, Any] = field(default_factory=dict)
    photo_inputs: tuple[str, ...] = ()
    cold_start: bool = False
    servers: frozenset[str] = frozenset()
    single: bool = False

    @cached_property
    def key(self) -> str:
        """Hash of the person, the photos' bytes (not their names), the prompt, seed, inputs and workflow."""
        job = self.job
        contents = [job.person, self._photo_hashes, job.prompt, job.seed, sorted(job.inputs.items()), self.workflow]
        return _hash(contents)[:16]

    @property
    def title(self) -> str:
        """How progress lines call it: method, person, prompt and seed."""
        prompt = (self.job.prompt or "").partition(", ")[2] or self.job.prompt or ""
        seed = f"seed {self.seed}" if self.seed is not None else ""
        parts = [self.labels.get("method", ""), self.job.person, self.labels.get("name", prompt[:40]), seed]
        return ", ".join(filter(None, parts))

    @property
    def seed(self) -> int | None:
        """The seed of its pictures; None where neither the labels nor the job name one."""
        return self.labels.get("seed", self.job.seed)

    def filled(self, photos: Sequence[str]) -> Workflow:
        """The workflow with the job filled in, ready to be queued.

        Args:
            photos: the names of the job's photos, as LoadImage takes them.

        Raises:
            HyperLoRAError: the workflow has no place for one of them, or several.
        """
        if not self.photo_inputs:
            return fill(self.workflow, self.job, photos)
        filled = fill(self.workflow, self.job, ())
        for place, photo in zip(self.photo_inputs, photos, strict=True):
            put_input(filled, place, photo)
        return filled

    def described(self) -> dict[str, Any]:
        """What the manifest says of its pictures: photos with sha256, prompt, seed, inputs, the workflow's hash."""
        job = self.job
        files = zip(map(str, job.photos), self._photo_hashes, strict=True)
        photos = [{"file": file, "sha256": sha256} for file, sha256 in files]
        description = {"person": job.person, "photos": photos, "prompt": job.prompt, "seed": job.seed, **self.labels}
        return {**description, "inputs": dict(job.inputs), "workflow_sha256": _hash(self.workflow)}

    @cached_property
    def _photo_hashes(self) -> list[str]:
        return [file_sha256(photo) for photo in self.job.photos]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def read_workflow(path: Path) -> Workflow:
    """A workflow in the API format.

    Raises:
        HyperLoRAError: the file is no workflow in the API format.
    """
    try:
        workflow = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HyperLoRAError(f"the workflow {path} cannot be read ({error})") from error
    if isinstance(workflow, dict) and "nodes" in workflow and "links" in workflow:
        raise HyperLoRAError(
            f"{path} is a workflow as the editor saves it. Open it in ComfyUI and choose File › Export (API)"
        )
    nodes = workflow.values() if isinstance(workflow, dict) else [None]
    if not workflow or not all(isinstance(node, dict) and "class_type" in node and "inputs" in node for node in nodes):
        raise HyperLoRAError(f"{path} is no workflow in ComfyUI's API format")
    return workflow


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


def fill(workflow: Workflow, job: Job, photos: Sequence[str]) -> Workflow:
    """A workflow with a job's photos, prompt, seed and inputs in it.

    Args:
        workflow: in the API format; it is left as it is.
        job: what to fill in.
        photos: the names of the job's photos, as LoadImage takes them.

    Raises:
        HyperLoRAError: the workflow has no place for one of them, or several.
    """
    filled: Workflow = {number: {**node, "inputs": dict(node["inputs"])} for number, node in workflow.items()}
    if photos:
        _put_photos(filled, photos)
    if job.prompt is not None:
        encoder, name = _prompt_of(filled)
        filled[encoder]["inputs"][name] = job.prompt
    if job.seed is not None:
        seeded = [
            (n, name) for n, node in filled.items() for name in _SEEDS if isinstance(node["inputs"].get(name), int)
        ]
        if not seeded:
            raise HyperLoRAError("the workflow has no node with a seed to set")
        for number, name in seeded:
            filled[number]["inputs"][name] = job.seed
    for place, value in job.inputs.items():
        put_input(filled, place, value)
    return filled


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


def takes_photos(workflow: Workflow) -> list[str]:
    """The numbers of the nodes that take any number of photos."""
    return [n for n, node in workflow.items() if any(name.startswith(_SLOT) for name in node["inputs"])]


def _put_photos(workflow: Workflow, photos: Sequence[str]) -> None:
    """Connect a LoadImage for each photo with the one node that takes photos."""
    takers = takes_photos(workflow)
    if len(takers) != 1:
        names = ", ".join(_name(workflow, number) for number in takers) or "none"
        raise HyperLoRAError(
            f"one node of the workflow has to take the photos, as HyperLoRA Portrait; here it is {names}. Set the "
            "photos of several by columns, as 'Photo 1.image'"
        )
    inputs = workflow[takers[0]]["inputs"]
    for name in [name for name in inputs if name.startswith(_SLOT)]:
        del inputs[name]
    free = max((int(number) for number in workflow if number.isdigit()), default=0) + 1
    for place, photo in enumerate(photos):
        number = str(free + place)
        workflow[number] = {"class_type": "LoadImage", "inputs": {"image": photo}}
        inputs[f"{_SLOT}image{place}"] = [number, 0]


def _prompt_of(workflow: Workflow) -> tuple[str, str]:
    """The node and input of the prompt: the text that leads to an input ``positive``."""
    encoders = set()
    for node in workflow.values():
        source = node["inputs"].get("positive")
        while isinstance(source, list):
            before = workflow[source[0]]["inputs"]
            if isinstance(before.get("text"), str):
                encoders.add(source[0])
                break
            source = before.get("positive", before.get("conditioning"))
    if len(encoders) != 1:
        names = ", ".join(_name(workflow, number) for number in sorted(encoders)) or "none"
        raise HyperLoRAError(
            f"one text of the workflow has to be the prompt; here it is {names}. Use columns, as 'Prompt.text'"
        )
    return encoders.pop(), "text"


def put_input(workflow: Workflow, place: str, value: Any) -> None:
    """Set an input of a workflow, in place.

    Args:
        workflow: in the API format.
        place: "node.input"; the node by its title, class or number.
        value: text is converted to the type of the value that the workflow has there.

    Raises:
        HyperLoRAError: there is no such input, or it takes another kind of value.
    """
    for number, name in inputs_at(workflow, place):
        workflow[number]["inputs"][name] = (
            _like(value, workflow[number]["inputs"][name], place) if isinstance(value, str) else value
        )


def inputs_at(workflow: Workflow, place: str) -> list[tuple[str, str]]:
    """The nodes' numbers and the input's name of ``"node.input"``.

    Raises:
        HyperLoRAError: there is none.
    """
    name, _, input_name = place.rpartition(".")
    if "." in name and not named(workflow, name):  # an input's own name may have a dot: resampler.dim
        name, _, prefix = name.rpartition(".")
        input_name = f"{prefix}.{input_name}"
    places = [(number, input_name) for number in named(workflow, name) if input_name in workflow[number]["inputs"]]
    if not places:
        raise HyperLoRAError(f"the workflow has no node {name!r} with an input {input_name!r}")
    return places


def named(workflow: Workflow, name: str) -> list[str]:
    """The numbers of the nodes of a title or class, or the number itself."""
    return [n for n, node in workflow.items() if name in (n, node["class_type"], node.get("_meta", {}).get("title"))]


def _like(value: str, before: Any, place: str) -> Any:
    """Text from a table, converted to the type of the value that the workflow has at that input."""
    try:
        if isinstance(before, bool):
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
        if isinstance(before, (int, float)):
            return int(value) if value.lstrip("+-").isdigit() else float(value)  # an export writes 8.0 as 8
        return value
    except (ValueError, KeyError) as error:
        raise HyperLoRAError(f"{place} is {value!r}, where a value such as {before!r} was expected") from error


def _name(workflow: Workflow, number: str) -> str:
    node = workflow[number]
    return node.get("_meta", {}).get("title") or node["class_type"]
