"""The nodes' cache, which outlives a prompt: ComfyUI's own forgets as soon as another photo is used."""

from aiohttp import web
from server import PromptServer

from ...hyperlora_core.cache import Cache
from .settings import CACHE_MEGABYTES

_cache = Cache()


def cache() -> Cache:
    """The cache of faces, tokens, rows and LoRAs by content, with the size that the setting allows."""
    _cache.limit = CACHE_MEGABYTES.value() << 20
    return _cache


def clear_with_comfyui() -> None:
    """Clear it whenever ComfyUI frees its own node cache: by the editor's button, or by ``POST /free``."""
    server = getattr(PromptServer, "instance", None)
    if server is None:  # a tool that lists nodes, without a server
        return

    async def clear(request: web.Request, response: web.StreamResponse) -> None:
        if request.method == "POST" and request.path.removeprefix("/api") == "/free" and response.status == 200:
            body = await request.json()
            if body.get("free_memory"):
                _cache.clear()

    server.app.on_response_prepare.append(clear)
