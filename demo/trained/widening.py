"""A HyperLoRA or a LoRA of the small base as one for the checkpoint that ComfyUI loads.

The resamplers stay; the bases, which are sums' parts, are placed as the weights that they add to: see ``padding``.
"""

import json
import shutil
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from hyperlora_core.lora.names import flat_name
from hyperlora_core.lora.value import Factors, LoRA
from hyperlora_core.network.layout import MODULES_JSON, parse_modules

from .padding import TEXT_WIDE, WIDE, padded, query_scale, unet_places

_BASES = "hyper_lora_modules.safetensors"


def widen(small: Path, wide: Path) -> Path:
    """Write a folder for the wide UNet, from one that was trained beside the small base.

    Args:
        small: a folder as ``hyperlora train`` writes it.
        wide: the new folder.
    """
    modules = parse_modules((small / MODULES_JSON).read_text(encoding="utf-8"))
    wide.mkdir(parents=True)
    for path in small.glob("*.safetensors"):
        if path.name != _BASES:
            shutil.copy(path, wide / path.name)
    text = sum(TEXT_WIDE)
    described = {
        flat_name(module.name): {
            "hidden_size": WIDE,
            "cross_attention_dim": text if module.cross_attention_dim else None,
        }
        for module in modules
    }
    (wide / MODULES_JSON).write_text(json.dumps(described, indent=1))
    bases = {}
    with safe_open(small / _BASES, "pt") as file:
        metadata = file.metadata()
        for name in file.keys():  # noqa: SIM118 - no mapping
            number, projection, basis = name.split(".")
            layer = f"{modules[int(number)].name}.{projection}" + (".0" if projection == "to_out" else "")
            rows, columns = unet_places(layer)
            tensor = file.get_tensor(name)
            if "_down_" in basis:
                bases[name] = padded(tensor, None, columns)
            else:
                bases[name] = padded(tensor * query_scale(layer), None, None, rows)
    save_file(bases, wide / _BASES, metadata)
    return wide


def wide_lora(small: LoRA) -> LoRA:
    """A LoRA for the wide UNet, of one that was trained on the small one."""
    factors = {}
    for name, narrow in small.factors():
        rows, columns = unet_places(name)
        up = padded(narrow.up, rows) * query_scale(name)
        factors[name] = Factors(padded(narrow.down, None, columns), up, narrow.alpha)
    return LoRA.of_factors(factors, small.metadata)
