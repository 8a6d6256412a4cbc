"""The pack's HTTP routes: JSON both ways, and errors as ``{"error": sentence}``."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from server import PromptServer

from ...hyperlora_core.errors import HyperLoRAError


def answer_get(path: str, work: Callable[[], Any]) -> None:
    """Answer ``GET`` with the JSON value that ``work`` returns; it runs in a thread of its own."""
    if (routes := _routes()) is not None:

        @routes.get(path)
        async def answer(_: web.Request) -> web.Response:
            return web.json_response(await asyncio.to_thread(work))


def answer_post(path: str, work: Callable[[dict[str, Any]], Any], field: str = "", status: int = 200) -> None:
    """Answer ``POST`` of a JSON object with the JSON value that ``work`` returns; it runs in a thread of its own.

    Args:
        path: the route's path.
        work: called with the object; what it raises as HyperLoRAError is answered with status 400.
        field: a key that the object has to have, with a string; none by default.
        status: of answers without an error.
    """
    if (routes := _routes()) is not None:

        @routes.post(path)
        async def answer(request: web.Request) -> web.Response:
            _check_origin(request)
            try:
                body = await request.json()
            except ValueError:
                body = None
            if not isinstance(body, dict) or (field and not isinstance(body.get(field), str)):
                example = f'{{"{field}": "..."}}' if field else "an object"
                return web.json_response({"error": f"{example} was expected"}, status=400)
            try:
                return web.json_response(await asyncio.to_thread(work, body), status=status)
            except HyperLoRAError as error:
                return web.json_response({"error": str(error)}, status=400)


def _routes() -> web.RouteTableDef | None:
    """The server's routes; None for tools that list nodes without a server."""
    server = getattr(PromptServer, "instance", None)
    return None if server is None else server.routes


def _check_origin(request: web.Request) -> None:
    """Refuse requests of other sites' pages: JSON is needed, from the same origin or from a client that is no browser.

    Raises:
        web.HTTPForbidden: the request comes from another origin.
        web.HTTPUnsupportedMediaType: it is not JSON.
    """
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="Content-Type: application/json was expected")
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    foreign = site not in ("same-origin", "none") if site else bool(origin) and urlsplit(origin).netloc != request.host
    if foreign:
        raise web.HTTPForbidden(text="only ComfyUI's own pages may ask this")
