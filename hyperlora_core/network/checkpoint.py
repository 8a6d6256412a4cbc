"""HyperLoRA checkpoints on disk, in either layout (see ``layout``): looked at, checked, and then mapped."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from .. import files
from ..errors import HyperLoRAError
from ..files import PathOrFile, SafetensorsFile, StoredTensor, kinds
from ..files.encoders import Encoders
from .config import HEAD_DIM, HyperLoRAConfig, Shapes, Source
from .layout import (
    CHECKSUM_KEY,
    CONFIG_KEY,
    ENCODERS_KEY,
    FORMAT,
    MODULES_JSON,
    MODULES_KEY,
    PARTS,
    PARTS_KEY,
    REQUIRED_PARTS,
    file_key,
    module_key,
    parse_modules,
)
from .samples import Samples, look

DTYPES = ("F16", "BF16", "F32")

_SHOWN = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was looked at: its files are whole, and its parts fit one another.

    Attributes:
        path: its folder or file.
        config: its hyperparameters.
        files: its open safetensors files, one a part or one for all.
        modules: the text of its hyper_lora_modules.json.
        parts: part -> tensor's name in the part -> where it lies.
        metadata: part -> its own metadata, without our entries.
        encoders: what it was trained with, as far as it says.
    """

    path: Path
    config: HyperLoRAConfig
    files: tuple[SafetensorsFile, ...]
    modules: str
    parts: Mapping[str, Mapping[str, StoredTensor]]
    metadata: Mapping[str, Mapping[str, str]]
    encoders: Encoders

    @property
    def name(self) -> str:
        """The folder's name, or the file's without its ending."""
        return self.path.name if self.is_folder else self.path.stem

    @property
    def is_folder(self) -> bool:
        """Whether it is in the released layout."""
        return self.path.is_dir()

    def tensors(self) -> Iterator[tuple[str, str, StoredTensor]]:
        """Part, name in the part, and where it lies, of each tensor."""
        for part, tensors in self.parts.items():
            for key, tensor in tensors.items():
                yield part, key, tensor

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.length for _, _, tensor in self.tensors())

    def state_dict(self, expected: Shapes) -> dict[str, Tensor]:
        """The tensors under the network's names, mapped from the files, in the files' types.

        Args:
            expected: the network's tensor names and shapes.

        Raises:
            HyperLoRAError: as ``check``.
        """
        self.check(expected)
        by_path = {file.path: file for file in self.files}
        return {
            module_key(part, key): by_path[tensor.path].tensor(key if self.is_folder else f"{part}.{key}")
            for part, key, tensor in self.tensors()
        }

    def check(self, expected: Shapes) -> None:
        """Look at every tensor: it is there, of the right shape and type, and its samples are finite numbers.

        Args:
            expected: the network's tensor names and shapes.

        Raises:
            HyperLoRAError: listing what is wrong.
        """
        found = {module_key(part, key): (f"{part}: {key}", tensor) for part, key, tensor in self.tensors()}
        wrong = [f"{': '.join(file_key(key))} is missing" for key in expected if key not in found]
        for key, (label, tensor) in found.items():
            if key not in expected:
                wrong.append(f"{label} is not part of a HyperLoRA")
            elif tensor.shape != expected[key]:
                wrong.append(f"{label} has shape {tensor.shape} instead of {expected[key]}")
            elif tensor.dtype not in DTYPES:
                wrong.append(f"{label} is of type {tensor.dtype}; {', '.join(DTYPES)} can be used")
        wrong = wrong or [
            f"{name.replace('.', ': ', 1)} holds NaN or infinite numbers" for name in self._samples.not_finite
        ]
        if wrong:
            more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
            raise HyperLoRAError(
                f"the HyperLoRA checkpoint {self.path} cannot be used: {'; '.join(sorted(wrong)[:_SHOWN])}{more}. "
                f"{files.DOWNLOAD_AGAIN.capitalize()}, or convert it again"
            )

    @property
    def source(self) -> Source:
        """Its name and fingerprint."""
        return Source(self.name, self.fingerprint)

    @property
    def fingerprint(self) -> str:
        """Tells checkpoints apart, whatever their layout: a sha256 over modules, names, types, shapes and samples.

        Checkpoints of up to 64 MB are read whole, of larger ones 32 KB of each tensor.
        """
        return self._samples.digest

    @property
    def blank(self) -> tuple[str, ...]:
        """Tensors whose samples are all zero: untrained, or a download that did not finish."""
        return self._samples.blank

    @cached_property
    def _samples(self) -> Samples:
        config = self.config
        modules = [[module.name, module.hidden_size, module.cross_attention_dim] for module in config.modules]
        named = {f"{part}.{key}": tensor for part, key, tensor in self.tensors()}
        return look(named, json.dumps([modules, config.head_dim]))

    def sha256(self) -> str:
        """sha256 over the bytes of all tensors, in the order of our file. Reads everything."""
        digest = hashlib.sha256()
        for block in files.read_bytes(single_file_tensors(self).values()):
            digest.update(block)
        return digest.hexdigest()


def read_checkpoint(path: PathOrFile | Checkpoint) -> Checkpoint:
    """Look at a checkpoint without reading its weights.

    Args:
        path: a folder in the released layout, which may be nested in one of its own name, or our file; a checkpoint
            that was looked at already is returned as it is.

    Raises:
        HyperLoRAError: it is something else, which is named; or a file is missing or broken; or the parts do not fit
            one another.
    """
    if isinstance(path, Checkpoint):
        return path
    if isinstance(path, SafetensorsFile):
        return _checked(path.path, *_read_file(path))
    path = Path(path)
    files.need_readable(path)
    nested = path / path.name
    if not (path / MODULES_JSON).exists() and (nested / MODULES_JSON).exists():
        log.info("%s is nested in itself: its files are read from %s", path, nested)
        path = nested
    if not path.exists():
        raise HyperLoRAError(f"there is no HyperLoRA checkpoint {path}")
    return _checked(path, *(_read_folder(path) if path.is_dir() else _read_file(path)))


def _checked(
    path: Path,
    opened: tuple[SafetensorsFile, ...],
    modules: str,
    parts: Mapping[str, Mapping[str, StoredTensor]],
    metadata: Mapping[str, Mapping[str, str]],
    ours: Mapping[str, str],
) -> Checkpoint:
    """A checkpoint of what was read, whose parts fit one another and its notes."""
    try:
        noted = _json(ours, CONFIG_KEY)
        shapes = {part: {key: tensor.shape for key, tensor in tensors.items()} for part, tensors in parts.items()}
        config = HyperLoRAConfig.from_shapes(parse_modules(modules), shapes, noted.get("head_dim", HEAD_DIM))
        wrong = [f"{key} {value!r}" for key, value in noted.items() if config.to_json().get(key) != value]
        if wrong:
            raise HyperLoRAError(f"its tensors are not of the config that it notes: {', '.join(wrong)}")
        encoders = Encoders.from_json(_json(ours, ENCODERS_KEY))
    except HyperLoRAError as error:
        raise HyperLoRAError(f"the HyperLoRA checkpoint {path} cannot be used: {error}") from error
    checkpoint = Checkpoint(path, config, opened, modules, parts, metadata, encoders)
    if not checkpoint.is_folder and checksum(checkpoint, ours) != ours.get(CHECKSUM_KEY):
        raise HyperLoRAError(
            f"the HyperLoRA checkpoint {path} is not as it was written, its checksum differs: {files.DOWNLOAD_AGAIN}"
        )
    return checkpoint


def checksum(checkpoint: Checkpoint, metadata: Mapping[str, str]) -> str:
    """What our file's ``hyperlora.checksum`` has to be: over its other entries and the fingerprint."""
    entries = sorted((key, value) for key, value in metadata.items() if key != CHECKSUM_KEY)
    return hashlib.sha256(json.dumps([entries, checkpoint.fingerprint]).encode()).hexdigest()


def single_file_tensors(checkpoint: Checkpoint) -> dict[str, StoredTensor]:
    """The tensors of our file, in its order: wider types first, so that each lies at a multiple of its size."""
    tensors = [(f"{part}.{key}", tensor) for part, key, tensor in checkpoint.tensors()]
    return dict(sorted(tensors, key=lambda item: -files.ITEM_SIZES.get(item[1].dtype, 0)))


_Read = tuple[
    tuple[SafetensorsFile, ...],
    str,
    Mapping[str, Mapping[str, StoredTensor]],
    dict[str, dict[str, str]],
    dict[str, str],
]
"""The open files, the modules' JSON, the parts' tensors, the parts' metadata, our metadata."""


def _read_folder(folder: Path) -> _Read:
    found = [part for part in PARTS if (folder / f"{part}.safetensors").exists()]
    missing = [f"{part}.safetensors" for part in REQUIRED_PARTS if part not in found]
    if not (folder / MODULES_JSON).exists():
        missing.insert(0, MODULES_JSON)
    if missing:
        raise HyperLoRAError(
            f"{folder} is no HyperLoRA checkpoint: it lacks {', '.join(missing)}. {_found_instead(folder)}"
        )
    opened = {part: files.open_safetensors(folder / f"{part}.safetensors") for part in found}
    for part, file in opened.items():
        _check_kind(part, file)
    noted = opened["hyper_lora_modules"].metadata
    ours = {key: value for key, value in noted.items() if key.startswith("hyperlora.")}
    own = {part: {k: v for k, v in file.metadata.items() if k not in ours} for part, file in opened.items()}
    try:
        modules = (folder / MODULES_JSON).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise HyperLoRAError(f"{folder / MODULES_JSON} cannot be read as text: {files.DOWNLOAD_AGAIN}") from error
    return tuple(opened.values()), modules, {part: file.tensors for part, file in opened.items()}, own, ours


def _check_kind(part: str, file: SafetensorsFile) -> None:
    kind, _ = kinds.open_recognised(file)
    expected = kinds.PARTS[part]
    if kind is not None and kind.key != expected.key:
        raise HyperLoRAError(f"{file} is {kind.name} and should be {expected.name}: {files.DOWNLOAD_AGAIN}")


def _found_instead(folder: Path) -> str:
    """What a folder that is no checkpoint holds, and what to do."""
    below = sorted(
        path.parent for path in folder.glob(f"*/{MODULES_JSON}") if not files.is_clutter(path.relative_to(folder))
    )
    if below:
        return f"They are one folder deeper: choose {below[0]}"
    said = []
    for path in sorted(folder.iterdir()):
        if path.suffix in files.MODEL_SUFFIXES and path.stem not in PARTS and not files.is_clutter(path.name):
            try:
                kind = kinds.recognise(path)
            except HyperLoRAError as error:
                said.append(str(error))
            else:
                said += [f"{path.name} is {kind.name}: {kind.advice}"] if kind else []
    return said[0] if said else f"{files.DOWNLOAD_AGAIN.capitalize()}, the whole folder"


def _read_file(path: PathOrFile) -> _Read:
    kind, file = kinds.open_recognised(path)
    if file is None or kind is None or kind.key != kinds.HYPERLORA.key:
        what = f"{kind.name}: {kind.advice}" if kind else "none that is known"
        raise HyperLoRAError(
            f"{path} is no HyperLoRA checkpoint. It is {what}. A folder holding {MODULES_JSON}, or a file that "
            "`hyperlora convert` made, was expected"
        )
    metadata = file.metadata
    if metadata[kinds.FORMAT_KEY] != FORMAT:
        raise HyperLoRAError(
            f"{path} is a HyperLoRA checkpoint of format {metadata[kinds.FORMAT_KEY]!r}, and this version reads "
            f"{FORMAT!r}: update ComfyUI-HyperLoRA"
        )
    parts: dict[str, dict[str, StoredTensor]] = {}
    for name, tensor in file.tensors.items():
        part, _, key = name.partition(".")
        if part not in PARTS:
            raise HyperLoRAError(f"{path} holds {name!r}, which is not part of a HyperLoRA: convert it again")
        parts.setdefault(part, {})[key] = tensor
    missing = [part for part in REQUIRED_PARTS if part not in parts]
    if missing:
        raise HyperLoRAError(
            f"{path} is no whole HyperLoRA checkpoint, it lacks {', '.join(missing)}: convert it again"
        )
    try:
        own = _json(metadata, PARTS_KEY)
    except HyperLoRAError as error:
        raise HyperLoRAError(f"the HyperLoRA checkpoint {path} cannot be used: {error}") from error
    ours = {key: value for key, value in metadata.items() if key.startswith("hyperlora.")}
    ordered = {part: parts[part] for part in PARTS if part in parts}
    return (file,), metadata.get(MODULES_KEY, ""), ordered, {part: own.get(part, {}) for part in ordered}, ours


def _json(metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    try:
        value = json.loads(metadata.get(key, "{}"))
    except (ValueError, RecursionError) as error:
        raise HyperLoRAError(f"its entry {key} cannot be read ({error}): convert it again") from error
    if not isinstance(value, dict):
        raise HyperLoRAError(f"its entry {key} is {value!r}, where an object was expected: convert it again")
    return value
