"""Identity methods as ComfyUI workflows with named slots: those that ship, and a user's own.

A method is a JSON object: a ``workflow`` in the API format (or the name of its file, from the manifest's folder), and
``slots``, which name the inputs that an evaluation fills in, as ``"Node's title.input"`` or a list of such.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

from ..comfy.client import ComfyClient, Workflow
from ..comfy.jobs import inputs_at, put_input, read_workflow, takes_photos
from ..errors import HyperLoRAError
from ..files import MODEL_SUFFIXES

SLOTS = (
    "photo",
    "prompt",
    "negative",
    "seed",
    "width",
    "height",
    "steps",
    "cfg",
    "sampler",
    "scheduler",
    "checkpoint",
    "weight",
    "base_weight",
    "start",
    "end",
    "lora",
    "model",
    "provider",
)
"""What a slot may be called. "photo" is filled with the person's photos, in the order of its inputs."""

NEEDED = ("seed",)
VARIED = ("seed", "photo", "prompt")
"""Slots that an evaluation alone fills."""

BASELINE = "none"
"""The method without a person, that editability is measured against."""

STAGES = ("load", "encode", "apply", "text", "sample", "decode", "other")
_STAGE_OF = {
    "CheckpointLoaderSimple": "load",
    "LoraLoader": "apply",
    "CLIPTextEncode": "text",
    "CLIPSetLastLayer": "text",
    "KSampler": "sample",
    "KSamplerAdvanced": "sample",
    "SamplerCustom": "sample",
    "SamplerCustomAdvanced": "sample",
    "VAEDecode": "decode",
    "VAEDecodeTiled": "decode",
}
"""Of ComfyUI's own nodes; a node that no stage names is "other", such as what loads photos and saves pictures."""


@dataclass(frozen=True)
class Method:
    """A way to draw a person.

    Attributes:
        name: as it is chosen by.
        workflow: in the API format.
        slots: what is filled in -> inputs, as ``"title.input"``.
        title: as reports call it.
        about: a sentence on it.
        source: where it is from.
        prompt: how its prompts are made of plain ones, ``{prompt}``; ``{person}`` becomes the person's name.
        identity: whether it draws the person at all.
        photos: whether it is given photos: in the inputs of its slot "photo", of which those that are left over get
            the same ones again; without that slot, connected with the one node that takes any number.
        fidelity_only: it reads no prompt.
        settings: slots, or ``"title.input"``, -> values of its own; ``{person}`` in a text becomes the person's name.
        stages: stage -> classes of nodes.
    """

    name: str
    workflow: Workflow
    slots: Mapping[str, tuple[str, ...]]
    title: str = ""
    about: str = ""
    source: str = ""
    prompt: str = "{prompt}"
    identity: bool = True
    photos: bool = True
    fidelity_only: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    stages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, name: str, value: Any, folder: Path | None = None) -> "Method":
        """Read a manifest.

        Args:
            name: of the method.
            value: the object.
            folder: that a workflow's file is looked for in.

        Raises:
            HyperLoRAError: it is wrong; the sentence names what.
        """

        def wrong(what: str) -> HyperLoRAError:
            return HyperLoRAError(f"the method {name}: {what}")

        if not isinstance(value, dict) or "workflow" not in value:
            raise wrong("its manifest is a JSON object with a workflow and slots")
        known = [each.name for each in fields(cls) if each.name != "name"]
        unknown = [key for key in value if key not in known]
        if unknown:
            raise wrong(f"{unknown[0]!r} is unknown: one of {', '.join(known)} was expected")
        workflow = value["workflow"]
        if isinstance(workflow, str):
            workflow = read_workflow((folder or Path()) / workflow)
        if not isinstance(workflow, dict) or not all(
            isinstance(node, dict) and "class_type" in node and isinstance(node.get("inputs"), dict)
            for node in workflow.values()
        ):
            raise wrong("its workflow is none in ComfyUI's API format: File › Export (API) writes that")
        for key in ("slots", "stages", "settings"):
            if not isinstance(value.get(key, {}), dict):
                raise wrong(f"its {key} are a JSON object")
        for key in ("title", "about", "source", "prompt"):
            if not isinstance(value.get(key, ""), str):
                raise wrong(f"its {key} is text")
        slots = {slot: _listed(places) for slot, places in value.get("slots", {}).items()}
        strange = [slot for slot in slots if slot not in SLOTS]
        if strange:
            raise wrong(f"the slot {strange[0]!r} is unknown: one of {', '.join(SLOTS)} was expected")
        lacking = [slot for slot in NEEDED if slot not in slots]
        if lacking:
            raise wrong(f'it needs a slot {lacking[0]!r}, as "KSampler.seed"')
        fidelity_only = bool(value.get("fidelity_only", False))
        if "prompt" not in slots and not fidelity_only:
            raise wrong('it needs a slot "prompt", or to say "fidelity_only": true')
        stages = {stage: _listed(kinds) for stage, kinds in value.get("stages", {}).items()}
        if any(stage not in STAGES for stage in stages):
            raise wrong(f"its stages are {', '.join(STAGES)}")
        given = {**value, "workflow": workflow, "slots": slots, "stages": stages, "fidelity_only": fidelity_only}
        given.setdefault("title", name)
        if not given.get("identity", True):
            given["photos"] = False
        made = cls(name, **given)
        if made.photos and "photo" not in slots and len(takes_photos(workflow)) != 1:
            raise wrong('it needs a slot "photo", as "Load Image.image"; or say "photos": false, if it is given none')
        if "{prompt}" not in made.prompt:
            raise wrong("its prompt holds no {prompt}")
        for slot, places in slots.items():
            for number, wanted in (at for place in places for at in inputs_at(workflow, place)):
                if isinstance(workflow[number]["inputs"][wanted], list):
                    raise wrong(
                        f"the input {wanted!r} of its slot {slot!r} is a link: name the node that has the value"
                    )
        made._checked()
        return made

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` reads."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "name"}

    @property
    def file_name(self) -> str:
        """Of what ``to_json`` gives, by its contents: the same method set otherwise has another."""
        said = json.dumps(self.to_json(), sort_keys=True).encode()
        return f"{self.name}-{hashlib.sha256(said).hexdigest()[:8]}.json"

    def filled(self, values: Mapping[str, Any], person: str = "person") -> Workflow:
        """The workflow with values in its slots; those that it has no slot for are left out.

        Args:
            values: slots, or ``"title.input"``, -> values; the method's own settings go before slots' values.
            person: who is drawn.

        Raises:
            HyperLoRAError: an input is not there, or takes another kind of value.
        """
        filled = self._copy()
        for name, value in {**values, **self.settings}.items():
            if isinstance(value, str) and name != "prompt":
                value = value.replace("{person}", person)
            places = self.slots.get(name, (name,) if "." in name else ())
            for place in places:
                put_input(filled, place, value)
        return filled

    def photos_of(self, asked: int) -> int:
        """How many of a person's photos it is given, where so many are asked for."""
        places = len(self.slots.get("photo", ())) or asked
        return min(asked, places) if self.photos else 0

    def takes(self, name: str) -> bool:
        """Whether there is a slot, or an input, of a name."""
        return name in self.slots or "." in name

    def with_settings(self, name: str, title: str, settings: Mapping[str, Any]) -> "Method":
        """A variant by a name of its own.

        Raises:
            HyperLoRAError: a setting is what an evaluation varies, or it does not fit.
        """
        own = dict(settings)
        prompt = own.pop("prompt", self.prompt)
        if "{prompt}" not in str(prompt):
            raise HyperLoRAError(f"the method {name}: its prompt holds no {{prompt}}")
        made = replace(self, name=name, title=title, prompt=prompt, settings={**self.settings, **own})
        made._checked()
        return made

    def _checked(self) -> None:
        """Its settings are its own to make, and fit."""
        varied = {at for slot in VARIED for place in self.slots.get(slot, ()) for at in inputs_at(self.workflow, place)}
        for setting in self.settings:
            if not self.takes(setting):
                raise HyperLoRAError(f"the method {self.name} has no slot {setting!r}: {', '.join(self.slots)}")
            if setting in VARIED or ("." in setting and varied & {*inputs_at(self.workflow, setting)}):
                raise HyperLoRAError(f"the method {self.name}: its {setting} is the evaluation's to set")
        self.filled({})

    @property
    def cfg(self) -> float | None:
        """Its classifier-free guidance; None where it has no slot for it."""
        found = self.values_in(self.filled({})).get("cfg")
        return None if found is None else float(found)

    def values_in(self, workflow: Workflow) -> dict[str, Any]:
        """What each slot, and each other input that it sets, holds in a workflow that was filled."""
        places = {name: name for name in self.settings if "." in name}
        places |= {slot: some[0] for slot, some in self.slots.items()}
        found = {}
        for name, place in places.items():
            number, wanted = inputs_at(workflow, place)[0]
            found[name] = workflow[number]["inputs"][wanted]
        return found

    @property
    def of_each(self) -> bool:
        """Whether it has files of each person's own."""
        return any("{person}" in value for value in self.settings.values() if isinstance(value, str))

    def stage_of(self, kind: str) -> str:
        """Of a class of nodes."""
        own = next((stage for stage, kinds in self.stages.items() if kind in kinds), None)
        return own or _STAGE_OF.get(kind, "other")

    @property
    def files(self) -> list[str]:
        """The files of models that its workflow names."""
        values = [value for node in self.filled({}).values() for value in node["inputs"].values()]
        return sorted({value for value in values if isinstance(value, str) and value.endswith(MODEL_SUFFIXES)})

    def missing(self, info: Mapping[str, Any], values: Mapping[str, Any], person: str = "") -> list[str]:
        """What a server lacks to draw with it.

        Args:
            info: the server's ``/object_info``.
            values: as ``filled`` takes them.
            person: who is drawn.

        Returns:
            Sentences; empty where it has all.
        """
        kinds = sorted({node["class_type"] for node in self.workflow.values()})
        absent = [kind for kind in kinds if kind not in info]
        if absent:
            return [f"its nodes {', '.join(absent)} are not installed" + (f" ({self.source})" if self.source else "")]
        lacks = []
        for node in self.filled(values, person).values():
            inputs = info[node["class_type"]].get("input", {})
            for name, value in node["inputs"].items():
                choices = _choices({**inputs.get("required", {}), **inputs.get("optional", {})}.get(name))
                if node["class_type"] == "LoadImage" or choices is None:
                    continue
                if not isinstance(value, list) and _slashes(value) not in map(_slashes, choices):
                    lacks.append(f"{node['class_type']} has no {name} {value!r}")
        return lacks

    def _copy(self) -> Workflow:
        return {number: {**node, "inputs": dict(node["inputs"])} for number, node in self.workflow.items()}


def shipped() -> dict[str, Method]:
    """Name -> method, of all that this project has."""
    found = resources.files(__package__).joinpath("methods")
    names = sorted(entry.name.removesuffix(".json") for entry in found.iterdir() if entry.name.endswith(".json"))
    read = {name: json.loads(found.joinpath(f"{name}.json").read_text(encoding="utf-8")) for name in names}
    return {name: Method.from_json(name, value) for name, value in read.items()}


def read_method(path: Path) -> Method:
    """A user's own, named for its file.

    Raises:
        HyperLoRAError: it is none; the sentence names what is wrong.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HyperLoRAError(f"the method {path} cannot be read ({error})") from error
    return Method.from_json(path.stem, value, path.parent)


def chosen(names: Sequence[str], own: Iterable[Method] = ()) -> list[Method]:
    """Methods by their names, a user's own beside those that ship; all of them where no name is given.

    Raises:
        HyperLoRAError: there is none of a name, or there are two.
    """
    every = shipped()
    for method in own:
        if method.name in every:
            raise HyperLoRAError(
                f"there are two methods {method.name!r}: a method is named for its file, so rename that"
            )
        every[method.name] = method
    unknown = [name for name in names if name not in every]
    if unknown:
        raise HyperLoRAError(f"there is no method {unknown[0]!r}: one of {', '.join(every)} was expected")
    return [every[name] for name in names or every]


@dataclass(frozen=True)
class Where:
    """On which servers a method can draw.

    Attributes:
        servers: person -> addresses of those that can draw them; of a person whom none can, those that can draw others,
            which say why; "" where nobody is drawn. Empty where no server can draw anybody.
        lacks: of other servers, address -> what it lacks.
    """

    servers: Mapping[str, frozenset[str]]
    lacks: Mapping[str, str]

    @property
    def why(self) -> str:
        """What the other servers lack, as a sentence."""
        return ". ".join(f"on {url}, {lacks}" for url, lacks in self.lacks.items())


def available(
    methods: Sequence[Method], clients: Sequence[ComfyClient], values: Mapping[str, Any], people: Sequence[str]
) -> dict[str, Where]:
    """A method's name -> which servers can draw by it.

    Args:
        methods: to be looked for.
        clients: of servers that answer.
        values: as ``Method.filled`` takes them.
        people: who are to be drawn.

    Raises:
        UnreachableError: a server does not answer.
    """
    infos = {client.url: client.object_info() for client in clients}
    found = {}
    for method in methods:
        lacks: dict[str, str] = {}
        names = people if method.identity else [""]
        able: dict[str, set[str]] = {name: set() for name in names}
        for url, info in infos.items():
            said: dict[str, list[str]] = {}
            for name in names:
                said[name] = said[names[0]] if said and not method.of_each else method.missing(info, values, name)
                if not said[name]:
                    able[name].add(url)
            if all(said.values()):
                lacks[url] = "; ".join(said[names[0]])
        anybody = set(infos) - set(lacks)
        found[method.name] = Where(
            {name: frozenset(urls or anybody) for name, urls in able.items()} if anybody else {}, lacks
        )
    return found


def _listed(places: Any) -> tuple[str, ...]:
    return tuple(map(str, places)) if isinstance(places, list) else (str(places),)


def _slashes(value: Any) -> Any:
    """Of a file in a folder, as a server on Windows has it too."""
    return value.replace("\\", "/") if isinstance(value, str) else value


def _choices(spec: Any) -> Sequence[Any] | None:
    """What an input may be, where it is one of a list."""
    if not spec:
        return None
    if isinstance(spec[0], list):
        return spec[0]
    if spec[0] == "COMBO" and len(spec) > 1:
        return spec[1].get("options")
    return None
