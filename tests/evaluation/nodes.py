"""Whether a workflow's nodes take what they are given, by what ``/object_info`` says of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FILES = (".safetensors", ".bin", ".jpg", ".png")


def rivals() -> dict[str, Any]:
    """What the rivals' nodes say of themselves; read from their sources, for none of their packs is installed here."""
    return json.loads(Path(__file__).with_name("rival_nodes.json").read_text())["nodes"]


def misfits(workflow: Mapping[str, Any], info: Mapping[str, Any]) -> list[str]:
    """What does not fit: inputs that are unknown or absent, links of another kind, values out of range.

    Files of models and photos are left out, for they are the user's.
    """
    found = []
    for number, node in workflow.items():
        kind, given = node["class_type"], node["inputs"]
        if kind not in info:
            found.append(f"{number}: there is no {kind}")
            continue
        required = info[kind]["input"].get("required", {})
        known = {**required, **info[kind]["input"].get("optional", {})}
        groups = {name.partition(".")[0] for name in given if "." in name}  # inputs that grow: images.image0
        found += [f"{kind} lacks {name}" for name in required if name not in given and name not in groups]
        for name, value in given.items():
            spec = known.get(name) or (["*"] if name.partition(".")[0] in known and "." in name else None)
            if spec is None:
                found.append(f"{kind} has no {name}")
            elif isinstance(value, list):
                source = workflow[value[0]]["class_type"]
                outputs = info.get(source, {}).get("output", [])
                if value[1] >= len(outputs) or spec[0] not in ("*", outputs[value[1]]):
                    found.append(f"{kind}.{name} is linked with output {value[1]} of {source}")
            elif not _fits(value, spec):
                found.append(f"{kind}.{name} is {value!r}")
    return found


def _fits(value: Any, spec: list[Any]) -> bool:
    options = spec[1] if len(spec) > 1 else {}
    choices = spec[0] if isinstance(spec[0], list) else options.get("options") if spec[0] == "COMBO" else None
    if choices is not None or spec[0] == "FILE":
        return isinstance(value, str) and (value.endswith(_FILES) or value in (choices or ()))
    if spec[0] in ("INT", "FLOAT"):
        whole = isinstance(value, int) or (spec[0] == "FLOAT" and isinstance(value, float))
        return whole and options.get("min", value) <= value <= options.get("max", value)
    return isinstance(value, bool if spec[0] == "BOOLEAN" else str)
