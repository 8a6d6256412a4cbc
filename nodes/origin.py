"""Who may ask the pack's routes."""

from urllib.parse import urlsplit

from aiohttp import web


def check_origin(request: web.Request) -> None:
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
