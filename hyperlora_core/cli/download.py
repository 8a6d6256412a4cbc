"""``hyperlora download``: its arguments, and what they run."""

import argparse
import logging
import sys
from pathlib import Path

from ..errors import HyperLoRAError
from ..files.downloads import CATALOGUE, Bundle, download, find_bundle

log = logging.getLogger(__name__)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the sub-command's arguments to its parser."""
    command.set_defaults(run=_run)
    command.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"{', '.join(entry.name for entry in CATALOGUE)}; without a name, all that is needed",
    )
    command.add_argument("--models", type=Path, required=True, metavar="DIR", help="ComfyUI's models folder")
    command.add_argument("--list", action="store_true", help="download nothing: say what is there and what is missing")
    command.add_argument("--accept-licences", action="store_true", help="of what is downloaded; asked for otherwise")


def _run(options: argparse.Namespace) -> int:
    if not options.models.is_dir():
        raise HyperLoRAError(f"--models {options.models} is no folder: give the models folder of a ComfyUI")
    bundles = [find_bundle(name) for name in options.names] or [entry for entry in CATALOGUE if entry.needed]
    if options.list:
        for entry in CATALOGUE if not options.names else bundles:
            missing = [file.place for file in entry.missing(options.models)]
            state = f"missing {', '.join(missing)}" if missing else "there"
            sys.stdout.write(f"{entry.name} ({entry.title}): {state}\n")
        return 0
    for entry in bundles:
        if entry.missing(options.models):
            for path in download(entry, options.models, options.accept_licences or _asked(entry)):
                log.info("downloaded %s", path)
    log.info("%s: there", ", ".join(entry.name for entry in bundles))
    return 0


def _asked(entry: Bundle) -> bool:
    """Whether somebody at the keyboard accepts a licence."""
    if not sys.stdin.isatty():
        return False
    licence = entry.licence
    question = f"{entry.title}: about {entry.megabytes} MB. {licence.summary} Licence: {licence.name}, {licence.url}"
    return input(f"{question}\nAccept it? [y/N] ").strip().lower() in ("y", "yes")
