"""Identity methods as ComfyUI workflows with named slots: the project's own, and a user's.

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
from ..comfy.workflows import inputs_at, put_input, read_workflow, takes_photos
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
"""Names of slots. "photo" is filled with the person's photos, in the order of its inputs."""

NEEDED = ("seed",)
VARIED = ("seed", "photo", "prompt")
"""Slots that only the evaluation fills, never a method's settings."""

BASELINE = "none"
"""Name of the method that draws without a person; editability is measured against its pictures."""

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
"""A class of ComfyUI's own nodes -> its stage; all others are "other", as those that load and save pictures."""


@dataclass(frozen=True)
class Method:
    """A way to draw a person.

    Attributes:
        name: for the command line and files.
        workflow: in the API format.
        slots: slot -> inputs that it fills, as ``"title.input"``.
        title: its name in reports.
        about: a sentence on it.
        source: where it comes from, a URL.
        prompt: template of its prompts: ``{prompt}`` is the plain prompt, ``{person}`` the person's name.
        identity: whether it draws the person at all.
        photos: whether it takes photos. They go into the inputs of the slot "photo", over again where it has
            more inputs than there are photos; without that slot, into the one node that takes any number.
        fidelity_only: whether it reads no prompt.
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
            value: the JSON object.
            folder: in which a workflow that is named by its file lies.

        Raises:
            HyperLoRAError: it is wrong; the sentence names what.
        """

        def wrong(reason: str) -> HyperLoRAError:
            return HyperLoRAError(f"the method {name}: {reason}")

        if not isinstance(value, dict) or "workflow" not in value:
            raise wrong("its manifest is a JSON object with a workflow and slots")
        field_names = [attribute.name for attribute in fields(cls) if attribute.name != "name"]
        unknown = [key for key in value if key not in field_names]
        if unknown:
            raise wrong(f"{unknown[0]!r} is unknown: one of {', '.join(field_names)} was expected")
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
        values = {**value, "workflow": workflow, "slots": slots, "stages": stages, "fidelity_only": fidelity_only}
        values.setdefault("title", name)
        if not values.get("identity", True):
            values["photos"] = False
        method = cls(name, **values)
        if method.photos and "photo" not in slots and len(takes_photos(workflow)) != 1:
            raise wrong('it needs a slot "photo", as "Load Image.image"; or say "photos": false, if it is given none')
        if "{prompt}" not in method.prompt:
            raise wrong("its prompt holds no {prompt}")
        for slot, places in slots.items():
            for number, input_name in (at for place in places for at in inputs_at(workflow, place)):
                if isinstance(workflow[number]["inputs"][input_name], list):
                    raise wrong(
                        f"the input {input_name!r} of its slot {slot!r} is a link: name the node that has the value"
                    )
        method._checked()
        return method

    def to_json(self) -> dict[str, Any]:
        """The manifest, as ``from_json`` reads it."""
        return {attribute.name: getattr(self, attribute.name) for attribute in fields(self) if attribute.name != "name"}

    @property
    def file_name(self) -> str:
        """The name of its manifest's file, with a hash of the contents: other settings make another file."""
        content = json.dumps(self.to_json(), sort_keys=True).encode()
        return f"{self.name}-{hashlib.sha256(content).hexdigest()[:8]}.json"

    def filled(self, values: Mapping[str, Any], person: str = "person") -> Workflow:
        """Put values into the slots of a copy of the workflow; values that it has no slot for are ignored.

        Args:
            values: slots, or ``"title.input"``, -> values; the method's own settings go before these.
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

    def photos_of(self, photos: int) -> int:
        """How many of so many photos of a person the method takes."""
        places = len(self.slots.get("photo", ())) or photos
        return min(photos, places) if self.photos else 0

    def takes(self, name: str) -> bool:
        """Whether a setting of this name can be one of its: a slot it has, or an input."""
        return name in self.slots or "." in name

    def with_settings(self, name: str, title: str, settings: Mapping[str, Any]) -> "Method":
        """A copy under another name, with more settings.

        Raises:
            HyperLoRAError: a setting is what an evaluation varies, or it does not fit.
        """
        own = dict(settings)
        prompt = own.pop("prompt", self.prompt)
        if "{prompt}" not in str(prompt):
            raise HyperLoRAError(f"the method {name}: its prompt holds no {{prompt}}")
        variant = replace(self, name=name, title=title, prompt=prompt, settings={**self.settings, **own})
        variant._checked()
        return variant

    def _checked(self) -> None:
        """Refuse settings that it has no slot for, or that only the evaluation sets."""
        varied = {at for slot in VARIED for place in self.slots.get(slot, ()) for at in inputs_at(self.workflow, place)}
        for setting in self.settings:
            if not self.takes(setting):
                raise HyperLoRAError(f"the method {self.name} has no slot {setting!r}: {', '.join(self.slots)}")
            if setting in VARIED or ("." in setting and varied & {*inputs_at(self.workflow, setting)}):
                raise HyperLoRAError(f"the method {self.name}: its {setting} is the evaluation's to set")
        self.filled({})

    @property
    def cfg(self) -> float | None:
        """Its classifier-free guidance scale; None where it has no slot for it."""
        value = self.values_in(self.filled({})).get("cfg")
        return None if value is None else float(value)

    def values_in(self, workflow: Workflow) -> dict[str, Any]:
        """The value of each slot, and of each input that its settings name, in a filled workflow."""
        places = {name: name for name in self.settings if "." in name}
        places |= {slot: inputs[0] for slot, inputs in self.slots.items()}
        values = {}
        for name, place in places.items():
            number, input_name = inputs_at(workflow, place)[0]
            values[name] = workflow[number]["inputs"][input_name]
        return values

    @property
    def of_each(self) -> bool:
        """Whether each person has files of their own in its settings."""
        return any("{person}" in value for value in self.settings.values() if isinstance(value, str))

    def stage_of(self, kind: str) -> str:
        """The stage of a class of nodes."""
        own = next((stage for stage, kinds in self.stages.items() if kind in kinds), None)
        return own or _STAGE_OF.get(kind, "other")

    @property
    def files(self) -> list[str]:
        """Sorted names of the model files in its workflow."""
        values = [value for node in self.filled({}).values() for value in node["inputs"].values()]
        return sorted({value for value in values if isinstance(value, str) and value.endswith(MODEL_SUFFIXES)})

    def missing(self, info: Mapping[str, Any], values: Mapping[str, Any], person: str = "") -> list[str]:
        """List what a server lacks to draw with this method.

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
    """The project's own methods, by name."""
    folder = resources.files(__package__).joinpath("methods")
    names = sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))
    manifests = {name: json.loads(folder.joinpath(f"{name}.json").read_text(encoding="utf-8")) for name in names}
    return {name: Method.from_json(name, value) for name, value in manifests.items()}


def read_method(path: Path) -> Method:
    """Read a user's method, which is named after its file.

    Raises:
        HyperLoRAError: it is none; the sentence names what is wrong.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HyperLoRAError(f"the method {path} cannot be read ({error})") from error
    return Method.from_json(path.stem, value, path.parent)


def chosen(names: Sequence[str], own: Iterable[Method] = ()) -> list[Method]:
    """Methods by their names, of the project's and a user's; all of them where no name is given.

    Raises:
        HyperLoRAError: there is none of a name, or there are two.
    """
    methods = shipped()
    for method in own:
        if method.name in methods:
            raise HyperLoRAError(
                f"there are two methods {method.name!r}: a method is named for its file, so rename that"
            )
        methods[method.name] = method
    unknown = [name for name in names if name not in methods]
    if unknown:
        raise HyperLoRAError(f"there is no method {unknown[0]!r}: one of {', '.join(methods)} was expected")
    return [methods[name] for name in names or methods]


@dataclass(frozen=True)
class Where:
    """Which servers can draw with a method.

    Attributes:
        servers: person -> addresses of the servers that can draw them; "" stands for pictures without a person.
            Where no server can draw a person, those that can draw others, whose errors say why. Empty where none can
            draw anybody.
        lacks: address of any other server -> what it lacks.
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
    """Find out which servers can draw with which method, by name.

    Args:
        methods: to look for.
        clients: of servers that answer.
        values: as ``Method.filled`` takes them.
        people: who are to be drawn.

    Raises:
        UnreachableError: a server does not answer.
    """
    infos = {client.url: client.object_info() for client in clients}
    servers = {}
    for method in methods:
        lacks: dict[str, str] = {}
        names = people if method.identity else [""]
        able: dict[str, set[str]] = {name: set() for name in names}
        for url, info in infos.items():
            lacks_of: dict[str, list[str]] = {}
            for name in names:
                lacks_of[name] = (
                    lacks_of[names[0]] if lacks_of and not method.of_each else method.missing(info, values, name)
                )
                if not lacks_of[name]:
                    able[name].add(url)
            if all(lacks_of.values()):
                lacks[url] = "; ".join(lacks_of[names[0]])
        anybody = set(infos) - set(lacks)
        servers[method.name] = Where(
            {name: frozenset(urls or anybody) for name, urls in able.items()} if anybody else {}, lacks
        )
    return servers


def _listed(places: Any) -> tuple[str, ...]:
    return tuple(map(str, places)) if isinstance(places, list) else (str(places),)


def _slashes(value: Any) -> Any:
    """A file name with forward slashes, for a server on Windows writes the others."""
    return value.replace("\\", "/") if isinstance(value, str) else value


def _choices(spec: Any) -> Sequence[Any] | None:
    """The allowed values of an input; None where it is no list to choose from."""
    if not spec:
        return None
    if isinstance(spec[0], list):
        return spec[0]
    if spec[0] == "COMBO" and len(spec) > 1:
        return spec[1].get("options")
    return None
