"""Workflows in ComfyUI's API format: read from a file, and filled with a job's photos, prompt, seed and inputs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import HyperLoRAError
from .client import Workflow
from .jobs import Job

_SLOT = "images."  # an input that photos are connected with, one to a slot
_SEEDS = ("seed", "noise_seed")


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
