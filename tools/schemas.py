"""The nodes' schemas as ComfyUI's server gives them to the editor, read in this process, without a server or models."""

import asyncio
import importlib.util
import sys
import tempfile
from functools import cache
from types import ModuleType
from typing import Any

from demo.comfyui import comfyui
from demo.server import PACK, PACK_NAME

_EMPTY = tempfile.TemporaryDirectory(prefix="hyperlora-")


@cache
def pack() -> ModuleType:
    """The pack, imported as ComfyUI imports it, beside a ComfyUI whose folders are empty."""
    sys.path.insert(0, str(comfyui()))
    from comfy.cli_args import args

    args.cpu, args.base_directory = True, args.base_directory or _EMPTY.name
    spec = importlib.util.spec_from_file_location("hyperlora_pack", PACK / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@cache
def node_classes() -> dict[str, type]:
    """Node id -> the node's class."""
    extension = asyncio.run(pack().comfy_entrypoint())
    sys.modules["hyperlora_pack.nodes"].folders.register_folders()
    classes = asyncio.run(extension.get_node_list())
    return {node.define_schema().node_id: node for node in classes}


def object_info() -> dict[str, dict[str, Any]]:
    """Node id -> what the server's ``/object_info`` says of the node."""
    entries = {}
    for name, node in node_classes().items():
        node.RELATIVE_PYTHON_MODULE = f"custom_nodes.{PACK_NAME}"  # type: ignore[attr-defined]
        entries[name] = node.GET_NODE_INFO_V1()  # type: ignore[attr-defined]
    return entries
