"""The nodes that make a LoRA, apply it and save it."""

import os
from collections.abc import Mapping
from pathlib import Path

import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker
from torch import Tensor

from ..hyperlora_core.doors.comfyui.patching import apply_lora
from ..hyperlora_core.doors.comfyui.runtime import Layer, add_layers
from ..hyperlora_core.errors import HyperLoRAError
from ..hyperlora_core.identity.generation import generate
from ..hyperlora_core.identity.value import Identity
from ..hyperlora_core.lora.schedule import Schedule
from ..hyperlora_core.lora.value import LoRA, combine
from .host.cache import cache
from .host.progress import Remarks, stage
from .host.saving import path_to_save
from .host.sockets import (
    CATEGORY,
    IdentitySocket,
    LoraSocket,
    hyper_lora_input,
    id_weight_input,
    schedule_input,
    weight_input,
)
from .models import DTYPES, LoadedHyperLoRA

APPLICATIONS = ("patch", "run-time")


class HyperLoRAGenerate(io.ComfyNode):
    """Make the LoRA of an identity."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRAGenerate",
            display_name="HyperLoRA Generate LoRA",
            category=CATEGORY,
            description="Makes the LoRA of an identity, in one pass. Its two parts are in it at these weights, so "
            "apply it with strength 1.",
            search_aliases=["generate lora", "id lora", "base lora"],
            inputs=[
                hyper_lora_input(),
                IdentitySocket.Input("identity", tooltip="From HyperLoRA Encode Identity or Encode Base."),
                id_weight_input(),
                weight_input(
                    "base_weight",
                    0.4,
                    "How strongly background, clothing and light are drawn, if the identity went through Encode Base.",
                ),
            ],
            outputs=[LoraSocket.Output(display_name="lora", tooltip="Also fits ComfyUI's own LoRA model nodes.")],
        )

    @classmethod
    def execute(
        cls, hyper_lora: LoadedHyperLoRA, identity: Identity, id_weight: float, base_weight: float
    ) -> io.NodeOutput:
        stage("lora")
        return io.NodeOutput(generate(hyper_lora.network, identity, id_weight, base_weight, cache()))


class HyperLoRAApply(io.ComfyNode):
    """Apply a LoRA to a model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRAApply",
            display_name="HyperLoRA Apply LoRA",
            category=CATEGORY,
            description="Applies a generated LoRA to a MODEL. It chains with other LoRAs, ControlNet and IP-Adapter in "
            "any order, and refuses a base model that it does not fit.",
            search_aliases=["apply lora", "lora model"],
            inputs=[
                io.Model.Input("model", tooltip="An SDXL model."),
                LoraSocket.Input("lora", tooltip="From HyperLoRA Generate LoRA, or a LoRA of ComfyUI's own nodes."),
                weight_input(
                    "strength",
                    1.0,
                    "Strength of the whole LoRA: 1 is as it was generated, 0 leaves the model as it is.",
                ),
                application_input(),
                schedule_input("What strength is multiplied by while a picture is sampled; with run-time only."),
            ],
            outputs=[io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        lora: Mapping[str, Tensor],
        strength: float,
        application: str,
        schedule: Schedule | None = None,
    ) -> io.NodeOutput:
        return io.NodeOutput(applied(model, lora, strength, application, schedule))


def application_input() -> io.Input:
    """How a LoRA is applied; optional, as API prompts may lack it."""
    return io.Combo.Input(
        "application",
        options=list(APPLICATIONS),
        default=APPLICATIONS[0],
        optional=True,
        tooltip="patch: into the weights, as other LoRAs; a step takes no longer. run-time: beside the weights while "
        "the model runs, a few percent slower; exact on fp8 and other quantised models, and nothing is patched when "
        "the person changes.",
    )


def applied(
    model: ModelPatcher,
    lora: Mapping[str, torch.Tensor],
    strength: float,
    application: str,
    schedule: Schedule | None = None,
) -> ModelPatcher:
    """A model with a LoRA, in one of the ``APPLICATIONS``.

    Raises:
        HyperLoRAError: it does not fit the model, or the way it is to be applied.
    """
    if application == "run-time":
        return add_layers(model, [Layer(ours(lora), strength, schedule)])
    if schedule is not None:
        raise HyperLoRAError(
            "patched weights cannot follow a schedule: set 'application' to run-time, or use HyperLoRA Create Hook"
        )
    return apply_lora(model, lora, strength)


def ours(lora: Mapping[str, torch.Tensor]) -> LoRA:
    """A LoRA that HyperLoRA made.

    Raises:
        HyperLoRAError: it is another.
    """
    if not isinstance(lora, LoRA):
        raise HyperLoRAError(
            "this LoRA was not made by HyperLoRA: connect HyperLoRA Generate LoRA or HyperLoRA Portrait"
        )
    return lora


class HyperLoRASave(io.ComfyNode):
    """Save a LoRA as a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRASave",
            display_name="HyperLoRA Save LoRA",
            category=CATEGORY,
            description="Saves the LoRA under output/loras, where ComfyUI's own Load LoRA finds it. The file says what "
            "made it and which trigger words it listens to.",
            search_aliases=["save lora", "export lora"],
            is_output_node=True,
            inputs=[
                LoraSocket.Input("lora", tooltip="From HyperLoRA Generate LoRA or HyperLoRA Portrait."),
                io.String.Input(
                    "filename_prefix",
                    default="person",
                    tooltip="The file's name below output/loras; a number is added.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=["fp16", "bf16", "fp32"],
                    default="fp16",
                    tooltip="fp16 is what other tools expect.",
                ),
                schedule_input(
                    "A file cannot change while a picture is sampled: the schedule's mean is multiplied into it."
                ),
            ],
            outputs=[io.String.Output(display_name="lora_name", tooltip="The name by which Load LoRA finds the file.")],
        )

    @classmethod
    def execute(
        cls, lora: Mapping[str, Tensor], filename_prefix: str, dtype: str, schedule: Schedule | None = None
    ) -> io.NodeOutput:
        if schedule is not None:
            lora = combine([(ours(lora), schedule.mean)])
        root = os.path.join(folder_paths.get_output_directory(), "loras")
        path, preview = save_lora(lora, filename_prefix, root, DTYPES[dtype])
        return io.NodeOutput(os.path.relpath(path, root) if path else ExecutionBlocker(None), ui=preview)


def save_lora(
    lora: Mapping[str, torch.Tensor], filename_prefix: str, root: str, dtype: torch.dtype
) -> tuple[Path | None, dict]:
    """Save a LoRA below a folder, under the next free number. An empty one is not saved: a remark says so.

    Returns:
        Its path, None if it was not saved; and the node's UI output.

    Raises:
        HyperLoRAError: HyperLoRA did not make it.
    """
    if not lora:
        remarks = Remarks()
        remarks("nothing was saved: this LoRA is empty, for its weights are 0 or no photo with a face was left")
        return None, remarks.ui()
    if not isinstance(lora, LoRA):
        raise HyperLoRAError("this LoRA was not made by HyperLoRA: save it with ComfyUI's own Save LoRA Weights")
    path = lora.to(dtype).save(path_to_save(filename_prefix, root, "person"))
    return path, {"text": [str(path)]}
