"""Checks of what the sockets carry, before a node runs.

ComfyUI compares the types that nodes declare, and nothing else: a literal in place of a link, a node of the type "any",
or another pack's node of the same type brings whatever it likes.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, wraps
from typing import Any

import torch
from comfy.hooks import HookGroup
from comfy_api.latest import io

from ..hyperlora_core.errors import HyperLoRAError, shortened
from ..hyperlora_core.faces import Reference
from ..hyperlora_core.identity.slider import Slider
from ..hyperlora_core.identity.value import Identity
from ..hyperlora_core.lora.blocks import BlockStrengths
from ..hyperlora_core.lora.schedule import Schedule
from ..hyperlora_core.lora.value import LoRA
from .models import LoadedHyperLoRA
from .public_pack.loaders import Config


@dataclass(frozen=True)
class Carried:
    """The values that belong on a socket type.

    Attributes:
        name: for messages, with its article.
        source: the nodes that it comes from, for messages.
        fits: whether a value is of the type.
    """

    name: str
    source: str
    fits: Callable[[Any], bool]


def _of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


def _has(*names: str) -> Callable[[Any], bool]:
    return lambda value: not isinstance(value, torch.Tensor) and all(hasattr(value, name) for name in names)


def _is_conditioning(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(entry, (list, tuple)) and len(entry) == 2 and isinstance(entry[1], dict) for entry in value
    )


def _is_latent(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("samples"), torch.Tensor)


def _is_lora(value: Any) -> bool:
    """A state dict, of which alphas may be plain numbers; an empty one changes nothing."""
    if not isinstance(value, Mapping):
        return False
    kinds = {torch.Tensor if isinstance(weight, torch.Tensor) else type(weight) for weight in value.values()}
    return not kinds or (torch.Tensor in kinds and kinds <= {torch.Tensor, float, int})


def _are_references(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(entry, Reference) for entry in value)


def _of_part(part: str, other_part: str) -> Callable[[Any], bool]:
    """An identity that has one part, or none, as where every photo was skipped."""

    def fits(value: Any) -> bool:
        has = isinstance(value, Identity) and getattr(value, part) is not None
        return has or (isinstance(value, Identity) and getattr(value, other_part) is None)

    return fits


_LORA = Carried("a LoRA", "from HyperLoRA Generate LoRA or HyperLoRA Portrait", _is_lora)
_TEXT = Carried("a text", "typed in", _of(str))

CARRIED = {
    "HYPER_LORA": Carried("a HyperLoRA", "from Load HyperLoRA", _of(LoadedHyperLoRA)),
    "HYPER_LORA_FACES": Carried("faces", "from HyperLoRA Detect Faces", _are_references),
    "HYPER_LORA_IDENTITY": Carried("an identity", "from HyperLoRA Encode Identity or Load Identity", _of(Identity)),
    "HYPER_LORA_SLIDER": Carried("a slider", "from HyperLoRA Make Slider or Load Slider", _of(Slider)),
    "HYPER_LORA_BLOCKS": Carried("strengths of blocks", "from HyperLoRA Block Strengths", _of(BlockStrengths)),
    "HYPER_LORA_SCHEDULE": Carried("a schedule", "from HyperLoRA Schedule", _of(Schedule)),
    "HYPER_LORA_CONFIG": Carried("a config", "from HyperLoRA Config (public pack) of this pack", _of(Config)),
    "FACE_ATTR": Carried("faces", "from HyperLoRA Face Attr (public pack) of this pack", _are_references),
    "ID_COND": Carried(
        "an identity", "from HyperLoRA ID Cond (public pack) of this pack", _of_part("id_rows", "base_rows")
    ),
    "BASE_COND": Carried(
        "an identity's Base part",
        "from HyperLoRA Base Cond (public pack) of this pack",
        _of_part("base_rows", "id_rows"),
    ),
    "LORA": _LORA,
    "LORA_MODEL": _LORA,
    "MODEL": Carried("a model", "from Load Checkpoint", _has("clone", "model_options")),
    "VAE": Carried("a VAE", "from Load Checkpoint or Load VAE", _has("decode")),
    "CONDITIONING": Carried("a conditioning", "from CLIP Text Encode", _is_conditioning),
    "LATENT": Carried("a latent", "from Empty Latent Image or VAE Encode", _is_latent),
    "IMAGE": Carried("a picture", "from Load Image", _of(torch.Tensor)),
    "MASK": Carried("a mask", "from Load Image (as Mask)", _of(torch.Tensor)),
    "HOOKS": Carried("hooks", "from HyperLoRA Create Hook or ComfyUI's own", _of(HookGroup)),
    "INT": Carried("a whole number", "typed in", _of(int)),
    "FLOAT": Carried("a number", "typed in", lambda value: isinstance(value, (int, float))),
    "BOOLEAN": Carried("true or false", "set on the node", lambda value: isinstance(value, (bool, int))),
    "STRING": _TEXT,
    "COMBO": _TEXT,
}


def checked(node: Any) -> type[io.ComfyNode]:
    """A node whose inputs are checked before it runs, and completed by its schema; the class itself is changed.

    ComfyUI leaves out optional inputs that a prompt does not have: their defaults come from the schema, so that a
    node's ``execute`` need not repeat them.
    """
    execute = node.execute.__func__

    @wraps(execute)
    def run(cls: type[io.ComfyNode], *args: Any, **inputs: Any) -> io.NodeOutput:
        _check(node, inputs)
        return execute(cls, *args, **(_defaults(node) | inputs))

    node.execute = classmethod(run)
    return node


@cache
def _inputs(node: Any) -> dict[str, io.Input]:
    return {entry.id: entry for entry in node.define_schema().inputs}


@cache
def _defaults(node: Any) -> dict[str, Any]:
    """Defaults of the optional widgets that ``execute`` has no default for."""
    parameters = inspect.signature(node.execute).parameters
    return {
        name: socket.default
        for name, socket in _inputs(node).items()
        if socket.optional and name in parameters and parameters[name].default is inspect.Parameter.empty
    }


def _check(node: Any, inputs: Mapping[str, Any]) -> None:
    """Check that each socket carries a value of its type.

    Raises:
        HyperLoRAError: names the socket, what it carries, what was expected, and from which node.
    """
    wrong = []
    for name, socket, value in _sockets(node, inputs):
        if value is None and socket.optional:
            continue
        kinds = [CARRIED[kind] for kind in socket.get_io_type().split(",") if kind in CARRIED]
        if kinds and not any(kind.fits(value) for kind in kinds):
            wrong.append(f"{name} was given {_described(value)} where {kinds[0].name} is needed, {kinds[0].source}")
        elif isinstance(socket, io.Combo.Input) and not _is_offered(node, socket, value):
            wrong.append(f"{name} was given {shortened(value)}, which is none of what it offers")
    if wrong:
        raise HyperLoRAError("; ".join(wrong))


def _sockets(node: Any, inputs: Mapping[str, Any]) -> Iterator[tuple[str, io.Input, Any]]:
    """Name, schema and value of each socket; of growing inputs, of each slot."""
    for name, socket in _inputs(node).items():
        template = getattr(socket, "template", None)
        if template is not None and isinstance(inputs.get(name), Mapping):
            yield from ((slot, template.input, value) for slot, value in inputs[name].items())
        elif template is not None and inputs.get(name) is not None:
            yield name, template.input, inputs[name]
        elif name in inputs:
            yield name, socket, inputs[name]


def _is_offered(node: Any, socket: io.Input, value: str) -> bool:
    """Whether a combo offers a value now, as files come and go; True where the node validates the input itself."""
    validate = vars(node).get("validate_inputs")
    if validate is not None and socket.id in inspect.signature(validate.__func__).parameters:
        return True
    return value in (socket.options or ()) or any(
        entry.id == socket.id and value in (entry.options or ()) for entry in node.define_schema().inputs
    )


def _described(value: Any) -> str:
    """What a socket carries, in a user's words."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"the text {shortened(value)}"
    if isinstance(value, (bool, int, float)):
        return f"{value!r}"
    if isinstance(value, torch.Tensor):
        return f"numbers of the shape {tuple(value.shape)}, as of a picture or a mask"
    if isinstance(value, LoRA):
        return "a LoRA"
    for kind in ("HYPER_LORA", "HYPER_LORA_IDENTITY", "HYPER_LORA_SLIDER", "HYPER_LORA_SCHEDULE", "MODEL", "VAE"):
        if CARRIED[kind].fits(value):
            return CARRIED[kind].name
    if isinstance(value, (list, tuple, dict)):
        kinds = sorted({type(entry).__name__ for entry in (value.values() if isinstance(value, dict) else value)})
        return f"a {type(value).__name__} of {len(value)} ({shortened(', '.join(kinds) or 'empty')})"
    return f"a {type(value).__name__} of {type(value).__module__}"
