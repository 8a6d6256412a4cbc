"""What is the same for every method: prompts, seeds, settings; the paper's as the default.

The paper (arXiv 2503.16944) draws four headshots of each of Unsplash-50's people for fidelity, and ten prompts over
hair, accessories, clothing and background for editability, with HelloWorld XL, and with the same seeds, sampler and
size for every method. Its prompts are not published: those here are this project's own.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import HyperLoRAError

HEADSHOT, EDITABLE, STYLE = "headshot", "editable", "style"
GROUPS = (HEADSHOT, EDITABLE, STYLE)

FILLED = ("checkpoint", "width", "height", "steps", "sampler", "scheduler", "negative")
"""What of a protocol goes into the slots of every method."""


@dataclass(frozen=True)
class Prompt:
    """One of the prompts.

    Attributes:
        name: short.
        text: without trigger words, which are a method's own.
        group: one of ``GROUPS``.
    """

    name: str
    text: str
    group: str


PROMPTS = (
    Prompt("headshot", "headshot portrait photo of a person, looking at the camera, plain background", HEADSHOT),
    Prompt("red hair", "portrait photo of a person with long curly red hair", EDITABLE),
    Prompt("buzz cut", "portrait photo of a person with a buzz cut", EDITABLE),
    Prompt("silver hair", "portrait photo of a person with straight silver hair", EDITABLE),
    Prompt("wolf ears", "portrait photo of a person with wolf ears", EDITABLE),
    Prompt("round glasses", "portrait photo of a person wearing round glasses", EDITABLE),
    Prompt("straw hat", "portrait photo of a person wearing a straw hat", EDITABLE),
    Prompt("white shirt", "portrait photo of a person in a white shirt", EDITABLE),
    Prompt("space suit", "portrait photo of a person in a space suit", EDITABLE),
    Prompt("beach", "portrait photo of a person on a beach at sunset", EDITABLE),
    Prompt("snowy street", "portrait photo of a person in a snowy street at night", EDITABLE),
    Prompt("sketch", "pencil sketch of a person", STYLE),
    Prompt("sculpture", "marble sculpture of a person", STYLE),
    Prompt("painting", "oil painting of a person, thick brush strokes", STYLE),
)


@dataclass(frozen=True)
class Protocol:
    """What is the same for every method.

    Attributes:
        checkpoint: the base model's file name on the servers; empty leaves each workflow's.
        prompts: what is drawn.
        headshots: seeds of the headshots.
        seeds: seeds of every other prompt.
        photos: how many of a person's photos a method is given; the rest are held out.
        negative: negative prompt.
        steps, sampler, scheduler: of the sampler.
        width, height: of the pictures.
    """

    checkpoint: str = "HelloWorldXL.safetensors"
    prompts: tuple[Prompt, ...] = PROMPTS
    headshots: tuple[int, ...] = (1, 2, 3, 4)
    seeds: tuple[int, ...] = (1,)
    photos: int = 1
    negative: str = "blurry, deformed, low quality, watermark"
    steps: int = 30
    sampler: str = "dpmpp_2m"
    scheduler: str = "karras"
    width: int = 1024
    height: int = 1024

    def __post_init__(self) -> None:
        names = [prompt.name for prompt in self.prompts]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise HyperLoRAError(f"the protocol has two prompts {twice[0]!r}: each needs a name of its own")
        strange = [prompt.group for prompt in self.prompts if prompt.group not in GROUPS]
        if strange:
            raise HyperLoRAError(f"the group {strange[0]!r} is unknown: one of {', '.join(GROUPS)} was expected")
        if not self.prompts or not self.headshots or not self.seeds:
            raise HyperLoRAError("the protocol needs prompts, headshots and seeds, at least one of each")
        if min(self.photos, self.steps, self.width, self.height) < 1:
            raise HyperLoRAError("the protocol's photos, steps, width and height are numbers from 1")

    @classmethod
    def from_json(cls, value: Any) -> "Protocol":
        """Read what ``to_json`` gave; what is absent is the default.

        Raises:
            HyperLoRAError: it is wrong; the sentence names what.
        """
        defaults = {field.name: field.default for field in fields(cls)}
        if not isinstance(value, dict):
            raise HyperLoRAError("a protocol is a JSON object")
        unknown = [key for key in value if key not in defaults]
        if unknown:
            raise HyperLoRAError(f"the protocol's {unknown[0]!r} is unknown: one of {', '.join(defaults)} was expected")
        try:
            values = dict(value)
            if "prompts" in values:
                values["prompts"] = tuple(Prompt(**prompt) for prompt in values["prompts"])
                texts = [text for prompt in values["prompts"] for text in asdict(prompt).values()]
                if not all(isinstance(text, str) for text in texts):
                    raise TypeError("a prompt's name, text and group are texts")
            for name in ("headshots", "seeds"):
                if name in values:
                    if not isinstance(values[name], (list, tuple)) or any(
                        type(seed) is not int for seed in values[name]
                    ):
                        raise TypeError(f"{name} is {values[name]!r}, where whole numbers in a list were expected")
                    values[name] = tuple(values[name])
            for name, default in defaults.items():
                if name in values and isinstance(default, (int, str)) and type(values[name]) is not type(default):
                    raise TypeError(f"{name} is {values[name]!r}")
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise HyperLoRAError(f"the protocol cannot be read ({error})") from error

    @classmethod
    def read(cls, path: Path) -> "Protocol":
        """Of a JSON file.

        Raises:
            HyperLoRAError: it is none.
        """
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise HyperLoRAError(f"the protocol {path} cannot be read ({error})") from error

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    def values(self) -> dict[str, Any]:
        """Slots of every method -> values."""
        values = {name: getattr(self, name) for name in FILLED}
        return {name: value for name, value in values.items() if name != "checkpoint" or value}
