"""The pack's routes: JSON both ways, and what is wrong as ``{"error": sentence}``."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from server import PromptServer

from ...hyperlora_core.errors import HyperLoRAError


def answer_get(path: str, work: Callable[[], Any]) -> None:
    """Answer ``GET`` with what ``work``, in a thread of its own, gives."""
    if (routes := _routes()) is not None:

        @routes.get(path)
        async def answer(_: web.Request) -> web.Response:
            return web.json_response(await asyncio.to_thread(work))


def answer_post(path: str, work: Callable[[dict[str, Any]], Any], field: str = "", status: int = 200) -> None:
    """Answer ``POST`` of an object with what ``work``, in a thread of its own, makes of it.

    Args:
        path: of the route.
        work: raises HyperLoRAError for what cannot be done.
        field: of the object, that has to be a text.
        status: of an answer without an error.
    """
    if (routes := _routes()) is not None:

        @routes.post(path)
        async def answer(request: web.Request) -> web.Response:
            _check_origin(request)
            try:
                wanted = await request.json()
            except ValueError:
                wanted = None
            if not isinstance(wanted, dict) or (field and not isinstance(wanted.get(field), str)):
                example = f'{{"{field}": "..."}}' if field else "an object"
                return web.json_response({"error": f"{example} was expected"}, status=400)
            try:
                return web.json_response(await asyncio.to_thread(work, wanted), status=status)
            except HyperLoRAError as error:
                return web.json_response({"error": str(error)}, status=400)


def _routes() -> web.RouteTableDef | None:
    """The server's; None for a tool that lists nodes without one."""
    server = getattr(PromptServer, "instance", None)
    return None if server is None else server.routes


def _check_origin(request: web.Request) -> None:
    """Refuse what another site's page sends: JSON alone is taken, and from the same origin or from no browser.

    Raises:
        web.HTTPForbidden, web.HTTPUnsupportedMediaType: it is not.
    """
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="Content-Type: application/json was expected")
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    foreign = site not in ("same-origin", "none") if site else bool(origin) and urlsplit(origin).netloc != request.host
    if foreign:
        raise web.HTTPForbidden(text="only ComfyUI's own pages may ask this")
