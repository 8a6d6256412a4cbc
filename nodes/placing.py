"""The nodes that draw several people in one pass: one a picture of a batch, or each in a part of the picture."""

import uuid
from collections.abc import Mapping

import comfy.hooks
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ..hyperlora_core.doors.comfyui.runtime import Layer, add_layers, check_mask, for_prompt, in_regions, per_item
from ..hyperlora_core.lora.regions import draw_regions
from ..hyperlora_core.lora.schedule import Schedule
from .cards import saved_preview
from .host.sockets import CATEGORY, LoraSocket, loras_input, schedule_input, weight_input
from .lora import ours


def _loras(loras: dict) -> list:
    return [ours(lora) for lora in loras.values() if lora is not None]


class HyperLoRAApplyPerItem(io.ComfyNode):
    """One person a picture of the batch."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRAApplyPerItem",
            display_name="HyperLoRA Apply per Picture",
            category=CATEGORY,
            description="Draws several people in one batch: the first LoRA on its first picture, the second on its "
            "second, and so on. Each picture is what it would be alone, in context windows and cut out of the batch, "
            "too.",
            search_aliases=["batch", "per latent", "many people", "faceid batch"],
            inputs=[
                io.Model.Input("model", tooltip="An SDXL model."),
                loras_input("The people's LoRAs, in the order of the batch."),
                weight_input("strength", 1.0, "Strength of each LoRA."),
                io.Combo.Input(
                    "fewer_people",
                    options=["repeat", "error"],
                    default="repeat",
                    tooltip="A batch of more pictures than people: begin with the first person again, or stop. More "
                    "people than pictures is always an error.",
                ),
                schedule_input("What strength is multiplied by while the pictures are sampled."),
            ],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(
        cls, model: ModelPatcher, loras: dict, strength: float, fewer_people: str, schedule: Schedule | None = None
    ) -> io.NodeOutput:
        return io.NodeOutput(add_layers(model, per_item(_loras(loras), strength, fewer_people == "repeat", schedule)))


class HyperLoRAApplyRegions(io.ComfyNode):
    """Each person in a part of the picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRAApplyRegions",
            display_name="HyperLoRA Apply in Regions",
            category=CATEGORY,
            description="Draws each person in a part of one picture, with one prompt for all. What no mask covers is "
            "drawn by the model alone. For a prompt of each person's own, use HyperLoRA Person for Prompt.",
            search_aliases=["regional", "attention mask", "attn_mask", "two people", "couple"],
            inputs=[
                io.Model.Input("model", tooltip="An SDXL model."),
                loras_input("The people's LoRAs, one a mask."),
                io.Autogrow.Input(
                    "masks",
                    template=io.Autogrow.TemplatePrefix(
                        io.Mask.Input("mask", tooltip="Where this person is; of any size."),
                        prefix="mask",
                        min=1,
                        max=16,
                    ),
                    tooltip="Where each person is, in the order of the LoRAs. Masks may be soft and of any size; where "
                    "they overlap, people share. They lie over whatever is sampled: a tiled upscaler or a face "
                    "detailer needs a model without them.",
                ),
                weight_input("strength", 1.0, "Strength of each LoRA."),
                schedule_input("What strength is multiplied by while the picture is sampled."),
            ],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(
        cls, model: ModelPatcher, loras: dict, masks: dict, strength: float, schedule: Schedule | None = None
    ) -> io.NodeOutput:
        areas = [mask for mask in masks.values() if mask is not None]
        layers = in_regions(_loras(loras), areas, strength, schedule)
        preview = {"hyperlora_regions": [saved_preview(draw_regions(areas), cls)]}
        return io.NodeOutput(add_layers(model, layers), ui=preview)


class HyperLoRAPersonForPrompt(io.ComfyNode):
    """A person for one prompt of several."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRAPersonForPrompt",
            display_name="HyperLoRA Person for Prompt",
            category=CATEGORY,
            description="Draws a person with one prompt of several, where its mask is. Chain one for each person, "
            "MODEL to MODEL, and join the prompts with Conditioning (Combine). All are drawn in one pass, where "
            "ComfyUI's hooks take one each.",
            search_aliases=["regional prompt", "conditioning mask", "two people", "couple", "hooks"],
            inputs=[
                io.Model.Input("model", tooltip="An SDXL model, or what the node before this one gave."),
                io.Conditioning.Input("conditioning", tooltip="The prompt of this person."),
                LoraSocket.Input("lora", tooltip="From HyperLoRA Generate LoRA."),
                weight_input("strength", 1.0, "Strength of the LoRA."),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where this prompt acts, of any size; without one, on the whole picture, or as set before.",
                ),
                schedule_input("What strength is multiplied by while the picture is sampled."),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="Connect it too: the prompt alone does nothing."),
                io.Conditioning.Output(display_name="conditioning"),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        conditioning: list,
        lora: Mapping[str, Tensor],
        strength: float,
        mask: Tensor | None = None,
        schedule: Schedule | None = None,
    ) -> io.NodeOutput:
        if mask is not None:
            check_mask(mask, "the mask")
            conditioning = comfy.hooks.set_mask_for_conditioning(conditioning, mask, "default", 1.0)
        mark = str(uuid.uuid4())
        return io.NodeOutput(
            add_layers(model, [Layer(ours(lora), strength, schedule, prompt=mark)]), for_prompt(conditioning, mark)
        )
