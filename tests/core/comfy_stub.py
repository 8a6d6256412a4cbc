"""A server that speaks as much of ComfyUI's API as a queue needs, and fails when it is told to."""

import asyncio
import io
import json
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from PIL import Image


class ComfyStub:
    """Draws grey pictures at once; a context manager.

    Attributes:
        url: of it.
        down: whether it answers nothing.
        seconds: that a prompt takes.
        saves: whether a prompt saves a picture.
        sockets_break: whether it closes the socket of events in the middle of each prompt.
        known: prompts of another process that it still has.
        queued: workflows that it was given.
        told: paths and contents of what else was posted.
        device: what it says of its device.
    """

    def __init__(self) -> None:
        self.url = ""
        self.down = self.sockets_break = False
        self.saves = True
        self.seconds = 0.0
        self.known: list[str] = []
        self.queued: list[dict[str, Any]] = []
        self.told: list[tuple[str, Any]] = []
        self.device = {"name": "cpu", "type": "cpu", "vram_total": 0, "vram_free": 0}
        self._done: dict[str, Any] = {}
        self._ready: dict[str, float] = {}
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "ComfyStub":
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def die(self) -> None:
        """Answer nothing, and forget every prompt."""
        self.down = True
        self.known.clear()
        self._done.clear()

    def rise(self, seconds: float = 0.0) -> None:
        """Answer again."""
        self.down, self.seconds = False, seconds

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(middlewares=[self._door])
        app.router.add_get("/ws", self._ws)
        app.router.add_get("/system_stats", self._stats)
        app.router.add_get("/history/{id}", self._history)
        app.router.add_get("/queue", self._queue)
        app.router.add_get("/view", self._view)
        app.router.add_post("/prompt", self._prompt)
        app.router.add_post("/upload/image", self._upload)
        for path in ("/queue", "/interrupt", "/free"):
            app.router.add_post(path, self._tell)
        runner = web.AppRunner(app)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._up.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())

    @web.middleware
    async def _door(self, request: web.Request, handler: Any) -> web.StreamResponse:
        return web.Response(status=503) if self.down else await handler(request)

    async def _ws(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets[request.query["clientId"]] = socket
        async for _ in socket:
            pass
        return socket

    async def _stats(self, _: web.Request) -> web.Response:
        system = {"comfyui_version": "0.30.0", "pytorch_version": "2.14.1"}
        return web.json_response({"system": system, "devices": [self.device]})

    async def _history(self, request: web.Request) -> web.Response:
        number = request.match_info["id"]
        ended = number in self._done and time.monotonic() > self._ready[number]
        return web.json_response({number: self._done[number]} if ended else {})

    async def _queue(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"queue_running": [[0, number] for number in (*self.known, *self._done)], "queue_pending": []}
        )

    async def _view(self, _: web.Request) -> web.Response:
        out = io.BytesIO()
        Image.new("RGB", (8, 8), "gray").save(out, "PNG")
        return web.Response(body=out.getvalue(), content_type="image/png")

    async def _upload(self, request: web.Request) -> web.Response:
        data = await request.post()
        return web.json_response({"name": data["image"].filename, "subfolder": ""})

    async def _tell(self, request: web.Request) -> web.Response:
        self.told.append((request.path, await request.json()))
        return web.Response()

    async def _prompt(self, request: web.Request) -> web.Response:
        asked, number = await request.json(), uuid.uuid4().hex
        self.queued.append(asked["prompt"])
        nodes = list(asked["prompt"])
        await self._say(asked["client_id"], number, [("execution_start", None), ("executing", nodes[0])])
        if self.sockets_break:
            await self._sockets[asked["client_id"]].close()
        else:
            await self._say(asked["client_id"], number, [("odd", None), ("execution_success", None)])
        pictures = [{"filename": f"{number}.png", "subfolder": "", "type": "output"}] if self.saves else []
        self._ready[number] = time.monotonic() + self.seconds
        self._done[number] = {"outputs": {nodes[-1]: {"images": pictures}}, "status": {"messages": []}}
        return web.json_response({"prompt_id": number})

    async def _say(self, client: str, number: str, events: Sequence[tuple[str, str | None]]) -> None:
        socket = self._sockets.get(client)
        for kind, node in events if socket is not None and not socket.closed else ():
            data = {"prompt_id": number} | ({"node": node} if node else {})
            await socket.send_str(json.dumps({"type": kind, "data": data}))
            await asyncio.sleep(0.02)
