"""Hidden files and those of file managers, which lie among a user's files."""

from pathlib import Path

_CLUTTER = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir")


def is_clutter(name: str | Path) -> bool:
    """Whether a file is to be ignored by its name: it is hidden, or a file manager made it.

    Hidden are macOS's ``._photo.jpg`` and files that are still being written, ``.x.part``; file managers leave
    Thumbs.db, desktop.ini and folders of thumbnails.

    Args:
        name: a file's name, or its path relative to the folder that is searched: one hidden folder in it is enough.
    """
    parts = str(name).replace("\\", "/").split("/")
    return any(part.lower() in _CLUTTER or (part.startswith(".") and part not in (".", "..")) for part in parts)
