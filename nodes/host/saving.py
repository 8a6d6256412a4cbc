"""Where a node that saves writes its file: below one folder, by the name that the user gave, as ComfyUI's own do."""

import os
import re
from datetime import datetime
from pathlib import Path

import folder_paths

from ...hyperlora_core.errors import HyperLoRAError, shortened
from ...hyperlora_core.files import is_clutter

_LONGEST = 200  # bytes of a folder's or file's name; most file systems take 255, of which a number and .part need some
_LONGEST_IN_WHOLE = 1000
_DATE = re.compile(r"%date:([^%]+)%")
_PART_OF_DATE = re.compile(r"yyyy|yy|MM?|dd?|hh?|mm?|ss?")
_FORMATS = {"yyyy": "%Y", "yy": "%y", "M": "%m", "d": "%d", "h": "%H", "m": "%M", "s": "%S"}


def path_to_save(name: str, root: str | Path, otherwise: str, overwrite: bool = False) -> Path:
    """The path of a .safetensors file below a folder, whose folders are made.

    Args:
        name: the user's; folders may stand in it, ``%date:yyyy-MM-dd%``, and what ComfyUI's own save nodes fill in
            besides (``%year%``, ``%hour%``, ...).
        root: the folder.
        otherwise: the name where none was given.
        overwrite: whether the file has just this name; else the next free number is added.

    Raises:
        HyperLoRAError: no such file can be: it would lie outside, or have too long a name.
    """
    filled = with_date(name.strip() or otherwise, datetime.now())
    _check(filled, root)
    try:
        folder, stem, number, _, _ = folder_paths.get_save_image_path(filled, str(root))
    except (OSError, ValueError) as error:
        raise HyperLoRAError(f"nothing can be saved as {shortened(filled)} below {root}: {error}") from error
    return Path(folder, f"{stem}.safetensors" if overwrite else f"{stem}_{number:05}_.safetensors")


def with_date(name: str, now: datetime) -> str:
    """A name with each ``%date:...%`` filled in, as ComfyUI's editor does it for ComfyUI's own save nodes alone.

    Of the format yyyy, yy, MM, M, dd, d, hh, h, mm, m, ss and s stand for numbers; what is one letter has no leading
    zero.
    """

    def part(match: re.Match[str]) -> str:
        letters = match[0]
        number = now.strftime(_FORMATS[letters if letters[0] == "y" else letters[0]])
        return number if len(letters) > 1 else str(int(number))

    return _DATE.sub(lambda match: _PART_OF_DATE.sub(part, match[1]), name)


def _check(name: str, root: str | Path) -> None:
    """Refuse a name that no file below a folder can have.

    Raises:
        HyperLoRAError: naming it.
    """
    parts = name.replace("\\", "/").split("/")
    for text, most in [(name, _LONGEST_IN_WHOLE), *((part, _LONGEST) for part in parts)]:
        if (length := len(text.encode(errors="replace"))) > most:
            raise HyperLoRAError(f"{shortened(name)}: a name of {length} bytes is too long, {most} are the most")
    try:
        name.encode()
        inside = os.path.commonpath([os.path.abspath(root), os.path.abspath(os.path.join(root, name))])
    except ValueError as error:  # another drive, or letters that are no text
        raise HyperLoRAError(f"{shortened(name)} is no name that a file can have ({error})") from error
    normal = os.path.normpath(name)
    if "\0" in name or os.path.basename(normal) in (".", ".."):
        raise HyperLoRAError(f"{shortened(name)} is no name that a file can have: end it with one, as in people/anna")
    if inside != os.path.abspath(root):
        raise HyperLoRAError(
            f"{shortened(name)} would be saved outside the output folder {root}: give a name below it, as people/anna"
        )
    if is_clutter(normal):
        raise HyperLoRAError(f"a file named {shortened(name)} would be hidden, and no menu lists it: give another name")
