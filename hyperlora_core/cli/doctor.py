"""``hyperlora doctor``: its arguments, and what they run."""

import argparse
import json
import logging
import sys
from pathlib import Path

from ..doctor.summary import Models, find_comfyui, packs, page, roots_of, text, without_paths
from ..errors import HyperLoRAError


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the sub-command's arguments to its parser."""
    command.set_defaults(run=_run)
    command.add_argument(
        "--comfyui", type=Path, metavar="DIR", help="ComfyUI's folder; by default the one that this pack lies in"
    )
    command.add_argument(
        "--models",
        type=Path,
        action="append",
        metavar="DIR",
        help="a models folder; give it again for each; by default ComfyUI's own",
    )
    command.add_argument("--paths", action="store_true", help="whole paths too, which may tell who you are")
    command.add_argument("--json", action="store_true", help="as JSON")


def _run(options: argparse.Namespace) -> int:
    log = logging.getLogger(__package__)
    level = log.level
    log.setLevel(logging.WARNING)  # what is found where belongs on the page alone
    try:
        sys.stdout.write(_page(options))
    finally:
        log.setLevel(level)
    return 0


def _page(options: argparse.Namespace) -> str:
    if options.comfyui is not None and not (options.comfyui / "main.py").is_file():
        raise HyperLoRAError(f"--comfyui {options.comfyui} is no ComfyUI: it lacks main.py")
    comfyui = options.comfyui or find_comfyui()
    folders = options.models or ([comfyui / "models"] if comfyui else [])
    for folder in folders:
        if not folder.is_dir():
            raise HyperLoRAError(f"{folder} is no folder: give a ComfyUI's models folder with --models")
    models = Models.below(folders)
    sections = page(models, comfyui)
    if comfyui is not None:
        sections["Other packs"] = packs(comfyui / "custom_nodes")
    if comfyui is not None and (comfyui / "extra_model_paths.yaml").is_file():
        sections["Models"]["extra_model_paths.yaml"] = [
            "is there; this command reads only the folders given by --models"
        ]
    if options.paths:
        sections["Versions"]["ComfyUI's folder"] = [str(comfyui)]
        sections["Versions"]["models folders"] = [str(folder) for folder in folders]
    else:
        roots = dict.fromkeys(folders, "models") | ({comfyui: "ComfyUI"} if comfyui else {})
        sections = without_paths(sections, roots | roots_of(models))
    return json.dumps(sections, indent=1, ensure_ascii=False) + "\n" if options.json else text(sections)
