"""A server on this machine that speaks the Hugging Face hub's protocol, as far as downloads need it, and its faults."""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_PIECE = 1 << 14


@dataclass
class Hub:
    """What it has and how it behaves.

    Attributes:
        files: "owner/repo/path" -> content.
        url: of the server.
        requests: method, path and Range header of each request for a file, in order.
        breaks_after: bytes of a body after which each connection is cut; 0 is never.
        pause: seconds between two pieces of a body.
        spoils: send other bytes than those that were announced.
        claims: bytes that a file is said to have; 0 is its size.
    """

    files: dict[str, bytes]
    url: str = ""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    breaks_after: int = 0
    pause: float = 0.0
    spoils: bool = False
    claims: int = 0


@contextmanager
def hub(files: dict[str, bytes]) -> Iterator[Hub]:
    """Serve files on a free port."""
    served = Hub(files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *given: _Handler(served, *given))
    server.daemon_threads = True
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


def folder(path: Path, repo: str) -> dict[str, bytes]:
    """The files of a folder as a repository has them, in a folder of the same name."""
    return {f"{repo}/{path.name}/{file.name}": file.read_bytes() for file in path.iterdir()}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, served: Hub, *given: object) -> None:
        self.served = served
        super().__init__(*given)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        served, byte_range = self.served, self.headers.get("Range", "")
        if not self.path.startswith("/api/"):  # what the hub's package asks for itself
            served.requests.append((self.command, self.path, byte_range))
        content = served.files.get(self.path.lstrip("/").replace("/resolve/main/", "/"))
        if content is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(byte_range.removeprefix("bytes=").rstrip("-") or 0) if byte_range else 0
        self.send_response(206 if byte_range else 200)
        large = not self.path.endswith(".json")
        sha1 = hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False)
        etag = hashlib.sha256(content).hexdigest() if large else sha1.hexdigest()
        size = served.claims or len(content)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("Accept-Ranges", "bytes")
        if large:
            self.send_header("X-Linked-Etag", f'"{etag}"')
            self.send_header("X-Linked-Size", str(size))
        if byte_range:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        if body:
            self._send(bytes(len(content)) if served.spoils and large else content, start)

    def _send(self, content: bytes, start: int) -> None:
        end = min(len(content), start + self.served.breaks_after) if self.served.breaks_after else len(content)
        for at in range(start, end, _PIECE):
            try:
                self.wfile.write(content[at : min(at + _PIECE, end)])
            except OSError:
                return
            time.sleep(self.served.pause)
        if end < len(content):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass
