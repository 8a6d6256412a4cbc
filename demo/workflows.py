"""The example workflows in the API format, with their slots filled: models, photos, sizes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "example_workflows"

Workflow = dict[str, dict[str, Any]]


def load(name: str) -> Workflow:
    """An example workflow in the API format."""
    return json.loads((FOLDER / "api" / f"{name}.json").read_text())


def template(name: str) -> dict[str, Any]:
    """An example workflow in the UI format, as the graph editor opens it."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def new(class_type: str, **inputs: Any) -> dict[str, Any]:
    """A node, as a workflow has it behind its number."""
    return {"class_type": class_type, "inputs": inputs}


def nodes(workflow: Workflow, node_id: str) -> list[str]:
    """The numbers of the nodes of a class."""
    return [number for number, node in workflow.items() if node["class_type"] == node_id]


def node(workflow: Workflow, node_id: str) -> str:
    """The number of the one node of a class."""
    (number,) = nodes(workflow, node_id)
    return number


def fill(workflow: Workflow, values: Mapping[str, Mapping[str, Any]]) -> Workflow:
    """The workflow with inputs set on every node of a class, where the workflow has that class.

    Args:
        workflow: in the API format; it is left as it is.
        values: node class -> input -> value.
    """
    return {
        number: node | {"inputs": node["inputs"] | dict(values.get(node["class_type"], {}))}
        for number, node in workflow.items()
    }


def fill_titled(workflow: Workflow, values: Mapping[str, Mapping[str, Any]]) -> Workflow:
    """The workflow with inputs set on the nodes of some titles.

    Args:
        workflow: in the API format; it is left as it is.
        values: title -> input -> value.

    Raises:
        KeyError: no node has such a title.
    """
    titles = {node["_meta"]["title"]: number for number, node in workflow.items()}
    filled = dict(workflow)
    for title, inputs in values.items():
        number = titles[title]
        filled[number] = filled[number] | {"inputs": filled[number]["inputs"] | dict(inputs)}
    return filled
