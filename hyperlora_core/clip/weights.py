"""CLIP image encoders on disk: which tower a file holds, and its tensors under ``ClipTower``'s names.

Three layouts, each with any prefix; a text encoder beside the tower is left unread:

- transformers' folder: ``config.json`` and ``model.safetensors`` (``[vision_model.]embeddings.class_embedding``, ...)
- such a file alone, as in ComfyUI's ``models/clip_vision``
- open_clip's file (``visual.class_embedding``, ``visual.transformer.resblocks.0...``)

Hyperparameters are read off the tensors' shapes. What shapes do not tell (heads, activation, epsilon) is taken from
``config.json`` where there is one. Else it is that of OpenAI's models up to ViT-L, and of LAION's above (H, g, bigG).
"""

import hashlib
import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import files
from ..errors import HyperLoRAError
from ..files import PathOrFile, SafetensorsFile, kinds
from ..files.encoders import Encoder

Shapes = Mapping[str, tuple[int, ...]]

_WEIGHTS, _CONFIG = "model.safetensors", "config.json"

_LETTERS = {384: "S", 768: "B", 1024: "L", 1280: "H", 1408: "g", 1664: "bigG"}  # by width

# ClipTower's names -> open_clip's, where q, k and v are one tensor; and -> transformers'.
_OPEN_CLIP_NAMES = {
    "class_embedding.weight": "class_embedding",
    "positional_embedding.weight": "positional_embedding",
    "blocks.": "transformer.resblocks.",
}
_TRANSFORMERS_NAMES = {
    "class_embedding.weight": "embeddings.class_embedding",
    "positional_embedding.weight": "embeddings.position_embedding.weight",
    "conv1.": "embeddings.patch_embedding.",
    "ln_pre.": "pre_layrnorm.",
    "blocks.": "encoder.layers.",
    ".ln_1.": ".layer_norm1.",
    ".ln_2.": ".layer_norm2.",
    ".attn.": ".self_attn.",
    ".c_fc.": ".fc1.",
    ".c_proj.": ".fc2.",
}

_QKV = re.compile(r"\.attn\.([qkv])_proj\.")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TowerConfig:
    """What a tower is made of. ``layers`` counts the whole tower's; the last of them is not built."""

    width: int
    layers: int
    heads: int
    mlp_width: int
    patch_size: int
    image_size: int
    quick_gelu: bool
    eps: float

    @property
    def tokens(self) -> int:
        """The class token, and one token a patch."""
        return 1 + (self.image_size // self.patch_size) ** 2

    @property
    def name(self) -> str:
        """As people call it: "ViT-L/14"."""
        letter = _LETTERS.get(self.width)
        return f"ViT-{letter}/{self.patch_size}" if letter else f"ViT {self.width} wide, patch {self.patch_size}"


@dataclass(frozen=True)
class _Names:
    """Where a file keeps ``ClipTower``'s tensors."""

    prefix: str
    transformers_layout: bool

    def __call__(self, name: str) -> tuple[str, int | None]:
        """The file's name of one of our tensors; and which third of the tensor it is, where q, k and v are one."""
        for ours, theirs in (_TRANSFORMERS_NAMES if self.transformers_layout else _OPEN_CLIP_NAMES).items():
            name = name.replace(ours, theirs)
        part = None if self.transformers_layout else _QKV.search(name)
        if part is None:
            return self.prefix + name, None
        return self.prefix + _QKV.sub(".attn.in_proj_", name), "qkv".index(part[1])

    @property
    def blocks(self) -> str:
        """What the names of the blocks' tensors begin with, up to the block's number."""
        return self("blocks.")[0]


@dataclass(frozen=True)
class TowerFile:
    """A tower in a safetensors file, looked at and not yet read.

    Attributes:
        file: the open file.
        config: the tower's hyperparameters.
    """

    file: SafetensorsFile
    config: TowerConfig
    _names: _Names

    def state_dict(self, model: nn.Module) -> dict[str, Tensor]:
        """The tensors that a model asks for, and those only, mapped from the file, in its type.

        Args:
            model: a ``ClipTower``, may be on the meta device.

        Raises:
            HyperLoRAError: a tensor is missing, of another shape, or one too many in a block.
        """
        expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        self._check(expected)
        state = {}
        for name in expected:
            key, third = self._names(name)
            tensor = self.file.tensor(key)
            state[name] = tensor if third is None else tensor.chunk(3)[third]
        return state

    @cached_property
    def encoder(self) -> Encoder:
        """Which tower it is, by a sha256 over its embeddings and norms in half precision: the same in every layout.

        Raises:
            HyperLoRAError: a tensor is missing.
        """
        blocks = [f"blocks.{i}.ln_1.{kind}" for i in range(self.config.layers - 1) for kind in ("weight", "bias")]
        digest = hashlib.sha256()
        for name in (
            "class_embedding.weight",
            "positional_embedding.weight",
            "conv1.weight",
            "ln_pre.weight",
            "ln_pre.bias",
            *blocks,
        ):
            tensor = self.file.tensor(self._names(name)[0])
            digest.update(tensor.to(torch.float16).contiguous().numpy().tobytes())
        return Encoder(f"{self.config.name} at {self.config.image_size}", digest.hexdigest())

    def _check(self, expected: Shapes) -> None:
        shapes = self.file.shapes
        wrong: list[str] = []
        used: set[str] = set()
        for name, shape in expected.items():
            key, third = self._names(name)
            needed = shape if third is None else (3 * shape[0], *shape[1:])
            if key not in shapes:
                wrong.append(f"{key} is missing")
            elif shapes[key] != needed and key not in used:
                wrong.append(f"{key} has shape {shapes[key]} instead of {needed}")
            used.add(key)
        if any(key.startswith(f"{self._names.blocks}0.") for key in used):
            block = [key for key in shapes if key.startswith(f"{self._names.blocks}0.")]
            wrong += [f"{key} belongs to a kind of tower that is not known" for key in block if key not in used]
        if wrong:
            more = f", and {len(wrong) - 4} more" if len(wrong) > 4 else ""
            raise HyperLoRAError(f"{self.file} cannot be used as a CLIP image encoder: {'; '.join(wrong[:4])}{more}")


def find_tower(path: PathOrFile | TowerFile, width: int | None = None) -> TowerFile:
    """Look at the tower that a folder or a file holds, without reading its weights.

    Args:
        path: transformers' folder, or a ``.safetensors`` file in any of the layouts; a tower that was found already is
            looked at for its width alone.
        width: how wide its tokens have to be; any by default.

    Raises:
        HyperLoRAError: there is no such file, it is broken, or it holds no CLIP image encoder, or one of another width.
    """
    tower = path if isinstance(path, TowerFile) else _open_tower(path)
    if width not in (None, tower.config.width):
        raise HyperLoRAError(
            f"{tower.file} is CLIP {tower.config.name}, whose tokens are {tower.config.width} wide; this HyperLoRA "
            f"reads tokens {width} wide{', as CLIP ViT-L/14 makes them' if width == 1024 else ''}"
        )
    return tower


def _open_tower(path: PathOrFile) -> TowerFile:
    if isinstance(path, SafetensorsFile):
        file, in_folder = path, False
    else:
        in_folder = Path(path).is_dir()
        file = files.open_safetensors(_weights_file(Path(path)) if in_folder else path)
    try:
        names = _find_names(file)
        beside = _read_config(file.path.parent / _CONFIG) if in_folder or file.path.name == _WEIGHTS else {}
        return TowerFile(file, _read_shapes(file.shapes, names, beside), names)
    except HyperLoRAError as error:
        raise HyperLoRAError(f"{file} cannot be used as a CLIP image encoder: {error}") from error


def _find_names(file: SafetensorsFile) -> _Names:
    shapes = file.shapes
    for name in sorted((name for name in shapes if name.endswith("class_embedding")), key=len):
        marker = "embeddings.class_embedding"
        if name.endswith(marker):
            return _Names(name.removesuffix(marker), transformers_layout=True)
        return _Names(name.removesuffix("class_embedding"), transformers_layout=False)
    kind, _ = kinds.open_recognised(file)
    raise HyperLoRAError(
        f"it is {kind.name}: {kind.advice}"
        if kind
        else "it was expected to have vision_model.embeddings.class_embedding (transformers, ComfyUI's clip_vision) or "
        f"visual.class_embedding (open_clip), and has {', '.join(sorted(shapes)[:4]) or 'nothing'}"
    )


def _read_shapes(shapes: Shapes, names: _Names, beside: Mapping[str, Any]) -> TowerConfig:
    """Read a tower's hyperparameters off its shapes, and what these do not tell off the config beside the file."""

    def shape(name: str, dimensions: int) -> tuple[int, ...]:
        key = names(name)[0]
        found = shapes.get(key)
        if found is None:
            raise HyperLoRAError(f"{key} is missing")
        if len(found) != dimensions or 0 in found:
            raise HyperLoRAError(f"{key} has shape {found}; {dimensions} dimensions were expected")
        return found

    (width,), (positions, _) = shape("class_embedding.weight", 1), shape("positional_embedding.weight", 2)
    patch = shape("conv1.weight", 4)[-1]
    grid = math.isqrt(positions - 1)
    if grid == 0 or grid**2 != positions - 1:
        raise HyperLoRAError(f"it has {positions} positions; 1 and a square were expected")
    block = re.compile(re.escape(names.blocks) + r"(\d+)\.")
    layers = 1 + max((int(match[1]) for match in map(block.match, shapes) if match), default=0)
    mlp_width = shape("blocks.0.mlp.c_fc.weight", 2)[0]

    if beside and beside.get("hidden_size") != width:
        log.warning("The %s beside a CLIP %d wide is of another model: it is passed over", _CONFIG, width)
        beside = {}
    if beside.get("num_hidden_layers", layers) != layers:
        raise HyperLoRAError(
            f"it has {layers} layers and its {_CONFIG} says {beside['num_hidden_layers']}: "
            "they are not of one model; download both again"
        )
    heads = beside.get("num_attention_heads", min(width // 64, 16) if width % 64 == 0 else "of 64")
    if not isinstance(heads, int) or heads < 1 or width % heads:
        raise HyperLoRAError(
            f"it is {width} wide, which cannot be cut into heads ({heads}); give transformers' folder, "
            f"whose {_CONFIG} has the right num_attention_heads"
        )
    activation = beside.get("hidden_act", "quick_gelu" if width <= 1024 else "gelu")
    if activation not in ("quick_gelu", "gelu"):
        raise HyperLoRAError(f"its activation is {activation!r}; quick_gelu or gelu was expected")
    eps = beside.get("layer_norm_eps", 1e-5)
    return TowerConfig(width, layers, heads, mlp_width, patch, grid * patch, activation == "quick_gelu", eps)


def _weights_file(folder: Path) -> Path:
    if (folder / _WEIGHTS).exists():
        return folder / _WEIGHTS
    candidates = sorted(file for file in folder.glob("*.safetensors") if not files.is_clutter(file.name))
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise HyperLoRAError(
            f"{folder} has {', '.join(file.name for file in candidates)} and no {_WEIGHTS}: give one of the files"
        )
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix in (".bin", ".pt", ".pth"))
    but = f", only {', '.join(pickles)}, which could run code when opened" if pickles else ""
    raise HyperLoRAError(f"{folder} has no {_WEIGHTS}{but}: get that file of the same model")


def _read_config(path: Path) -> Mapping[str, Any]:
    """The image encoder's part of transformers' config; {} where there is no file."""
    if not path.exists():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return config.get("vision_config", config)
    except (ValueError, AttributeError) as error:
        raise HyperLoRAError(f"{path} is no config of a model ({error}): download it again") from error
