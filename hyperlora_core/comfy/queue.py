"""A batch queue over one or several ComfyUI servers, that goes on after a kill where its manifest ends."""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..errors import HyperLoRAError
from ..files import atomic, file_sha256
from ..version import __version__
from .client import ComfyClient, Ended, RefusedError, UnreachableError, Workflow
from .events import ComfyEvents, Timing
from .manifest import Manifest
from .tasks import Task

_FREEING = 1.0  # seconds that a server takes to unload its models; a prompt queued earlier would run before that
_IDLE = 0.2  # seconds until an idle server looks for a job again
_SAID_EVERY = 60.0  # seconds between two warnings about a server that does not answer
_REST = 2.0  # seconds between two tries to reach a server that does not answer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How a batch runs.

    Attributes:
        servers: addresses.
        out: folder of results.
        retries: how often a job is tried again after its server went away.
        timeout: seconds after which a try of a job is given up.
    """

    servers: Sequence[str]
    out: Path
    retries: int = 3
    timeout: float = 3600


class Batch:
    """The queue.

    Args:
        tasks: what to draw.
        options: where, and how.

    Attributes:
        tasks: key -> task, without duplicates.
        pending: keys of the tasks that are not drawn yet.

    Raises:
        HyperLoRAError: something cannot be filled into a workflow.
    """

    def __init__(self, tasks: Sequence[Task], options: Options) -> None:
        self.options = options
        for task in tasks:
            task.filled([photo.name for photo in task.job.photos])
        self.manifest = Manifest.open(options.out)
        self.tasks: dict[str, Task] = {}
        for task in tasks:  # the same may be asked for twice, as by a sweep that holds a method's own value
            self.tasks.setdefault(task.key, task)
        self.pending = [key for key in self.tasks if not self.manifest.is_done(key)]
        self._waiting: deque[tuple[str, int]] = deque()  # jobs, and how often each was tried
        self._queued: dict[str, list[str]] = {}  # server -> jobs that it had when the batch was killed
        self._hosts: dict[str, dict[str, str]] = {}  # server -> what computes there, until it goes away
        self._open = len(self.pending)
        self._broke: str | None = None
        self._lock = threading.Lock()

    def run(self) -> list[dict[str, Any]]:
        """Draw the pending jobs.

        Returns:
            The manifest's lines of the jobs that failed.

        Raises:
            HyperLoRAError: no server answers.
        """
        clients = [ComfyClient(url) for url in self.options.servers]
        alive = [client for client in clients if client.alive()]
        if self.pending and not alive:
            raise HyperLoRAError(f"no ComfyUI answers at {', '.join(self.options.servers)}")
        for client in clients:
            if client not in alive:
                log.warning("ComfyUI at %s does not answer: going on without it until it does", client.url)
        for key in self.pending:
            before = self.manifest.last.get(key, {})
            if before.get("state") == "queued" and before.get("server") in [client.url for client in alive]:
                self._queued.setdefault(before["server"], []).append(key)
            else:
                self._waiting.append((key, 0))
        works = [(client, ComfyEvents(client.url, client.client_id)) for client in clients]
        threads = [threading.Thread(target=self._work, args=work, daemon=True) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():  # in pieces, so that Ctrl-C is heard
                thread.join(0.5)
        if self._broke is not None:
            raise HyperLoRAError(f"the queue broke off ({self._broke}); the same command goes on with it")
        return [entry for key in self.tasks if (entry := self.manifest.last.get(key, {})).get("state") == "failed"]

    def _work(self, client: ComfyClient, events: ComfyEvents) -> None:
        """Draw jobs until all have ended; an error that no job explains, such as a full disk, stops the whole queue."""
        try:
            with events:
                self._take(client, events)
        except Exception as error:
            log.exception("the queue of %s broke off", client.url)
            with self._lock:
                self._broke = f"{type(error).__name__}: {error}"

    @property
    def _goes_on(self) -> bool:
        return self._open > 0 and self._broke is None

    def _take(self, client: ComfyClient, events: ComfyEvents) -> None:
        queued, warm_methods = self._queued.get(client.url, []), set[str]()  # begun: methods that the server was given
        while self._goes_on:
            job = (queued.pop(), 0) if queued else self._next(client.url)
            if job is None:
                time.sleep(_IDLE)
                continue
            key, tries = job
            try:
                self._end(self._drawn(client, events, key, tries, warm_methods))
            except UnreachableError as error:
                warm_methods.clear()  # it may begin anew, and as another one
                host = self._hosts.pop(client.url, {})
                again: list[tuple[str, int]] = []
                if not client.alive():  # others may draw what it had
                    again += [(queued_key, 0) for queued_key in queued]
                    queued.clear()
                if tries >= self.options.retries:
                    self._end(self._failed(key, client, str(error), tries, host))
                else:
                    log.warning("%s; %s is tried again", error, self.tasks[key].title)
                    again.append((key, tries + 1))
                with self._lock:
                    self._waiting.extend(again)
                self._wait_for(client)
            except Exception as error:
                reason = str(error)
                if not isinstance(error, HyperLoRAError):
                    log.exception("%s failed", self.tasks[key].title)
                    reason = f"{type(error).__name__}: {error}"
                self._end(self._failed(key, client, reason, tries, self._hosts.get(client.url, {})))

    def _wait_for(self, client: ComfyClient) -> None:
        """Wait until a server answers; warn every minute of how many jobs only that server can draw."""
        logged_at = time.monotonic()
        while self._goes_on and not client.alive():
            time.sleep(_REST)
            if time.monotonic() - logged_at > _SAID_EVERY:
                logged_at = time.monotonic()
                with self._lock:
                    alone = sum(self.tasks[key].servers == {client.url} for key, _ in self._waiting)
                log.warning(
                    "ComfyUI at %s does not answer yet; %d of %d pictures that are left can be drawn there alone. "
                    "Ctrl-C stops, and the same command goes on",
                    client.url,
                    alone,
                    self._open,
                )

    def _next(self, url: str) -> tuple[str, int] | None:
        """Take the first waiting job that this server can draw; None where there is none."""
        with self._lock:
            for place, (key, _) in enumerate(self._waiting):
                if url in (self.tasks[key].servers or (url,)):
                    job = self._waiting[place]
                    del self._waiting[place]
                    return job
        return None

    def _end(self, entry: dict[str, Any]) -> None:
        self.manifest.add(entry)
        with self._lock:
            self._open -= 1
            place = len(self.pending) - self._open
        outcome = ", ".join(entry.get("pictures", ())) or entry.get("error", "")
        log.info("[%d/%d] %s: %s", place, len(self.pending), self.tasks[entry["job"]].title, outcome)

    def _drawn(
        self, client: ComfyClient, events: ComfyEvents, key: str, tries: int, warm_methods: set[str]
    ) -> dict[str, Any]:
        """Draw a job, or wait for it where it was queued before the batch was killed; returns the manifest's line."""
        task, began = self.tasks[key], time.monotonic()
        before = self.manifest.last.get(key, {})
        result = self._taken_up(client, before) if before.get("state") == "queued" else None
        prompt_id = before.get("prompt_id", "") if result else ""
        if client.url not in self._hosts:
            self._hosts[client.url] = client.host()
        timing: dict[str, Any] | None = None
        if result is None:
            names = [client.upload(photo, _upload_name(photo)) for photo in task.job.photos]
            workflow, peak, method = task.filled(names), _Peak(client), task.labels.get("method", "")
            cold = method not in warm_methods
            warm_methods.add(method)  # though it may fail: who always fails is not to cost all others their models
            if cold and task.cold_start:
                client.free()
                time.sleep(_FREEING)
            prompt_id = client.queue(workflow)
            self.manifest.add({"job": key, "state": "queued", "server": client.url, "prompt_id": prompt_id})
            result = client.wait(prompt_id, self.options.timeout, peak.look)
            timing = {"cold": cold, **_told(events.timing(prompt_id), workflow), "peak_memory": peak.bytes}
        pictures = result.pictures()
        if not pictures:
            raise RefusedError("the workflow saved no picture: it needs a Save Image node that runs")
        if task.single and len(pictures) > 1:
            raise RefusedError(
                f"the workflow saved {len(pictures)} pictures where one is looked at: leave one Save Image node, and a "
                "batch of 1"
            )
        files = [self._keep(client.view(image), task, key, place) for place, image in enumerate(pictures)]
        return {
            "job": key,
            "state": "done",
            "pictures": [str(file.relative_to(self.options.out)) for file in files],
            **self._where(key, client, tries, self._hosts[client.url]),
            "prompt_id": prompt_id,
            "seconds": round(time.monotonic() - began, 2),
            "timing": timing,
        }

    def _taken_up(self, client: ComfyClient, before: Mapping[str, Any]) -> Ended | None:
        """The result of a prompt that an earlier run queued here; None where it has to be queued again."""
        if before.get("server") != client.url:
            return None
        try:
            return client.wait(before["prompt_id"], self.options.timeout)
        except UnreachableError:
            return None

    def _keep(self, picture: bytes, task: Task, key: str, place: int) -> Path:
        person, seed = _safe(task.job.person), task.seed
        folder = self.options.out / person
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{person}{'' if seed is None else f'_seed{seed}'}_{key}_{place}.png"
        with atomic.writing(path) as part:
            part.write_bytes(picture)
        return path

    def _failed(self, key: str, client: ComfyClient, error: str, tries: int, host: Mapping[str, str]) -> dict[str, Any]:
        return {"job": key, "state": "failed", "error": error, **self._where(key, client, tries, host)}

    def _where(self, key: str, client: ComfyClient, tries: int, host: Mapping[str, str]) -> dict[str, Any]:
        """What every line of an ended job has: its description, server, host, tries and time."""
        return {
            **self.tasks[key].described(),
            "hyperlora": __version__,
            "server": client.url,
            "host": host,
            "tries": tries + 1,
            "ended": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }


def _told(heard: Timing | None, workflow: Workflow) -> dict[str, Any]:
    """A prompt's timing for the manifest, with seconds summed by class of node."""
    if heard is None:
        return {"heard": False}
    nodes: dict[str, float] = {}
    for number, seconds in heard.nodes.items():
        kind = workflow.get(number, {}).get("class_type", number)
        nodes[kind] = round(nodes.get(kind, 0.0) + seconds, 4)
    return {"heard": True, "seconds": round(heard.seconds, 4), "nodes": nodes}


class _Peak:
    """The peak of a server's device memory, sampled while a prompt runs."""

    def __init__(self, client: ComfyClient) -> None:
        self._client = client
        self.bytes: int | None = None

    def look(self, seconds: float) -> None:
        """Sleep, then sample the memory."""
        time.sleep(seconds)
        now = None
        with suppress(UnreachableError):  # it is asked for the picture next, and says so then
            now = self._client.memory()
        if now is not None:
            self.bytes = max(now, self.bytes or 0)


def _upload_name(photo: Path) -> str:
    """A name for ComfyUI's input folder that is unique to the photo's content."""
    return f"hyperlora_{file_sha256(photo)[:16]}{photo.suffix.lower()}"


def _safe(name: str) -> str:
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
    return safe or "_"
