"""The nodes that make sliders: what tells people apart, to be turned up and down."""

from comfy_api.latest import io

from ..hyperlora_core.errors import HyperLoRAError
from ..hyperlora_core.identity.generation import generate_slider
from ..hyperlora_core.identity.slider import Slider
from .host.cache import cache
from .host.progress import stage
from .host.sockets import CATEGORY, LoraSocket, SliderSocket, hyper_lora_input, identities_input
from .models import LoadedHyperLoRA


class HyperLoRAMakeSlider(io.ComfyNode):
    """Pairs of identities to a slider."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRAMakeSlider",
            display_name="HyperLoRA Make Slider",
            category=CATEGORY,
            description="A slider out of pairs of identities that differ in one thing, as the same person smiling and "
            "serious. Several pairs are averaged: what they have in common stays.",
            search_aliases=["concept slider", "subtract", "difference", "attribute"],
            inputs=[
                identities_input("more", "more", 1, "What a strength above 0 gives more of."),
                identities_input("less", "less", 1, "The same people without it: one for each of 'more', in order."),
            ],
            outputs=[SliderSocket.Output(display_name="slider")],
        )

    @classmethod
    def execute(cls, more: dict, less: dict) -> io.NodeOutput:
        sides = [[identity for identity in side.values() if identity is not None] for side in (more, less)]
        if len(sides[0]) != len(sides[1]):
            raise HyperLoRAError(
                f"{len(sides[0])} identities are connected to 'more' and {len(sides[1])} to 'less': a slider is made "
                "of pairs, so connect as many to both"
            )
        return io.NodeOutput(Slider(tuple(zip(*sides, strict=True))))


class HyperLoRAGenerateSlider(io.ComfyNode):
    """A slider to a LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRAGenerateSlider",
            display_name="HyperLoRA Generate Slider",
            category=CATEGORY,
            description="Makes the LoRA of a slider. Apply it at strengths above and below 0, beside a person's LoRA "
            "or alone; at 1 it changes as much as a person's LoRA does.",
            search_aliases=["concept slider", "slider lora"],
            inputs=[hyper_lora_input(), SliderSocket.Input("slider", tooltip="From Make Slider or Load Slider.")],
            outputs=[LoraSocket.Output(display_name="lora", tooltip="Also fits ComfyUI's own LoRA model nodes.")],
        )

    @classmethod
    def execute(cls, hyper_lora: LoadedHyperLoRA, slider: Slider) -> io.NodeOutput:
        stage("lora")
        return io.NodeOutput(generate_slider(hyper_lora.network, slider, cache()))
