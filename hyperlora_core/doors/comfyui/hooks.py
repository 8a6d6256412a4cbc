"""LoRAs as ComfyUI's hooks: for its prompt scheduling, and on single conditionings."""

from typing import Any

import comfy.hooks
from comfy.model_patcher import ModelPatcher

from ...lora.schedule import Schedule
from ...lora.value import LoRA
from .patching import adapters


class LoraHook(comfy.hooks.WeightHook):
    """A weight hook that refuses a base model its LoRA does not fit, where ComfyUI's own would do nothing.

    Attributes:
        lora: the LoRA.
    """

    lora: LoRA

    def add_hook_patches(
        self, model: ModelPatcher, model_options: dict, target_dict: dict, registered: comfy.hooks.HookGroup
    ) -> bool:
        """As ComfyUI calls it, before sampling; a text encoder has nothing to be patched.

        Raises:
            HyperLoRAError: the LoRA does not fit the base model.
        """
        if not self.should_register(model, model_options, target_dict, registered):
            return False
        if target_dict.get("target") == comfy.hooks.EnumWeightTarget.Model:
            model.add_hook_patches(self, adapters(model, self.lora), self._strength_model)
        registered.add(self)
        return True

    def clone(self) -> "LoraHook":
        """As ComfyUI calls it, for each conditioning."""
        copy: Any = super().clone()
        copy.lora = self.lora
        return copy


def hooks(lora: LoRA, strength: float = 1.0, schedule: Schedule | None = None) -> comfy.hooks.HookGroup:
    """A LoRA as HOOKS.

    Args:
        lora: the LoRA.
        strength: what delta W is multiplied by.
        schedule: a further factor, by how far sampling is; weights are patched anew whenever it changes.
    """
    hook = LoraHook(strength_model=strength, strength_clip=0.0)
    hook.lora = lora
    group = comfy.hooks.HookGroup()
    group.add(hook)
    if schedule is not None:
        group.set_keyframes_on_hooks(keyframes(schedule))
    return group


def keyframes(schedule: Schedule, count: int = 16) -> comfy.hooks.HookKeyframeGroup:
    """A schedule as HOOK_KEYFRAMES: steps, each of which holds from its percent on.

    Args:
        schedule: the schedule.
        count: of steps between its start and its end, where it changes there.
    """
    group = comfy.hooks.HookKeyframeGroup()
    for percent, factor in schedule.keyframes(count):
        group.add(comfy.hooks.HookKeyframe(factor, percent, guarantee_steps=0))
    return group
