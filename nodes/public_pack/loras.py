"""The nodes that make, apply and save LoRAs."""

from collections.abc import Mapping

import folder_paths
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ...hyperlora_core.doors.comfyui.patching import apply_lora
from ...hyperlora_core.identity.encoding import encode_id
from ...hyperlora_core.identity.generation import generate
from ...hyperlora_core.identity.value import Identity
from ..host.cache import cache
from ..host.sockets import on_no_face_input
from ..lora import save_lora
from ..models import DTYPES, LoadedHyperLoRA
from .shared import (
    BaseCondSocket,
    IDCondSocket,
    LoraSocket,
    background_inputs,
    deprecated,
    faces_of,
    hyper_lora_input,
    images_input,
    lora_output,
    order_input,
)

WEIGHT_LIMIT = 3.0


class HyperLoRAGenerateIDLoRA(io.ComfyNode):
    """Makes the ID-LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [hyper_lora_input(), IDCondSocket.Input("id_cond", tooltip="From HyperLoRA ID Cond.")]
        name = "HyperLoRA Generate ID LoRA"
        return deprecated("HyperLoRAGenerateIDLoRA", name, "HyperLoRA Generate LoRA", inputs, [lora_output()])

    @classmethod
    def execute(cls, hyper_lora: LoadedHyperLoRA, id_cond: Identity) -> io.NodeOutput:
        return io.NodeOutput(generate(hyper_lora.network, id_cond, id_weight=1.0, cache=cache()))


class HyperLoRAGenerateBaseLoRA(io.ComfyNode):
    """Makes the Base-LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [hyper_lora_input(), BaseCondSocket.Input("base_cond", tooltip="From HyperLoRA Base Cond.")]
        name = "HyperLoRA Generate Base LoRA"
        return deprecated("HyperLoRAGenerateBaseLoRA", name, "HyperLoRA Generate LoRA", inputs, [lora_output()])

    @classmethod
    def execute(cls, hyper_lora: LoadedHyperLoRA, base_cond: Identity) -> io.NodeOutput:
        return io.NodeOutput(generate(hyper_lora.network, base_cond, base_weight=1.0, cache=cache()))


class HyperLoRAUniGenerateIDLoRA(io.ComfyNode):
    """Makes the ID-LoRA of photos."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [
            hyper_lora_input(),
            images_input(),
            *background_inputs(),
            on_no_face_input(optional=True),
            order_input(),
        ]
        name = "HyperLoRA Uni Generate ID LoRA"
        return deprecated("HyperLoRAUniGenerateIDLoRA", name, "HyperLoRA Portrait", inputs, [lora_output()])

    @classmethod
    def execute(
        cls,
        hyper_lora: LoadedHyperLoRA,
        images: Tensor,
        grayscale: bool,
        remove_background: bool,
        order: str,
        on_no_face: str = "error",
    ) -> io.NodeOutput:
        references, remarks = faces_of(hyper_lora, images, on_no_face, order)
        network = hyper_lora.network
        identity, _ = encode_id(network, hyper_lora.clip(), references, remove_background, grayscale, cache())
        return io.NodeOutput(generate(network, identity, id_weight=1.0, cache=cache()), ui=remarks.ui())


class HyperLoRAApplyLoRA(io.ComfyNode):
    """Applies a LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [
            io.Model.Input("model", tooltip="An SDXL model."),
            LoraSocket.Input("lora", tooltip="A LoRA that HyperLoRA generated."),
            io.Float.Input(
                "weight",
                default=0.8,
                min=-WEIGHT_LIMIT,
                max=WEIGHT_LIMIT,
                step=0.01,
                tooltip="How strongly the LoRA is applied; 0 leaves the model as it is.",
            ),
        ]
        outputs = [io.Model.Output(display_name="MODEL")]
        return deprecated("HyperLoRAApplyLoRA", "HyperLoRA Apply LoRA", "HyperLoRA Apply LoRA", inputs, outputs)

    @classmethod
    def execute(cls, model: ModelPatcher, lora: Mapping[str, Tensor], weight: float) -> io.NodeOutput:
        return io.NodeOutput(apply_lora(model, lora, weight))


class HyperLoRASaveLoRA(io.ComfyNode):
    """Saves a LoRA below the output folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [
            io.String.Input(
                "filename_prefix",
                default="lora/id_lora",
                tooltip="The file's name below the output folder; a number is added.",
            ),
            LoraSocket.Input("lora", tooltip="A LoRA that HyperLoRA generated."),
        ]
        name = "HyperLoRA Save LoRA"
        return deprecated("HyperLoRASaveLoRA", name, "HyperLoRA Save LoRA", inputs, [], is_output_node=True)

    @classmethod
    def execute(cls, filename_prefix: str, lora: Mapping[str, Tensor]) -> io.NodeOutput:
        _, preview = save_lora(lora, filename_prefix, folder_paths.get_output_directory(), DTYPES["fp16"])
        return io.NodeOutput(ui=preview)
