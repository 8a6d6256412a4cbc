"""``hyperlora inspect``: its arguments, and what they run."""

import argparse
import sys
from pathlib import Path

from ..doctor.inspection import inspect


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the sub-command's arguments to its parser."""
    command.set_defaults(run=_run)
    command.add_argument("path", type=Path, metavar="PATH", help="a file or a folder")
    command.add_argument("--full", action="store_true", help="read every number of a HyperLoRA, not samples alone")


def _run(options: argparse.Namespace) -> int:
    lines, is_intact = inspect(options.path, options.full)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if is_intact else 1
