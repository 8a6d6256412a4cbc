"""The only places that touch a UNet, and the only ones that import their library: ``comfyui`` and ``diffusers``."""
