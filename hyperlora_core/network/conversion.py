"""Converting HyperLoRA checkpoints between the released folder and our one file, without a change to any tensor."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

from .. import files
from ..errors import HyperLoRAError
from ..files import kinds
from ..files.encoders import UNKNOWN, Encoders
from .checkpoint import Checkpoint, checksum, read_checkpoint, single_file_tensors
from .config import HEAD_DIM, HyperLoRAConfig
from .hyperlora import HyperLoRA
from .layout import CHECKSUM_KEY, CONFIG_KEY, ENCODERS_KEY, FORMAT, MODULES_JSON, MODULES_KEY, PARTS_KEY, SHA256_KEY

log = logging.getLogger(__name__)


def convert(source: str | Path | Checkpoint, target: str | Path, encoders: Encoders = UNKNOWN) -> Path:
    """Convert a checkpoint: to our one file where ``target`` ends in .safetensors, else to the released folder.

    What is written is read again and compared before it gets its name.

    Args:
        source: a checkpoint in either layout, or one that was looked at already.
        target: what to write; it must not exist.
        encoders: what the checkpoint was trained with, where it does not say so itself.

    Returns:
        ``target``.

    Raises:
        HyperLoRAError: the source cannot be used or notes other encoders, or the target exists or cannot be written.
    """
    target = Path(target)
    if target.exists():
        raise HyperLoRAError(f"{target} exists: choose another name, or delete it first")
    checkpoint = read_checkpoint(source)
    source = checkpoint.path
    checkpoint.check(HyperLoRA(checkpoint.config, device="meta").shapes())
    own = checkpoint.encoders
    for what, noted, given in (
        ("CLIP", own.clip_vision, encoders.clip_vision),
        ("face embedder", own.face, encoders.face),
    ):
        if noted and given and noted.sha256 != given.sha256:
            raise HyperLoRAError(
                f"{source} notes the {what} {noted.name} already, and {given.name} is another: leave it"
            )
    checkpoint = replace(
        checkpoint,
        encoders=Encoders(encoders.clip_vision or own.clip_vision, encoders.face or own.face),
    )
    sha256 = checkpoint.sha256()
    partial = target.with_name(f".{target.name}.part{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".safetensors":
            _write_file(checkpoint, partial, sha256)
        else:
            _write_folder(checkpoint, partial)
        written = read_checkpoint(partial)
        if written.fingerprint != checkpoint.fingerprint or written.sha256() != sha256:
            raise HyperLoRAError(f"{target} was not written as it should be: the disk or the memory is at fault")
        partial.rename(target)
    except OSError as error:
        raise HyperLoRAError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        _remove(partial)
    return target


def _write_file(checkpoint: Checkpoint, path: Path, sha256: str) -> None:
    metadata = {
        kinds.FORMAT_KEY: FORMAT,
        MODULES_KEY: checkpoint.modules,
        CONFIG_KEY: json.dumps(checkpoint.config.to_json()),
        ENCODERS_KEY: json.dumps(checkpoint.encoders.to_json()),
        PARTS_KEY: json.dumps(checkpoint.metadata),
        SHA256_KEY: sha256,
    }
    files.write(path, single_file_tensors(checkpoint), metadata | {CHECKSUM_KEY: checksum(checkpoint, metadata)})


def _write_folder(checkpoint: Checkpoint, folder: Path) -> None:
    folder.mkdir()
    (folder / MODULES_JSON).write_bytes(checkpoint.modules.encode("utf-8"))
    ours = folder_notes(checkpoint.config, checkpoint.encoders)
    for part, tensors in checkpoint.parts.items():
        metadata = {**checkpoint.metadata[part], **(ours if part == "hyper_lora_modules" else {})}
        files.write(folder / f"{part}.safetensors", tensors, metadata)


def folder_notes(config: HyperLoRAConfig, encoders: Encoders) -> dict[str, str]:
    """What a folder says of itself in the metadata of its bases, beside what its files tell by their shapes."""
    notes = {}
    if encoders != UNKNOWN:
        notes[ENCODERS_KEY] = json.dumps(encoders.to_json())
    if config.head_dim != HEAD_DIM or not (config.reads_faces and config.reads_clip):
        notes[CONFIG_KEY] = json.dumps(config.to_json())
    return notes


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()
