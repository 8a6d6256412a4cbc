"""Naming files that are no models: a web page, a pickle, a download that did not finish."""

from pathlib import Path

from ..errors import HyperLoRAError

DOWNLOAD_AGAIN = "download it again"
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def need_readable(path: Path) -> None:
    """Check that a file or folder may be read, if it exists.

    Raises:
        HyperLoRAError: it exists and cannot be read.
    """
    try:
        if path.is_dir():
            next(path.iterdir(), None)
        elif path.exists():
            path.open("rb").close()
    except OSError as error:
        raise HyperLoRAError(f"{path} cannot be read: {error.strerror or error}") from error


class NotSafetensorsError(HyperLoRAError):
    """A file is no safetensors file; the message says what it is instead.

    Attributes:
        start: its first bytes.
    """

    def __init__(self, path: Path, start: bytes) -> None:
        what = foreign_start(start) or f"is not a safetensors file (it begins with {start[:16]!r}): {DOWNLOAD_AGAIN}"
        super().__init__(f"{path} {what}")
        self.start = start


def foreign(path: Path) -> str | None:
    """Why a file cannot be a model, as "is a web page, not a model: ..."; None if it may be one."""
    with path.open("rb") as file:
        return foreign_start(file.read(512))


def foreign_start(start: bytes) -> str | None:
    """``foreign``, for a file's first 512 bytes."""
    text = start.lstrip().lower()
    if not start:
        return f"is empty: {DOWNLOAD_AGAIN}"
    if start.startswith(b"version https://git-lfs"):
        return f"is a Git LFS pointer, not the file itself: run `git lfs pull`, or {DOWNLOAD_AGAIN}"
    if text.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return f"is a web page, not a model: {DOWNLOAD_AGAIN}, from the link that gives the file itself"
    if start.startswith(PICKLE_STARTS):
        return (
            "is a zip or pickle file (.bin, .pt, .pth), which could run code when opened: "
            "get the .safetensors file of the same model"
        )
    if not any(start):
        return f"begins with zeros, as a download does that did not finish: {DOWNLOAD_AGAIN}"
    return None
