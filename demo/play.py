"""``make comfyui``: ComfyUI's editor with the demo's models, and the example workflows filled in for them.

What is drawn and saved stays in the cache, from one time to the next.
"""

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

import requests

from hyperlora_core.files import atomic

from . import workflows
from .cache import cache_dir
from .running import in_plain_words
from .server import ComfyServer, ServerError
from .shown import examples
from .shown.studio import Studio, kept_pictures
from .trained import folders

log = logging.getLogger("demo.play")


def in_the_editor(name: str, filled: workflows.Workflow) -> dict[str, Any]:
    """A template with the values of its API copy in its widgets.

    Args:
        name: of the example.
        filled: its API copy.
    """
    graph = workflows.template(name)
    by_title = {node["_meta"]["title"]: node["inputs"] for node in filled.values()}
    for node in graph["nodes"]:
        values = by_title.get(node.get("title", ""))
        if values is None:  # nodes that have no title of their own are the only ones of their class
            values = next((api["inputs"] for api in filled.values() if api["class_type"] == node["type"]), {})
        _set(node, values)
        node.get("properties", {}).pop("models", None)  # where the real ones are to be had
    return graph


def _set(node: dict[str, Any], values: Mapping[str, Any]) -> None:
    widgets, at = node.get("widgets_values"), 0
    for slot in node.get("inputs", []):
        if "widget" not in slot:
            continue
        name = slot["widget"]["name"]
        if name in values:
            widgets[at] = values[name]
        at += 2 if name in ("seed", "noise_seed") else 1  # the editor keeps behind a seed what becomes of it


def furnish(server: ComfyServer) -> None:
    """Put photos, kept people and a saved LoRA into a server, and the workflows that use them."""
    # else the editor begins with its own templates over everything
    requests.post(f"{server.url}/settings/Comfy.TutorialCompleted", json=True, timeout=30).raise_for_status()
    studio = Studio(server, kept_pictures())
    folder = server.base / "user" / "default" / "workflows" / "drawn people"
    folder.mkdir(parents=True, exist_ok=True)
    for name, example in examples.examples().items():
        filled = examples.filled(studio, name, example)
        if name == "portrait_steps" and not list(server.output.glob("loras/person_*")):
            server.run(filled)  # for the workflow saved_lora
        atomic.write_text(folder / f"{name}.json", json.dumps(in_the_editor(name, filled), indent=1) + "\n")


def run() -> None:
    """Serve until it is stopped.

    Raises:
        HyperLoRAError, SetupError, ServerError: it cannot be, or ended by itself.
    """
    log.info("Starting ComfyUI ...")
    with ComfyServer(cache_dir() / "comfyui-demo", folders.models()) as server:
        try:
            furnish(server)
            log.info("ComfyUI is at %s: open Workflows > drawn people in its sidebar. Ctrl-C ends it.", server.url)
            while server.alive:
                time.sleep(1)
        except KeyboardInterrupt:
            return
        raise ServerError(f"ComfyUI ended:\n{server.log_tail()}")


def main() -> int:
    """The command."""
    return in_plain_words(run)


if __name__ == "__main__":
    sys.exit(main())
