"""The nodes for strengths that change while a picture is sampled."""

from collections.abc import Mapping

from comfy.hooks import HookGroup
from comfy_api.latest import io
from torch import Tensor

from ..hyperlora_core.doors.comfyui.hooks import hooks, keyframes
from ..hyperlora_core.lora.schedule import CURVES, Schedule
from .host.sockets import CATEGORY, LoraSocket, ScheduleSocket, schedule_input, weight_input
from .lora import ours

POINTS = "points"


def _percent_input(name: str, default: float, tooltip: str) -> io.Input:
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.01, tooltip=tooltip)


class HyperLoRASchedule(io.ComfyNode):
    """A strength over the steps."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRASchedule",
            display_name="HyperLoRA Schedule",
            category=CATEGORY,
            description="A strength that changes while a picture is sampled: from a start to an end, along a curve. A "
            "person who comes in late leaves the composition to the prompt; one who leaves early leaves the skin to "
            "the model.",
            search_aliases=["start_at", "end_at", "curve", "keyframes", "timestep"],
            inputs=[
                io.Combo.Input(
                    "curve",
                    options=[*CURVES, POINTS],
                    default=next(iter(CURVES)),
                    tooltip="How the strength goes from start to end: constant is 1 all the way. points: as written "
                    "below.",
                ),
                _percent_input("start_percent", 0.0, "Before this share of sampling the strength is 0."),
                _percent_input("end_percent", 1.0, "From this share of sampling on the strength is 0 again."),
                io.String.Input(
                    "points",
                    default="0: 0, 0.3: 1, 1: 0.6",
                    multiline=True,
                    tooltip="For the curve 'points': share of sampling and strength, as '0: 0, 0.3: 1, 1: 0.6'.",
                ),
            ],
            outputs=[
                ScheduleSocket.Output(display_name="schedule"),
                io.HookKeyframes.Output(display_name="hook_keyframes", tooltip="The same for ComfyUI's own hooks."),
            ],
        )

    @classmethod
    def execute(cls, curve: str, start_percent: float, end_percent: float, points: str) -> io.NodeOutput:
        if curve == POINTS:
            schedule = Schedule.parse(points, start_percent, end_percent)
        else:
            schedule = Schedule.preset(curve, start_percent, end_percent)
        return io.NodeOutput(schedule, keyframes(schedule))


class HyperLoRACreateHook(io.ComfyNode):
    """A LoRA as a hook."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRACreateHook",
            display_name="HyperLoRA Create Hook",
            category=CATEGORY,
            description="A generated LoRA as HOOKS, for ComfyUI's own nodes that attach hooks to single prompts. Each "
            "hook is a pass of its own with weights patched in between, and on NVIDIA the model is loaded again: "
            "HyperLoRA Person for Prompt does neither.",
            search_aliases=["create hook lora", "prompt scheduling", "hooks"],
            inputs=[
                LoraSocket.Input("lora", tooltip="From HyperLoRA Generate LoRA."),
                weight_input("strength", 1.0, "Strength of the whole LoRA."),
                schedule_input("What strength is multiplied by while a picture is sampled, in up to 16 steps."),
                io.Hooks.Input("prev_hooks", optional=True, tooltip="Hooks that this one is added to."),
            ],
            outputs=[io.Hooks.Output(display_name="hooks")],
        )

    @classmethod
    def execute(
        cls,
        lora: Mapping[str, Tensor],
        strength: float,
        schedule: Schedule | None = None,
        prev_hooks: HookGroup | None = None,
    ) -> io.NodeOutput:
        group = hooks(ours(lora), strength, schedule)
        return io.NodeOutput(group if prev_hooks is None else prev_hooks.clone_and_combine(group))
