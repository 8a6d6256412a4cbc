"""The node ids of the public pack (bytedance/ComfyUI-HyperLoRA), so that shared workflows load and run.

Ids, sockets, widgets and their order are that pack's; what we add comes last. They are adapters on the same core as our
own nodes, and deprecated, so that the editor's search offers ours.
"""

from comfy_api.latest import io

from .encoding import HyperLoRABaseCond, HyperLoRAFaceAttr, HyperLoRAIDCond
from .loaders import HyperLoRAConfig, HyperLoRALoader, HyperLoRAUniLoader
from .loras import (
    HyperLoRAApplyLoRA,
    HyperLoRAGenerateBaseLoRA,
    HyperLoRAGenerateIDLoRA,
    HyperLoRASaveLoRA,
    HyperLoRAUniGenerateIDLoRA,
)

NODES: tuple[type[io.ComfyNode], ...] = (
    HyperLoRAConfig,
    HyperLoRALoader,
    HyperLoRAUniLoader,
    HyperLoRAFaceAttr,
    HyperLoRAIDCond,
    HyperLoRABaseCond,
    HyperLoRAGenerateIDLoRA,
    HyperLoRAGenerateBaseLoRA,
    HyperLoRAUniGenerateIDLoRA,
    HyperLoRAApplyLoRA,
    HyperLoRASaveLoRA,
)
