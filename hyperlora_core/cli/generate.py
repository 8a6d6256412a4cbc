"""``hyperlora generate``: its arguments, and what they run."""

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ..clip.vision import ClipVision
from ..devices import check_device
from ..errors import HyperLoRAError
from ..faces import ENGINES, ORDERS, FaceAnalyzer
from ..faces.references import ON_NO_FACE, find_references
from ..files.encoders import OTHER_ENCODERS, check_clip, check_face
from ..files.photos import open_photo
from ..identity.encoding import encode_base, encode_id
from ..identity.generation import generate
from ..network.hyperlora import HyperLoRA

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}

log = logging.getLogger(__name__)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the sub-command's arguments to its parser."""
    command.set_defaults(run=_run)
    command.add_argument(
        "--model", type=Path, required=True, metavar="PATH", help="the HyperLoRA checkpoint: its folder or file"
    )
    command.add_argument(
        "--faces", type=Path, required=True, metavar="DIR", help="the folder of antelopev2's .onnx files"
    )
    command.add_argument(
        "--clip",
        type=Path,
        metavar="FILE",
        help="CLIP ViT-L/14: a file or its folder; every released HyperLoRA needs it",
    )
    command.add_argument(
        "--other-encoders",
        choices=OTHER_ENCODERS,
        default=OTHER_ENCODERS[0],
        help="a CLIP or face model other than the HyperLoRA was trained with (%(default)s)",
    )
    command.add_argument(
        "--image",
        type=Path,
        required=True,
        action="append",
        metavar="PHOTO",
        help="a photo; give it again for each photo",
    )
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .safetensors file to write")
    command.add_argument(
        "--id-weight", type=float, default=0.8, metavar="W", help="strength of the person (%(default)s)"
    )
    command.add_argument(
        "--base-weight",
        type=float,
        default=0.0,
        metavar="W",
        help="strength of background, clothing and light; needs a checkpoint with Base parts (%(default)s)",
    )
    command.add_argument(
        "--keep-background", action="store_true", help="show CLIP the face with its background, not on grey"
    )
    command.add_argument("--grayscale", action="store_true", help="show CLIP the face without colour")
    command.add_argument(
        "--order", choices=ORDERS, default=ORDERS[0], help="how a photo's faces are ordered (%(default)s)"
    )
    command.add_argument("--index", type=int, default=0, metavar="N", help="which face in that order (%(default)s)")
    command.add_argument("--match", type=Path, metavar="PHOTO", help="for --order 'best match': a photo of the person")
    command.add_argument(
        "--on-no-face", choices=ON_NO_FACE[:2], default="error", help="a photo without a face (%(default)s)"
    )
    command.add_argument(
        "--turn-upright",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="turn photos on which the head lies on its side or upside down (%(default)s)",
    )
    command.add_argument(
        "--face-engine", choices=ENGINES, default=ENGINES[0], help="what runs the face models (%(default)s)"
    )
    command.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, ... (%(default)s)")
    command.add_argument(
        "--dtype",
        choices=DTYPES,
        default="fp16",
        help="the type of the file's tensors (%(default)s); fp32 is computed in",
    )


def _run(options: argparse.Namespace) -> int:
    if options.out.suffix != ".safetensors":
        raise HyperLoRAError(f"--out {options.out} must end in .safetensors: no other kind of file is written")
    check_device(options.device, "--device")
    network = HyperLoRA.load(options.model, device=options.device)
    if options.base_weight != 0:
        network.need_base()
    reads_clip = network.config.reads_clip or options.base_weight != 0
    if reads_clip and options.clip is None:
        raise HyperLoRAError("this HyperLoRA reads CLIP: name it with --clip")
    clip = ClipVision.load(options.clip, options.device, width=network.config.clip_width) if reads_clip else None
    if clip is not None:
        check_clip(network.encoders.clip_vision, clip.encoder, options.other_encoders)
    analyzer = FaceAnalyzer.load(options.faces, options.face_engine, options.device)
    if network.config.reads_faces:
        check_face(network.encoders.face, analyzer.embedder, options.other_encoders)
    photos = [open_photo(path) for path in options.image]
    match = open_photo(options.match) if options.match else None
    with torch.inference_mode():
        references = find_references(
            analyzer,
            photos,
            options.order,
            options.index,
            match,
            options.on_no_face,
            embed=network.config.reads_faces,
            progress=_say_progress(options.image),
            turn_upright=options.turn_upright,
        )
        identity, _ = encode_id(network, clip, references, not options.keep_background, options.grayscale)
        if options.base_weight != 0:
            identity = identity.with_base(encode_base(network, clip, references)[0])
        lora = generate(network, identity, options.id_weight, options.base_weight)
    lora.to(DTYPES[options.dtype]).save(options.out)
    log.info("%s: rank %d, %d photos", options.out, lora.rank, len(references))
    return 0


def _say_progress(paths: Sequence[Path]) -> Callable[[int], None]:
    return lambda number: log.info("looked at %s (%d of %d)", paths[number - 1], number, len(paths))
