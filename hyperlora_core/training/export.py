"""What was trained, as a checkpoint in the released layout: the nodes load it like any other."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..errors import HyperLoRAError
from ..files.encoders import UNKNOWN, Encoders
from ..lora.names import flat_name
from ..network.config import HyperLoRAConfig
from ..network.conversion import folder_notes
from ..network.layout import MODULES_JSON, file_key


def export(
    config: HyperLoRAConfig,
    weights: Mapping[str, Tensor],
    folder: Path,
    encoders: Encoders = UNKNOWN,
    dtype: torch.dtype = torch.float16,
    notes: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Write a network as a folder, which appears whole or not at all.

    Args:
        config: of the network.
        weights: its state dict.
        folder: where to; an existing one is replaced.
        encoders: what it was trained with, noted in it, so that others of the same size are refused.
        dtype: of its tensors in the files.
        notes: name -> text of files that lie beside them.

    Returns:
        ``folder``.

    Raises:
        HyperLoRAError: a number is not finite in this type, or the folder cannot be written.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        part, key = file_key(name)
        stored = tensor.detach().to("cpu", dtype).contiguous()
        if not torch.isfinite(stored).all():
            raise HyperLoRAError(f"{name} is not finite in {dtype}: the training has diverged; begin at an older state")
        parts.setdefault(part, {})[key] = stored
    modules = {
        flat_name(module.name): {
            "hidden_size": module.hidden_size,
            "cross_attention_dim": module.cross_attention_dim,
        }
        for module in config.modules
    }
    metadata = folder_notes(config, encoders)
    partial, old = folder.with_name(f".{folder.name}.part"), folder.with_name(f".{folder.name}.old")
    try:
        for leftover in (partial, old):
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir(parents=True)
        (partial / MODULES_JSON).write_text(json.dumps(modules, indent=1))
        for name, text in notes.items():
            (partial / name).write_text(text, encoding="utf-8")
        for part, tensors in parts.items():
            path = partial / f"{part}.safetensors"
            save_file(tensors, path, metadata if part == "hyper_lora_modules" else None)
            path.chmod((partial / MODULES_JSON).stat().st_mode)  # save_file's are the owner's alone
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise HyperLoRAError(f"{folder} cannot be written: {error.strerror or error}") from error
    return folder
