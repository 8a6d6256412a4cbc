"""``hyperlora prepare``: its arguments, and what they run."""

import argparse
from dataclasses import fields
from pathlib import Path

from ..faces import ENGINES
from .checks import Limits
from .near_pairs import Near


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Of the sub-command."""
    command.set_defaults(run=_run)
    add = command.add_argument
    add(
        "sources",
        type=Path,
        nargs="+",
        metavar="SOURCE",
        help="a folder of pictures (with .txt captions and .json notes beside them), a WebDataset shard, or a folder "
        "of shards, as img2dataset writes them",
    )
    add("--out", type=Path, required=True, metavar="DIR", help="the training set; the same command goes on with it")
    add("--faces", type=Path, required=True, metavar="DIR", help="the folder of antelopev2's .onnx files")
    add("--face-engine", choices=ENGINES, default=ENGINES[0], help="what runs the face models (%(default)s)")
    add(
        "--person-folders",
        action="store_true",
        help="a folder in a source holds photos of the person it is named for",
    )
    add("--licence", default="", metavar="TEXT", help="of pictures whose notes name none")
    add("--need-licence", action="store_true", help="reject pictures without a licence")
    add(
        "--drop-list",
        type=Path,
        metavar="FILE",
        help="what is not to be used, or is to be taken out again: people, paths, URLs, sha256 or keys, one a line",
    )
    add(
        "--captioner",
        default="",
        metavar="NAME",
        help="what writes captions: a model of transformers such as BLIP-2 (its folder, or its name on the hub), or "
        "module:function",
    )
    add("--caption-device", default="cpu", metavar="NAME", help="where it computes: cpu, cuda, ... (%(default)s)")
    add("--caption-batch", type=int, default=8, metavar="N", help="pictures that it is shown at a time (%(default)s)")
    add("--recaption", action="store_true", help="have captions written for pictures, too, that came with one")
    add("--unit-size", type=int, default=1000, metavar="N", help="pictures of a folder to one shard (%(default)s)")
    add("--workers", type=int, default=0, metavar="N", help="processes (one a core of this machine)")
    add("--gpus", type=int, default=0, metavar="N", help="that the workers share (%(default)s)")
    add("--ray-address", metavar="ADDRESS", help="of a Ray cluster, or auto; without it, this machine works alone")
    limits = command.add_argument_group("what is accepted")
    for limit in fields(Limits):
        limits.add_argument(
            f"--{limit.name.replace('_', '-')}",
            type=type(limit.default),
            default=limit.default,
            metavar="N",
            help=f"{limit.metadata['help']} (%(default)s)",
        )
    limits.add_argument(
        "--duplicate-bits",
        type=int,
        default=Near.bits,
        metavar="N",
        help="of 64 in which the perceptual hashes of two near-duplicates differ at most (%(default)s)",
    )
    limits.add_argument(
        "--duplicate-cosine",
        type=float,
        default=Near.cosine,
        metavar="N",
        help="of the face embeddings of two near-duplicates, at least (%(default)s)",
    )


def _run(options: argparse.Namespace) -> int:
    from .engine import Cluster
    from .prepare import Preparation, prepare

    values = vars(options)
    preparation = Preparation(
        sources=options.sources,
        out=options.out,
        faces=options.faces,
        limits=Limits(**{limit.name: values[limit.name] for limit in fields(Limits)}),
        near=Near(options.duplicate_bits, options.duplicate_cosine),
        **{
            name: values[name]
            for name in (
                "face_engine",
                "person_folders",
                "licence",
                "need_licence",
                "drop_list",
                "captioner",
                "caption_device",
                "caption_batch",
                "recaption",
                "unit_size",
            )
        },
    )
    prepare(preparation, Cluster(options.workers, options.gpus, options.ray_address))
    return 0
