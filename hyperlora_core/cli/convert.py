"""``hyperlora convert``: its arguments, and what they run."""

import argparse
import logging
from pathlib import Path

from ..clip.weights import find_tower
from ..errors import HyperLoRAError
from ..faces import FaceAnalyzer
from ..files.encoders import Encoders
from ..network.checkpoint import read_checkpoint
from ..network.conversion import convert

log = logging.getLogger(__name__)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the sub-command's arguments to its parser."""
    command.set_defaults(run=_run)
    command.add_argument("source", type=Path, metavar="SOURCE", help="a HyperLoRA's folder or file")
    command.add_argument(
        "target", type=Path, metavar="TARGET", help="what to write: a name ending in .safetensors, or a folder's"
    )
    command.add_argument("--clip", type=Path, metavar="FILE", help="the CLIP it was trained with, to be noted in it")
    command.add_argument("--faces", type=Path, metavar="DIR", help="the face models it was trained with, to be noted")


def _run(options: argparse.Namespace) -> int:
    checkpoint = read_checkpoint(options.source)
    config = checkpoint.config
    if options.clip and config.clip_width is None:
        raise HyperLoRAError("--clip was given, but this HyperLoRA reads no CLIP")
    if options.faces and not config.reads_faces:
        raise HyperLoRAError("--faces was given, but this HyperLoRA reads no face embedding")
    encoders = Encoders(
        clip_vision=find_tower(options.clip, config.clip_width).encoder if options.clip else None,
        face=FaceAnalyzer.load(options.faces).embedder if options.faces else None,
    )
    log.info("%s", convert(checkpoint, options.target, encoders))
    return 0
