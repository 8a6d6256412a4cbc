"""Open a checkpoint and make one LoRA, in a process of its own: ``python -m benchmarks.once ours|reference FOLDER``.

Prints seconds and peaks of memory, anonymous and file-backed apart, as a line of JSON.
"""

import json
import sys
import threading
import time
from pathlib import Path

import torch

from .inputs import tokens
from .measure import timed


class _Peak(threading.Thread):
    """Watches the process's memory."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.anonymous = self.file = 0
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.is_set():
            lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            self.anonymous = max(self.anonymous, int(lines["RssAnon"].split()[0]) * 1024)
            self.file = max(self.file, int(lines["RssFile"].split()[0]) * 1024)
            time.sleep(0.002)

    def stop(self) -> None:
        """Stop watching."""
        self._done.set()
        self.join()


def main(way: str, folder: str) -> None:
    """Measure one way."""
    embeds, clip = tokens(1)
    watch = _Peak()
    watch.start()
    opened: list = []
    with torch.inference_mode():
        if way == "ours":
            from hyperlora_core.network.hyperlora import HyperLoRA

            opening = timed(lambda: opened.append(HyperLoRA.load(folder)))
            first = timed(lambda: opened[0].id_lora(opened[0].id_coefficients(embeds, clip)))
        else:
            from .reference import Reference

            opening = timed(lambda: opened.append(Reference(Path(folder))))
            first = timed(lambda: opened[0].lora(opened[0].coefficients(embeds, clip)))
    watch.stop()
    measured = {"open": opening, "first": first, "anonymous": watch.anonymous, "file": watch.file}
    sys.stdout.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
