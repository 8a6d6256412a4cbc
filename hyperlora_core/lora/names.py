"""What an attention projection is called: by diffusers, which this project speaks, and in files of LoRAs.

kohya's sd-scripts name the modules of SDXL's UNet as Stability's own code numbers them, ``input_blocks_4_1`` for
diffusers' ``down_blocks.1.attentions.0``, and those of Stable Diffusion 1.5's as diffusers does. Here the latter are
called flat names; released HyperLoRAs have them too, whatever their UNet. Both kinds are read everywhere.

Numbers are those of UNets with two residual blocks a level, as all of Stable Diffusion's have: a level down is two
blocks and the one that halves the picture, a level up is three.
"""

import re
from collections.abc import Collection
from functools import lru_cache

from ..errors import HyperLoRAError

PREFIX = "lora_unet_"
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out")
"""Of an attention, in the order of a HyperLoRA's rows."""

_PLACES = (
    r"down_blocks_(?P<down>\d{1,3})_attentions_(?P<down_at>\d{1,3})|up_blocks_(?P<up>\d{1,3})_attentions_(?P<up_at>\d{1,3})"
    r"|input_blocks_(?P<input>\d{1,3})_1|output_blocks_(?P<output>\d{1,3})_1|middle_block_1|mid_block_attentions_0"
)
_ATTENTION = re.compile(rf"{PREFIX}(?:{_PLACES})_transformer_blocks_(?P<block>\d{{1,3}})_(?P<kind>attn[12])")
_TARGET = re.compile(rf"(?P<attention>{PREFIX}.+_attn[12])_(?P<projection>to_[qkv]|to_out_0)")
_IN_THREES = re.compile(r"(down|up)_blocks\.(\d+)\.attentions\.(\d+)|mid_block\.attentions\.0")
_NOT_OF_SDXL = re.compile(r"down_blocks\.0\.|up_blocks\.[2-9]\.")


def flat_name(canonical: str) -> str:
    """A diffusers path with underscores: ``mid_block....attn1.to_q`` -> ``lora_unet_mid_block_..._attn1_to_q``."""
    return PREFIX + canonical.replace(".", "_")


def kohya_names(canonical: Collection[str]) -> dict[str, str]:
    """Canonical names of one UNet's projections -> kohya's.

    Where one of them is of a level that has no attention in SDXL and its family, all are Stable Diffusion 1.5's.
    """
    of_sdxl = not any(_NOT_OF_SDXL.match(name) for name in canonical)
    return {name: _sdxl_name(name) if of_sdxl else flat_name(name) for name in canonical}


@lru_cache(maxsize=4096)
def _sdxl_name(canonical: str) -> str:
    match = _IN_THREES.match(canonical)
    assert match is not None, f"{canonical} is no attention projection's path"
    way, level, attention = match.groups()
    if way is None:
        place = "middle_block"
    else:
        number = 3 * int(level) + int(attention)
        place = f"input_blocks_{number + 1}" if way == "down" else f"output_blocks_{number}"
    return f"{PREFIX}{place}_1{canonical[match.end() :].replace('.', '_')}"


@lru_cache(maxsize=4096)
def canonical_name(kohya: str) -> str:
    """The diffusers path of a projection from kohya's name for it, or from its flat name.

    Raises:
        HyperLoRAError: the name is no attention projection of an SDXL-style UNet.
    """
    match = _TARGET.fullmatch(kohya)
    attention = match and _attention_path(match["attention"])
    if not match or not attention:
        raise HyperLoRAError(f"{kohya!r} names no attention projection of an SDXL-style UNet in kohya's way")
    return f"{attention}.{match['projection'].replace('_0', '.0')}"


def canonical_attention_name(flat: str) -> str:
    """The diffusers path of an attention from its flat name, or from kohya's.

    Raises:
        HyperLoRAError: the name is no attention of an SDXL-style UNet.
    """
    path = _attention_path(flat)
    if path is None:
        raise HyperLoRAError(
            f"{flat!r} names no attention of an SDXL-style UNet; a name such as "
            f"'{PREFIX}down_blocks_1_attentions_0_transformer_blocks_0_attn1' was expected"
        )
    return path


def _attention_path(name: str) -> str | None:
    match = _ATTENTION.fullmatch(name)
    if match is None:
        return None
    if match["input"]:
        level, attention = divmod(int(match["input"]) - 1, 3)
        if attention not in (0, 1):
            return None  # the first block of all, or one that halves the picture
        place = f"down_blocks.{level}.attentions.{attention}"
    elif match["output"]:
        level, attention = divmod(int(match["output"]), 3)
        place = f"up_blocks.{level}.attentions.{attention}"
    elif match["down"]:
        place = f"down_blocks.{match['down']}.attentions.{match['down_at']}"
    elif match["up"]:
        place = f"up_blocks.{match['up']}.attentions.{match['up_at']}"
    else:
        place = "mid_block.attentions.0"
    return f"{place}.transformer_blocks.{match['block']}.{match['kind']}"
