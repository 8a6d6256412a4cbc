"""ComfyUI: LoRAs applied to the UNet of a MODEL.

``patching`` patches weights, as ComfyUI's own LoRA loader does. ``runtime`` adds the LoRA to each call of the UNet
instead, which masks, schedules and a person for each picture of a batch need. ``hooks`` makes ComfyUI's own hooks.
"""
