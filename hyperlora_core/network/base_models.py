"""The base models that a HyperLoRA can be for, told by its attentions, and what files of LoRAs call them."""

from collections.abc import Sequence
from dataclasses import dataclass

from .config import AttentionModule


@dataclass(frozen=True)
class Family:
    """Base models whose LoRAs are marked alike.

    Attributes:
        text_width: of the text tokens that attention reads; it tells the family.
        kohya: ``ss_base_model_version``, as kohya's sd-scripts write it.
        architecture: ``modelspec.architecture`` without "/lora" (https://github.com/Stability-AI/ModelSpec).
    """

    text_width: int
    kohya: str
    architecture: str


_FAMILIES = (
    Family(2048, "sdxl_base_v1-0", "stable-diffusion-xl-v1-base"),
    Family(768, "sd_v1", "stable-diffusion-v1"),
)
_ATTENTIONS = {(2048, 140): "SDXL", (2048, 68): "SSD-1B", (2048, 30): "Segmind Vega", (768, 32): "SD 1.5"}


def metadata_of(modules: Sequence[AttentionModule]) -> dict[str, str]:
    """What a LoRA's file says of the base model that it is for; empty where none is known."""
    metadata = {}
    family = next((family for family in _FAMILIES if family.text_width == _text_width(modules)), None)
    if family is not None:
        metadata["ss_base_model_version"] = family.kohya
        metadata["modelspec.architecture"] = f"{family.architecture}/lora"
    if name := base_model_of(modules):
        metadata["hyperlora.base_model"] = name
    return metadata


def base_model_of(modules: Sequence[AttentionModule]) -> str | None:
    """What the base model is called that has these attentions; None where none is known."""
    return _ATTENTIONS.get((_text_width(modules), len(modules)))


def _text_width(modules: Sequence[AttentionModule]) -> int:
    return max((module.cross_attention_dim or 0 for module in modules), default=0)
