"""What the nodes keep from prompt to prompt, where ComfyUI forgets as soon as another photo is used."""

from aiohttp import web
from server import PromptServer

from ...hyperlora_core.cache import Cache
from .settings import CACHE_MEGABYTES

_cache = Cache()


def cache() -> Cache:
    """Faces, tokens, rows and LoRAs by their content, as many bytes of them as the setting allows."""
    _cache.limit = CACHE_MEGABYTES.value() << 20
    return _cache


def clear_with_comfyui() -> None:
    """Forget everything whenever the user has ComfyUI free its node cache: by its button, or by ``POST /free``."""
    server = getattr(PromptServer, "instance", None)
    if server is None:  # a tool that lists nodes, without a server
        return

    async def clear(request: web.Request, response: web.StreamResponse) -> None:
        if request.method == "POST" and request.path.removeprefix("/api") == "/free" and response.status == 200:
            wanted = await request.json()
            if wanted.get("free_memory"):
                _cache.clear()

    server.app.on_response_prepare.append(clear)
