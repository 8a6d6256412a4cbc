"""ComfyUI-HyperLoRA: a portrait LoRA out of photos, in one pass. ComfyUI enters here."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    from .nodes import HyperLoRAExtension

    return HyperLoRAExtension()
