"""HyperLoRA checkpoints on disk, in the released layout: a folder of safetensors files and a JSON of module names.

hyper_lora_modules.json          ordered: kohya module name -> {"hidden_size": int, "cross_attention_dim": int or null}
hyper_lora_modules.safetensors   the bases          resampler.safetensors   id_projector.safetensors
base_resampler.safetensors       where the checkpoint makes a Base-LoRA
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from . import files
from .errors import HyperLoRAError
from .lora import canonical_attention_name
from .network.config import PROJECTIONS, AttentionModule, HyperLoRAConfig, Shapes

MODULES_JSON = "hyper_lora_modules.json"
PARTS = ("hyper_lora_modules", "resampler", "id_projector", "base_resampler")
REQUIRED_PARTS = ("hyper_lora_modules", "resampler")

_SAMPLES, _SAMPLE_BYTES = 256, 1 << 16


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was looked at and can be loaded.

    Attributes:
        path: its folder.
        config: its hyperparameters.
        parts: the stems of the files it has.
        shapes: part -> tensor name in the file -> shape.
    """

    path: Path
    config: HyperLoRAConfig
    parts: tuple[str, ...]
    shapes: Mapping[str, Shapes]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    def state_dict(self, expected: Shapes) -> dict[str, Tensor]:
        """The tensors under the network's names, mapped from the files, in the files' types.

        Args:
            expected: the network's tensor names and shapes.

        Raises:
            HyperLoRAError: a tensor is missing, superfluous or of another shape than the network's.
        """
        self._check(expected)
        state = {}
        for part in self.parts:
            for key, tensor in files.load(self.path / f"{part}.safetensors").items():
                state[_module_key(part, key)] = tensor
        return state

    def _check(self, expected: Shapes) -> None:
        found = {
            _module_key(part, key): (f"{part}: {key}", shape)
            for part, shapes in self.shapes.items()
            for key, shape in shapes.items()
        }
        wrong = [f"{key} is missing" for key in expected.keys() - found.keys()]
        wrong += [f"{label} is not part of a HyperLoRA" for key, (label, _) in found.items() if key not in expected]
        wrong += [
            f"{label} has shape {shape} instead of {expected[key]}"
            for key, (label, shape) in found.items()
            if key in expected and shape != expected[key]
        ]
        if wrong:
            more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise HyperLoRAError(
                f"the HyperLoRA checkpoint {self.path} cannot be used: {'; '.join(sorted(wrong)[:3])}{more}"
            )

    def fingerprint(self) -> str:
        """Tells checkpoints apart: a sha256 over the files' names, sizes, headers and evenly spaced samples.

        Files of up to 16 MB are read whole, of larger ones 16 MB, so it takes no longer for 3 GB than for 100 MB.
        """
        digest = hashlib.sha256()
        for path in [self.path / MODULES_JSON, *(self.path / f"{part}.safetensors" for part in self.parts)]:
            size = path.stat().st_size
            digest.update(f"{path.name}:{size}:".encode())
            stride = max(_SAMPLE_BYTES, size // _SAMPLES)
            with path.open("rb") as file:
                for offset in range(0, size, stride):
                    file.seek(offset)
                    digest.update(file.read(_SAMPLE_BYTES))
        return digest.hexdigest()


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Look at a checkpoint without reading its weights.

    Args:
        path: the folder in the released layout.

    Raises:
        HyperLoRAError: a file is missing or broken, or a tensor is missing or of another shape than the others ask for.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise HyperLoRAError(
            f"{folder} is no HyperLoRA checkpoint: a folder holding {MODULES_JSON} and its .safetensors files is needed"
        )
    parts = tuple(part for part in PARTS if (folder / f"{part}.safetensors").exists())
    missing = [f"{part}.safetensors" for part in REQUIRED_PARTS if part not in parts]
    if not (folder / MODULES_JSON).exists():
        missing.insert(0, MODULES_JSON)
    if missing:
        raise HyperLoRAError(f"the HyperLoRA checkpoint {folder} lacks {', '.join(missing)}: download it whole again")
    modules = _read_modules(folder / MODULES_JSON)
    shapes = {
        part: {key: shape for key, (_, shape) in files.tensor_shapes(folder / f"{part}.safetensors").items()}
        for part in parts
    }
    try:
        config = HyperLoRAConfig.from_shapes(modules, shapes)
    except HyperLoRAError as error:
        raise HyperLoRAError(f"the HyperLoRA checkpoint {folder} cannot be used: {error}") from error
    return Checkpoint(folder, config, parts, shapes)


def _read_modules(path: Path) -> tuple[AttentionModule, ...]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        modules = tuple(
            AttentionModule(canonical_attention_name(name), entry["hidden_size"], entry["cross_attention_dim"])
            for name, entry in entries.items()
        )
    except HyperLoRAError as error:
        raise HyperLoRAError(f"{path}: {error}") from error
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise HyperLoRAError(
            f"{path} cannot be read as the list of a HyperLoRA's attention modules ({error}): download it again"
        ) from error
    if not modules:
        raise HyperLoRAError(f"{path} lists no attention module")
    return modules


def _module_key(part: str, key: str) -> str:
    """A tensor's name in the network's state dict."""
    if part == "hyper_lora_modules":
        index, _, rest = key.partition(".")
        projection, _, basis = rest.partition(".")
        kind, _, direction = basis.removesuffix("_basis").partition("_")
        if projection in PROJECTIONS and kind in ("id", "base") and direction in ("down", "up"):
            return f"{kind}_bases.bases.{index}.{projection}.{direction}.weight"
        return f"{part}.{key}"
    return f"{part}.latents.weight" if key == "latents" else f"{part}.{key}"
