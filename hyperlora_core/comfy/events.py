"""How long each node of a prompt takes, from the events that a ComfyUI server sends over its websocket.

A broken connection is made again; a prompt that ran meanwhile has no timing. aiohttp is imported here alone.
"""

import asyncio
import json
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from ..errors import MissingPackageError

_PATIENCE = 5.0  # seconds that the first connection is waited for
_REST = 1.0  # seconds before a broken connection is made again
_LATE = 2.0  # seconds that the end of a prompt may come here later than over HTTP

log = logging.getLogger(__name__)


@dataclass
class Timing:
    """How long a prompt ran.

    Attributes:
        nodes: node number -> seconds; nodes that came from ComfyUI's cache are absent.
        cached: numbers of the nodes that came from the cache.
        seconds: from its first node to its end.
    """

    nodes: dict[str, float] = field(default_factory=dict)
    cached: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass
class _Running:
    timing: Timing = field(default_factory=Timing)
    began: float | None = None  # None: it was begun while nobody listened
    node: str | None = None
    since: float = 0.0
    ended: threading.Event = field(default_factory=threading.Event)


class ComfyEvents:
    """Listens to a server in a thread of its own; a context manager.

    Args:
        url: of the server.
        client_id: that prompts are queued with; a server sends each client the events of its own prompts alone.

    Raises:
        MissingPackageError: aiohttp is not installed.
    """

    def __init__(self, url: str, client_id: str) -> None:
        try:
            import aiohttp
        except ImportError as error:
            raise MissingPackageError("timing ComfyUI's nodes needs aiohttp: pip install aiohttp") from error
        self._aiohttp = aiohttp
        self._url = f"{url}/ws?clientId={client_id}"
        self._prompts: dict[str, _Running] = {}
        self._lock = threading.Lock()
        self._connected = threading.Event()
        self._told = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "ComfyEvents":
        self._thread.start()
        self._connected.wait(_PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(10)

    def timing(self, prompt_id: str) -> Timing | None:
        """How long a prompt that has ended took; None where events were missed, and for a second call."""
        with self._lock:
            running = self._prompts.setdefault(prompt_id, _Running())
        if self._connected.is_set():
            running.ended.wait(_LATE)
        with self._lock:
            self._prompts.pop(prompt_id, None)
        return running.timing if running.ended.is_set() and running.began is not None else None

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._listen())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.close()

    async def _listen(self) -> None:
        while True:
            try:
                async with (
                    self._aiohttp.ClientSession() as session,
                    session.ws_connect(self._url, max_msg_size=0, heartbeat=30) as socket,
                ):
                    self._connected.set()
                    async for message in socket:
                        if message.type == self._aiohttp.WSMsgType.TEXT:
                            self._hear(_read(message.data), time.monotonic())
            except (self._aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
                log.log(
                    logging.DEBUG if self._told else logging.WARNING,
                    "%s gives no events (%s): its pictures are not timed until it does",
                    self._url.partition("?")[0],
                    type(error).__name__,
                )
                self._told = True
            self._connected.clear()
            self._forget()
            await asyncio.sleep(_REST)

    def _forget(self) -> None:
        """Drop the timing of prompts that ran while the connection broke: some of their events are missing."""
        with self._lock:
            for running in self._prompts.values():
                running.began = None
                running.ended.set()

    def _hear(self, event: Any, now: float) -> None:
        data = event.get("data") if isinstance(event, dict) else None
        prompt_id = data.get("prompt_id") if isinstance(data, dict) else None
        if data is None or not isinstance(prompt_id, str):
            return  # other packs send what they like
        with self._lock:
            kind = event.get("type")
            if kind == "execution_start":
                self._prompts.setdefault(prompt_id, _Running()).began = now
            running = self._prompts.get(prompt_id)
            if running is None:  # it began before anybody listened, or was asked for already
                return
            timing = running.timing
            if kind == "execution_cached":
                timing.cached = tuple(data.get("nodes") or ())
            elif kind in ("executing", "execution_success", "execution_error", "execution_interrupted"):
                if running.node is not None:
                    timing.nodes[running.node] = timing.nodes.get(running.node, 0.0) + now - running.since
                running.node, running.since = data.get("node") if kind == "executing" else None, now
                if kind != "executing":
                    timing.seconds = now - running.began if running.began is not None else 0.0
                    running.ended.set()


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
