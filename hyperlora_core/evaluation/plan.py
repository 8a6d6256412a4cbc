"""What is drawn: each method, as it is and at each value of a sweep, of each person and each prompt."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..comfy.jobs import Job, read_people
from ..comfy.tasks import Task
from ..errors import HyperLoRAError
from ..files.photos import unreadable
from .methods import BASELINE, Method, Where
from .protocol import HEADSHOT, Protocol

SWEPT = ("weight", "base_weight", "cfg", "start", "end", "photos")


@dataclass(frozen=True)
class Person:
    """Who is drawn.

    Attributes:
        name: of the folder, or of the photo.
        photos: of them; in a plan, those that a method may be given.
        held_out: that none is ever given, as a plan settles it.
    """

    name: str
    photos: tuple[Path, ...]
    held_out: tuple[Path, ...] = ()


NOBODY = Person("", ())


@dataclass(frozen=True)
class Sweep:
    """A slot that is varied.

    Attributes:
        slot: one of ``SWEPT``.
        values: of it.
    """

    slot: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Variant:
    """A method at a value of a sweep, or as it is.

    Attributes:
        method: with the value set.
        family: the method's name.
        photos: how many it is given.
        sweep: the slot that is swept; empty for the method as it is.
        value: of it.
        baseline: the variant without a person that it is compared with; empty where there is none.
        least: how many photos a person needs to be drawn.
    """

    method: Method
    family: str
    photos: int
    sweep: str = ""
    value: float | None = None
    baseline: str = ""
    least: int = 0

    def draws(self, people: Sequence[Person]) -> list[Person]:
        """Which of them it draws; somebody without a name where it draws nobody."""
        return [person for person in people if len(person.photos) >= self.least] if self.method.identity else [NOBODY]


@dataclass(frozen=True)
class Plan:
    """All that is drawn.

    Attributes:
        protocol: the same for all.
        people: who.
        variants: by which methods.
        tasks: what servers are given, the variants one after the other.
    """

    protocol: Protocol
    people: tuple[Person, ...]
    variants: tuple[Variant, ...]
    tasks: tuple[Task, ...] = field(repr=False, default=())

    @cached_property
    def of_people(self) -> frozenset[str]:
        """Names of the variants that draw a person."""
        return frozenset(variant.method.name for variant in self.variants if variant.method.identity)


def read_sweep(text: str) -> Sweep:
    """A sweep, as ``weight=0.4,0.8,1``.

    Raises:
        HyperLoRAError: it cannot be read.
    """
    slot, _, values = text.partition("=")
    try:
        numbers = tuple(dict.fromkeys(float(value) for value in values.split(",")))
        if not all(map(math.isfinite, numbers)):
            raise ValueError(values)
    except ValueError as error:
        raise HyperLoRAError(f"the sweep {text!r} cannot be read: weight=0.4,0.8,1 was expected") from error
    if slot not in SWEPT:
        raise HyperLoRAError(f"{slot!r} cannot be swept: one of {', '.join(SWEPT)} can")
    if slot == "photos" and any(value != int(value) or value < 1 for value in numbers):
        raise HyperLoRAError(f"the sweep {text!r}: photos are whole numbers from 1")
    if slot in ("start", "end") and not all(0 <= value <= 1 and value != (slot == "start") for value in numbers):
        raise HyperLoRAError(f"the sweep {text!r}: start is from 0 to below 1, end from above 0 to 1")
    return Sweep(slot, numbers)


def read_persons(source: Path) -> tuple[Person, ...]:
    """The people of a folder, in Unsplash-50's layout (a photo each), or with a folder of photos each; or of a table.

    Args:
        source: see ``read_people``.

    Raises:
        HyperLoRAError: there is nobody, or two of one name.
    """
    jobs = read_people(source)
    if any(job.prompt is not None or job.seed is not None or job.inputs for job in jobs):
        raise HyperLoRAError(
            f"{source} has prompts, seeds or inputs of its own, but an evaluation draws the protocol's for everybody: "
            "leave the columns person and photos, and put the rest into --protocol"
        )
    names = [job.person for job in jobs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise HyperLoRAError(f"{source} has {twice[0]!r} twice: each person needs a name of their own")
    bare = [job.person for job in jobs if not job.photos]
    if bare:
        raise HyperLoRAError(f"{source} has no photo of {bare[0]!r}")
    return tuple(Person(job.person, job.photos) for job in jobs)


def readable(everybody: Sequence[Person]) -> tuple[tuple[Person, ...], list[str]]:
    """Those whose photos can all be opened, and sentences on the others.

    Raises:
        HyperLoRAError: nobody is left.
    """
    wrong = unreadable(photo for person in everybody for photo in person.photos)
    why = {person: [wrong[photo] for photo in person.photos if photo in wrong] for person in everybody}
    people = tuple(person for person in everybody if not why[person])
    sentences = [f"{person.name} is left out: {'; '.join(reasons)}" for person, reasons in why.items() if reasons]
    if not people:
        raise HyperLoRAError("; ".join(sentences))
    return people, sentences


def plan(
    protocol: Protocol,
    everybody: Sequence[Person],
    methods: Sequence[Method],
    sweeps: Sequence[Sweep] = (),
    where: Mapping[str, Where] | None = None,
) -> Plan:
    """Settle what is drawn.

    Args:
        protocol: the same for all.
        everybody: with all their photos. Those after as many as the protocol gives to a method, or a sweep if that
            gives more, are held out, whichever methods there are.
        methods: each as it is, and at each value of each sweep that it has the slot of.
        sweeps: slots that are varied.
        where: a method's name -> servers that can draw by it; of one that is not named, all.

    Raises:
        HyperLoRAError: a method or a sweep cannot be used.
    """
    variants = []
    sweeps = _merged(sweeps)
    for method in methods:
        variants.append(Variant(method, method.name, method.photos_of(protocol.photos)))
        for sweep in sweeps:
            variants += _swept(method, sweep, protocol)
    idle = [sweep.slot for sweep in sweeps if not any(variant.sweep == sweep.slot for variant in variants)]
    if idle:
        raise HyperLoRAError(f"none of the methods {', '.join(method.name for method in methods)} has {idle[0]!r}")
    most_photos = max(protocol.photos, *(variant.photos for variant in variants))
    people = tuple(
        Person(person.name, person.photos[:most_photos], person.photos[most_photos:]) for person in everybody
    )
    empty = [variant.method.name for variant in variants if not variant.draws(people)]
    if empty:
        raise HyperLoRAError(f"{empty[0]}: nobody has as many photos as that sweep goes up to")
    variants = _with_baselines(variants)
    servers_of, files = where or {}, {method.name: method.file_name for method in methods}
    tasks = [
        task
        for variant in variants
        for task in _tasks(
            variant, protocol, people, servers_of.get(variant.family, Where({}, {})), files[variant.family]
        )
    ]
    return Plan(protocol, people, tuple(variants), tuple(tasks))


def _merged(sweeps: Sequence[Sweep]) -> list[Sweep]:
    """One for each slot, whatever was given in pieces."""
    values: dict[str, dict[float, None]] = {}
    for sweep in sweeps:
        values.setdefault(sweep.slot, {}).update(dict.fromkeys(sweep.values))
    return [Sweep(slot, tuple(numbers)) for slot, numbers in values.items()]


def _with_baselines(variants: Sequence[Variant]) -> list[Variant]:
    """With the method without a person at each CFG that is drawn with, for a person is to be all that differs.

    A method that has no slot for its CFG is compared with what is drawn at the baseline's own.
    """
    plain = next((variant.method for variant in variants if variant.method.name == BASELINE), None)
    drawing = [variant for variant in variants if variant.family != BASELINE]
    if plain is None or plain.cfg is None:
        return drawing
    cfgs = {
        variant.method.name: plain.cfg if variant.method.cfg is None else variant.method.cfg
        for variant in drawing
        if _is_edited(variant)
    }
    unswept_cfgs = {
        cfgs[variant.method.name] for variant in drawing if variant.method.name in cfgs and not variant.sweep
    } or {plain.cfg}
    baselines = {}
    for cfg in sorted({*unswept_cfgs, *cfgs.values()}):
        method = plain.with_settings(f"{BASELINE}@cfg={cfg:g}", f"{plain.title}, CFG {cfg:g}", {"cfg": cfg})
        baselines[cfg] = Variant(method, BASELINE, 0, *(() if cfg in unswept_cfgs else ("cfg", cfg)))
    names = {name: baselines[cfg].method.name for name, cfg in cfgs.items()}
    return [
        *baselines.values(),
        *(replace(variant, baseline=names.get(variant.method.name, "")) for variant in drawing),
    ]


def _is_edited(variant: Variant) -> bool:
    return variant.method.identity and not variant.method.fidelity_only


def _swept(method: Method, sweep: Sweep, protocol: Protocol) -> list[Variant]:
    if method.fidelity_only or not method.identity:  # there is no editability that likeness could be traded for
        return []
    if sweep.slot == "photos":
        numbers = [int(value) for value in sweep.values if 0 < value == method.photos_of(int(value))]
        if len(method.slots.get("photo", ())) == 1:  # there is nothing to vary
            return []
        return [
            Variant(
                method.with_settings(f"{method.name}@photos={number}", f"{method.title}, photos {number}", {}),
                method.name,
                number,
                "photos",
                number,
                least=max(numbers),
            )
            for number in numbers
        ]
    if sweep.slot not in method.slots:
        return []
    variants = []
    for value in sweep.values:
        title = f"{method.title}, {sweep.slot} {value:g}"
        swept = method.with_settings(f"{method.name}@{sweep.slot}={value:g}", title, {sweep.slot: value})
        variants.append(Variant(swept, method.name, method.photos_of(protocol.photos), sweep.slot, value))
    return variants


def _tasks(variant: Variant, protocol: Protocol, people: Sequence[Person], where: Where, drawn_by: str) -> list[Task]:
    method = variant.method
    prompts = [prompt for prompt in protocol.prompts if prompt.group == HEADSHOT or not method.fidelity_only]
    tasks = []
    for person, prompt in itertools.product(variant.draws(people), prompts):
        for seed in protocol.headshots if prompt.group == HEADSHOT else protocol.seeds:
            text = method.prompt.replace("{prompt}", prompt.text).replace("{person}", person.name)
            values = {**protocol.values(), "seed": seed, "prompt": text}
            photos = person.photos[: variant.photos]
            places = method.slots.get("photo", ()) if method.photos else ()
            labels: dict[str, Any] = {
                "method": method.name,
                "family": variant.family,
                "drawn_by": drawn_by,
                "sweep": {variant.sweep: variant.value} if variant.sweep else {},
                "group": prompt.group,
                "name": prompt.name,
                "prompt": prompt.text,
                "seed": seed,
            }
            if places:
                photos = tuple(photos[place % len(photos)] for place in range(len(places)))
            job = Job(person.name or method.name, photos)
            workflow = method.filled(values, person.name)
            labels["settings"] = method.values_in(workflow)
            servers = where.servers.get(person.name, frozenset())
            tasks.append(Task(workflow, job, labels, places, not variant.sweep, servers, single=True))
    return tasks
