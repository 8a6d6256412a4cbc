"""The two layouts of a HyperLoRA checkpoint, which hold the same, and the names in them.

A folder, as released:

    hyper_lora_modules.json          ordered: flat name -> {"hidden_size": int, "cross_attention_dim": int or null}
    hyper_lora_modules.safetensors   the bases          resampler.safetensors   id_projector.safetensors
    base_resampler.safetensors       where the checkpoint makes a Base-LoRA

One file, ours: the same tensors as "<part>.<name in the part>", and in the header's metadata

    hyperlora.format     "1"                       hyperlora.modules   the text of hyper_lora_modules.json
    hyperlora.config     HyperLoRAConfig.to_json   hyperlora.encoders  what it was trained with, where that is known
    hyperlora.parts      the parts' own metadata   hyperlora.sha256    of all tensors' bytes, in the file's order
    hyperlora.checksum   of the rest of this metadata and of samples of the tensors; compared whenever it is opened

A folder may say ``hyperlora.config`` and ``hyperlora.encoders`` too, in its hyper_lora_modules.safetensors.
"""

import json

from .. import files
from ..errors import HyperLoRAError
from ..lora.names import PROJECTIONS, canonical_attention_name
from .config import AttentionModule

MODULES_JSON = "hyper_lora_modules.json"
PARTS = ("hyper_lora_modules", "resampler", "id_projector", "base_resampler")
REQUIRED_PARTS = ("hyper_lora_modules", "resampler")

FORMAT = "1"
_WIDEST = 1 << 16  # of an attention
CONFIG_KEY, ENCODERS_KEY, MODULES_KEY = "hyperlora.config", "hyperlora.encoders", "hyperlora.modules"
PARTS_KEY, SHA256_KEY, CHECKSUM_KEY = "hyperlora.parts", "hyperlora.sha256", "hyperlora.checksum"


def parse_modules(text: str) -> tuple[AttentionModule, ...]:
    """The modules that the text of a hyper_lora_modules.json lists, in its order."""
    try:
        pairs = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=list)
        entries = {name: dict(entry) for name, entry in pairs}
        modules = tuple(
            AttentionModule(canonical_attention_name(name), entry["hidden_size"], entry["cross_attention_dim"])
            for name, entry in entries.items()
        )
    except HyperLoRAError as error:
        raise HyperLoRAError(f"{MODULES_JSON}: {error}") from error
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
        raise HyperLoRAError(
            f"{MODULES_JSON} cannot be read as the list of a HyperLoRA's attention modules ({error}): "
            f"{files.DOWNLOAD_AGAIN}"
        ) from error
    if not modules:
        raise HyperLoRAError(f"{MODULES_JSON} lists no attention module")
    if len(modules) != len(pairs):
        raise HyperLoRAError(f"{MODULES_JSON} lists a module twice: {files.DOWNLOAD_AGAIN}")
    for module in modules:
        widths = (module.hidden_size, module.cross_attention_dim)
        if (
            any(type(width) is not int or not 1 <= width <= _WIDEST for width in widths if width is not None)
            or widths[0] is None
        ):
            raise HyperLoRAError(f"{MODULES_JSON}: {module.name} has the widths {widths}, where numbers were expected")
        if module.name.endswith("attn2") != (module.cross_attention_dim is not None):
            raise HyperLoRAError(
                f"{MODULES_JSON}: {module.name} has cross_attention_dim {module.cross_attention_dim}; attn2 reads the "
                "text and needs a width, attn1 null"
            )
    return modules


def module_key(part: str, key: str) -> str:
    """A tensor's name in the network's state dict."""
    if part == "hyper_lora_modules":
        index, _, rest = key.partition(".")
        projection, _, basis = rest.partition(".")
        kind, _, direction = basis.removesuffix("_basis").partition("_")
        if projection in PROJECTIONS and kind in ("id", "base") and direction in ("down", "up"):
            return f"{kind}_bases.bases.{index}.{projection}.{direction}.weight"
        return f"{part}.{key}"
    return f"{part}.latents.weight" if key == "latents" else f"{part}.{key}"


def file_key(module_key: str) -> tuple[str, str]:
    """The part and the name in it of a tensor of the network's state dict."""
    part, _, rest = module_key.partition(".")
    if part in ("id_bases", "base_bases"):
        _, index, projection, direction, _ = rest.split(".")
        return "hyper_lora_modules", f"{index}.{projection}.{part.removesuffix('_bases')}_{direction}_basis"
    return part, "latents" if rest == "latents.weight" else rest
