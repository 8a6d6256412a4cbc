"""The editor's dialog of models: which are there, which are missing, and the downloads that it starts."""

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
    """The download that runs, one at a time, and how the last one ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.state: dict[str, Any] = {}

    def begin(self, bundle: Bundle, accepted: bool) -> None:
        """Begin to download.

        Raises:
            HyperLoRAError: the licence was not accepted, or another download runs.
        """
        check_licence(bundle, accepted)
        with self._lock:
            if self.state.get("running"):
                raise HyperLoRAError(f"{self.state['name']} is being downloaded: wait for it, or stop it")
            self._stop.clear()
            self._say(name=bundle.name, running=True, file="", done=0, total=0, error="")
        threading.Thread(target=self._run, args=(bundle,), daemon=True, name="HyperLoRA download").start()

    def stop(self) -> None:
        """Stop it; what has come so far is kept."""
        self._stop.set()

    def _run(self, bundle: Bundle) -> None:
        last_message = 0.0

        def progress(file: RemoteFile, done: int, total: int) -> None:
            nonlocal last_message
            if self._stop.is_set():
                raise StoppedError("the download was stopped; it goes on from there the next time")
            if time.monotonic() - last_message > _EVERY or done == total:
                last_message = time.monotonic()
                self._say(file=file.place, done=done, total=total)

        try:
            download(bundle, Path(folder_paths.models_dir), True, progress)
            self._say(running=False)
        except HyperLoRAError as error:
            log.warning("HyperLoRA: %s", error)
            self._say(running=False, error=str(error))
        except Exception as error:
            log.exception("HyperLoRA: the download of %s failed", bundle.name)
            self._say(running=False, error=f"{type(error).__name__}: {error}")

    def _say(self, **changes: Any) -> None:
        self.state = self.state | changes
        PromptServer.instance.send_sync("hyperlora.download", self.state)


def answer_downloads() -> None:
    """Answer ``GET /hyperlora/models``, ``POST /hyperlora/download`` and ``POST /hyperlora/download/stop``."""
    downloads = Downloads()

    def models() -> dict[str, Any]:
        return {"models": [_described(bundle) for bundle in CATALOGUE], "download": downloads.state}

    def begin(request: dict[str, Any]) -> dict[str, Any]:
        downloads.begin(
            find_bundle(request["name"]), request.get("accept_licence") is True or settings.LICENCES_ACCEPTED.value()
        )
        return downloads.state

    def stop(_: dict[str, Any]) -> dict[str, Any]:
        downloads.stop()
        return downloads.state

    answer_get("/hyperlora/models", models)
    answer_post("/hyperlora/download", begin, "name", status=202)
    answer_post("/hyperlora/download/stop", stop)


def _described(bundle: Bundle) -> dict[str, Any]:
    """A bundle for the dialog: size and licence, where it is or what is missing, which folders were searched."""
    models = Path(folder_paths.models_dir)
    kinds = {"clip": ("clip_vision", "hyper_lora"), "faces": ("insightface",), "clip-scores": ("open_clip",)}
    missing = [file.place for file in bundle.missing(models)]
    place = str(models / bundle.files[0].place) if not missing else _elsewhere(bundle)
    return {
        "name": bundle.name,
        "title": bundle.title,
        "megabytes": bundle.megabytes,
        "needed": bundle.needed,
        "licence": {"name": bundle.licence.name, "url": bundle.licence.url, "summary": bundle.licence.summary},
        "found": place,
        "missing": [] if place else missing,
        "searched": searched(*kinds.get(bundle.name, ("hyper_lora",))),
    }


def _elsewhere(bundle: Bundle) -> str | None:
    """Where all files of a bundle lie in another of the user's folders; None if they do not."""
    if bundle.name == "clip":
        candidates = (path for name, path in clip_files().items() if "large" in name.lower() and "14" in name)
        return next(map(str, candidates), None)
    if bundle.name == "faces":
        folder = face_folder(FACE_MODEL)
    else:
        folder = (open_clip_folders() if bundle.name == "clip-scores" else hyper_lora_models()).get(bundle.folder)
    complete = folder is not None and all((folder / Path(file.path).name).is_file() for file in bundle.files)
    return str(folder) if complete else None
