"""The log of a batch, ``manifest.jsonl`` in the folder of results.

A line is written whenever a job's state changes, and a job's last line counts: "queued" (on which server, under which
id), "done" (the pictures, what made them, and how long it took) or "failed" (why).
"""

import json
import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MANIFEST = "manifest.jsonl"

log = logging.getLogger(__name__)


@dataclass
class Manifest:
    """The log of a batch: what happened to each job. Lines are appended and never changed.

    Attributes:
        path: of the file.
        last: a job's key -> its last line.
    """

    path: Path
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, folder: Path) -> "Manifest":
        """The manifest of a folder of results; empty where there is none. Lines that cannot be read are left out."""
        folder.mkdir(parents=True, exist_ok=True)
        manifest = cls(folder / MANIFEST)
        if manifest.path.exists():
            text = manifest.path.read_text(encoding="utf-8")
            for line in filter(None, text.split("\n")):  # splitlines knows more ends than JSON does
                try:
                    entry = json.loads(line)
                    manifest.last[entry["job"]] = entry
                except (ValueError, KeyError, TypeError):
                    log.warning("left out a line of %s that cannot be read", manifest.path)
            if text and not text.endswith("\n"):
                with manifest.path.open("a", encoding="utf-8") as file:
                    file.write("\n")
        return manifest

    def add(self, entry: dict[str, Any]) -> None:
        """Append a line and flush it."""
        with self._lock:
            self.last[entry["job"]] = entry
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def is_done(self, key: str) -> bool:
        """Whether a job is drawn and all its pictures exist."""
        entry = self.last.get(key, {})
        files = [self.path.parent / name for name in entry.get("pictures", ())]
        return entry.get("state") == "done" and bool(files) and all(file.is_file() for file in files)
