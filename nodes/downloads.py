"""The models that are there and that are missing, and the downloads that the editor begins."""

import asyncio
import logging
import threading
import time
from pathlib import Path
from typing import Any

import folder_paths
from aiohttp import web
from server import PromptServer

from ..hyperlora_core.downloads import CATALOGUE, Bundle, RemoteFile, StoppedError, bundle, check_licence, download
from ..hyperlora_core.errors import HyperLoRAError
from . import settings
from .folders import clip_files, face_folder, hyper_lora_models, searched
from .models import FACE_MODEL
from .origin import check_origin

_EVERY = 0.3  # seconds between two messages of progress

log = logging.getLogger(__name__)


class Downloads:
    """The one download that may run, and what became of the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.state: dict[str, Any] = {}

    def begin(self, wanted: Bundle, accepted: bool) -> None:
        """Begin to download.

        Raises:
            HyperLoRAError: the licence was not accepted, or another download runs.
        """
        check_licence(wanted, accepted)
        with self._lock:
            if self.state.get("running"):
                raise HyperLoRAError(f"{self.state['name']} is being downloaded: wait for it, or stop it")
            self._stop.clear()
            self._say(name=wanted.name, running=True, file="", done=0, total=0, error="")
        threading.Thread(target=self._run, args=(wanted,), daemon=True, name="HyperLoRA download").start()

    def stop(self) -> None:
        """Stop it; what has come so far is kept."""
        self._stop.set()

    def _run(self, wanted: Bundle) -> None:
        told = 0.0

        def progress(file: RemoteFile, done: int, total: int) -> None:
            nonlocal told
            if self._stop.is_set():
                raise StoppedError("the download was stopped; it goes on from there the next time")
            if time.monotonic() - told > _EVERY or done == total:
                told = time.monotonic()
                self._say(file=file.place, done=done, total=total)

        try:
            download(wanted, Path(folder_paths.models_dir), True, progress)
            self._say(running=False)
        except HyperLoRAError as error:
            log.warning("HyperLoRA: %s", error)
            self._say(running=False, error=str(error))
        except Exception as error:
            log.exception("HyperLoRA: the download of %s failed", wanted.name)
            self._say(running=False, error=f"{type(error).__name__}: {error}")

    def _say(self, **changes: Any) -> None:
        self.state = self.state | changes
        PromptServer.instance.send_sync("hyperlora.download", self.state)


def answer_downloads() -> None:
    """Answer ``GET /hyperlora/models``, ``POST /hyperlora/download`` and ``POST /hyperlora/download/stop``."""
    server = getattr(PromptServer, "instance", None)
    if server is None:  # a tool that lists nodes, without a server
        return
    downloads = Downloads()

    @server.routes.get("/hyperlora/models")
    async def models(_: web.Request) -> web.Response:
        found = await asyncio.to_thread(lambda: [_described(entry) for entry in CATALOGUE])
        return web.json_response({"models": found, "download": downloads.state})

    @server.routes.post("/hyperlora/download")
    async def begin(request: web.Request) -> web.Response:
        check_origin(request)
        try:
            wanted = await request.json()
            accepted = wanted.get("accept_licence") is True or settings.licences_accepted()
            downloads.begin(bundle(str(wanted.get("name"))), accepted)
        except HyperLoRAError as error:
            return web.json_response({"error": str(error)}, status=400)
        except (ValueError, AttributeError):
            return web.json_response({"error": '{"name": ..., "accept_licence": true} was expected'}, status=400)
        return web.json_response(downloads.state, status=202)

    @server.routes.post("/hyperlora/download/stop")
    async def stop(request: web.Request) -> web.Response:
        check_origin(request)
        downloads.stop()
        return web.json_response(downloads.state)


def _described(entry: Bundle) -> dict[str, Any]:
    """What is offered, where it is or what is missing, and where it was looked for."""
    models = Path(folder_paths.models_dir)
    kinds = {"clip": ("clip_vision", "hyper_lora"), "faces": ("insightface",)}
    missing = [file.place for file in entry.missing(models)]
    found = str(models / entry.files[0].place) if not missing else _elsewhere(entry)
    return {
        "name": entry.name,
        "title": entry.title,
        "megabytes": entry.megabytes,
        "needed": entry.needed,
        "licence": {"name": entry.licence.name, "url": entry.licence.url, "summary": entry.licence.summary},
        "found": found,
        "missing": [] if found else missing,
        "searched": searched(*kinds.get(entry.name, ("hyper_lora",))),
    }


def _elsewhere(entry: Bundle) -> str | None:
    """Where a user's own folders have all of it."""
    if entry.name == "clip":
        named = (path for name, path in clip_files().items() if "large" in name.lower() and "14" in name)
        return next(map(str, named), None)
    kept = face_folder(FACE_MODEL) if entry.name == "faces" else hyper_lora_models().get(entry.folder)
    whole = kept is not None and all((kept / Path(file.path).name).is_file() for file in entry.files)
    return str(kept) if whole else None
