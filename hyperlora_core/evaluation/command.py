"""``hyperlora evaluate``: its arguments."""

import argparse
from pathlib import Path

from ..comfy.client import SERVER
from ..faces import ENGINES


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Of the sub-command."""
    command.set_defaults(run=_run)
    add = command.add_argument
    add(
        "people",
        type=Path,
        nargs="?",
        metavar="PEOPLE",
        help="a folder with a photo of each person, or a folder of photos for each; photos beyond --photos are held "
        "out, for telling likeness from copying",
    )
    add("--out", type=Path, metavar="DIR", help="pictures and report; the same command goes on with it")
    add("--server", action="append", metavar="URL", help=f"a running ComfyUI; give it again for each ({SERVER})")
    add("--clip", type=Path, metavar="DIR", help="an open_clip model: the folder of its weights and configuration")
    add("--faces", type=Path, metavar="DIR", help="the folder of face models that finds faces, such as antelopev2")
    add(
        "--id-model",
        type=Path,
        metavar="FILE",
        help="what judges faces: CurricularFace's backbone (.pth, .safetensors), or any .onnx in ArcFace's format; "
        "without it the embedder of --faces, which may flatter",
    )
    add("--methods", default="", metavar="LIST", help="names with commas between (all); --list names them")
    add("--method", type=Path, action="append", default=[], metavar="FILE", help="one of your own, see the docs")
    add("--against", default="", metavar="NAME", help="the method that others are compared with (hyperlora-id)")
    add("--set", action="append", default=[], metavar="METHOD.SLOT=VALUE", help="as trained-lora.weight=0.9")
    add("--sweep", action="append", default=[], metavar="SLOT=LIST", help="curves, as weight=0.4,0.8,1 or cfg=3,5,7")
    add("--protocol", type=Path, metavar="FILE", help="prompts and seeds of your own, as --out's protocol.json")
    add("--checkpoint", default=None, metavar="NAME", help="the base model, as the servers call its file")
    add("--photos", type=int, default=None, metavar="N", help="of each person, that a method is given (1)")
    add("--steps", type=int, default=None, metavar="N", help="(30)")
    add("--size", type=int, default=None, metavar="N", help="pixels a side (1024)")
    add("--retries", type=int, default=3, metavar="N", help="when a server goes away (%(default)s)")
    add("--timeout", type=float, default=3600, metavar="S", help="seconds a picture (%(default)s)")
    add("--no-draw", action="store_true", help="score and report what is drawn; no server is asked")
    add("--list", action="store_true", help="name the methods, and what each needs; nothing else")
    add("--face-engine", choices=ENGINES, default=ENGINES[0], help="what runs the face models (%(default)s)")
    add("--device", default="cpu", help="where CLIP and an IR network compute: cpu, cuda, ... (%(default)s)")


def _run(options: argparse.Namespace) -> int:
    from .run import run

    return run(options)
