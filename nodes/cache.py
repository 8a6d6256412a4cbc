"""What the nodes keep from prompt to prompt, where ComfyUI forgets as soon as another photo is used."""

import json
import logging
from pathlib import Path

import folder_paths
from aiohttp import web
from server import PromptServer

from ..hyperlora_core.cache import Cache

SETTING = "HyperLoRA.Cache.Size"
DEFAULT_MEGABYTES = 512

_cache = Cache()

log = logging.getLogger(__name__)


def cache() -> Cache:
    """Faces, tokens, rows and LoRAs by their content, as many bytes of them as the setting allows."""
    _cache.limit = _megabytes() << 20
    return _cache


def _megabytes() -> int:
    """The setting, as ComfyUI saved it for its first user."""
    path = Path(folder_paths.get_user_directory(), "default", "comfy.settings.json")
    try:
        chosen = json.loads(path.read_text(encoding="utf-8")).get(SETTING, DEFAULT_MEGABYTES)
        return max(0, int(chosen))
    except FileNotFoundError:
        return DEFAULT_MEGABYTES
    except (OSError, ValueError, TypeError, AttributeError, OverflowError) as error:
        log.warning("The setting %s cannot be read from %s (%s): %d MB", SETTING, path, error, DEFAULT_MEGABYTES)
        return DEFAULT_MEGABYTES


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
