"""The public HyperLoRA pack, if it is installed beside this one: both answer to the same node ids."""

import logging
import sys
from pathlib import Path
from types import ModuleType

from aiohttp import web
from server import PromptServer

import nodes

from .public_pack import NODES

PACK = Path(__file__).parent.parent

log = logging.getLogger(__name__)


def look_out() -> None:
    """Once every pack is loaded, say in the log if the public pack is there; ``about`` tells the editor."""
    server = getattr(PromptServer, "instance", None)
    if server is None:  # a tool that lists nodes, without a server
        return

    async def say(_: web.Application) -> None:
        for notice in notices():
            log.warning("%s", notice)

    server.app.on_startup.append(say)


def notices() -> list[str]:
    """What the user has to know about other packs; empty where all is well."""
    ids = [node.__name__ for node in NODES]
    folders = [folder for module in list(sys.modules.values()) if (folder := _public_pack(module, ids)) is not None]
    if not folders:
        return []
    lost = [name for name in ids if name in nodes.NODE_CLASS_MAPPINGS and not _ours(nodes.NODE_CLASS_MAPPINGS[name])]
    answers = f"{folders[0].name} answers to {len(lost)} of" if lost else f"{PACK.name} answers to"
    return [
        f"Two packs have the HyperLoRA nodes of the public pack: {answers} the {len(ids)} node ids. Remove "
        f"{folders[0]}: {PACK.name} runs the same workflows, with the model files where they are."
    ]


def _public_pack(module: ModuleType, ids: list[str]) -> Path | None:
    """The folder of another pack that brings the public pack's nodes, if this module is one."""
    names = getattr(module, "__dict__", {})  # not the attribute: modules that load themselves late would wake up
    mappings, file = names.get("NODE_CLASS_MAPPINGS"), names.get("__file__")
    if module is nodes or file is None or not isinstance(mappings, dict) or not set(ids) & mappings.keys():
        return None
    return Path(file).parent


def _ours(node: type) -> bool:
    file = getattr(sys.modules.get(node.__module__), "__file__", None)
    return file is not None and PACK in Path(file).parents
