"""The models that are there and that are missing, and the downloads that the editor begins."""

import logging
import threading
import time
from pathlib import Path
from typing import Any

import folder_paths
from server import PromptServer

from ..hyperlora_core.errors import HyperLoRAError
from ..hyperlora_core.files.downloads import (
    CATALOGUE,
    Bundle,
    RemoteFile,
    StoppedError,
    check_licence,
    download,
    find_bundle,
)
from .host import settings
from .host.folders import clip_files, face_folder, hyper_lora_models, open_clip_folders, searched
from .host.routes import answer_get, answer_post
from .models import FACE_MODEL

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
    downloads = Downloads()

    def models() -> dict[str, Any]:
        return {"models": [_described(entry) for entry in CATALOGUE], "download": downloads.state}

    def begin(wanted: dict[str, Any]) -> dict[str, Any]:
        downloads.begin(
            find_bundle(wanted["name"]), wanted.get("accept_licence") is True or settings.LICENCES_ACCEPTED.value()
        )
        return downloads.state

    def stop(_: dict[str, Any]) -> dict[str, Any]:
        downloads.stop()
        return downloads.state

    answer_get("/hyperlora/models", models)
    answer_post("/hyperlora/download", begin, "name", status=202)
    answer_post("/hyperlora/download/stop", stop)


def _described(entry: Bundle) -> dict[str, Any]:
    """What is offered, where it is or what is missing, and where it was looked for."""
    models = Path(folder_paths.models_dir)
    kinds = {"clip": ("clip_vision", "hyper_lora"), "faces": ("insightface",), "clip-scores": ("open_clip",)}
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
    if entry.name == "faces":
        kept = face_folder(FACE_MODEL)
    else:
        kept = (open_clip_folders() if entry.name == "clip-scores" else hyper_lora_models()).get(entry.folder)
    whole = kept is not None and all((kept / Path(file.path).name).is_file() for file in entry.files)
    return str(kept) if whole else None
