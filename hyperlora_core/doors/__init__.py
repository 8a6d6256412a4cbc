"""The two modules that touch a UNet: `comfyui` patches ComfyUI's in place, `diffusers` injects into diffusers' forward.

Each imports its library; nothing else in the package imports either.
"""
