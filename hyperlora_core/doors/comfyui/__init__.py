"""ComfyUI's UNet: a LoRA put onto it.

``patching`` changes weights in place, as ComfyUI's own LoRA loader does. ``runtime`` adds the LoRA to each call
instead, which follows masks, schedules and pictures of a batch; ``calls``, ``projections``, ``masks``, ``pictures`` and
``tiles`` are its parts. ``hooks`` makes ComfyUI's own hooks.
"""
