"""Files that lie in a user's folders without being the user's."""

from pathlib import Path

_CLUTTER = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir")


def is_clutter(name: str | Path) -> bool:
    """Whether what has this name below a folder is no user's file: hidden, or a file manager's own.

    Hidden are macOS's ``._photo.jpg`` and what was written in part, ``.x.part``; file managers leave Thumbs.db,
    desktop.ini and folders of thumbnails.

    Args:
        name: of a file, or its path from the folder that is looked through: no part of it may be hidden.
    """
    parts = str(name).replace("\\", "/").split("/")
    return any(part.lower() in _CLUTTER or (part.startswith(".") and part not in (".", "..")) for part in parts)
