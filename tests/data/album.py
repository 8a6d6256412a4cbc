"""A folder of real photos, and of what real folders hold besides, that says what has to become of each."""

import json
import shutil
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

EXPECTED = {
    "biden/biden.jpg": "",
    "biden/copy.jpg": "duplicate",
    "biden/far.jpg": "face too small a part",
    "biden/none.txt.jpg": "broken picture",
    "biden/small.jpg": "picture too small",
    "collins/astronaut.png": "face too small",
    "obama/blurred.jpg": "blurred",
    "obama/close.jpg": "face too large a part",
    "obama/cut.jpg": "broken picture",
    "obama/empty.png": "empty file",
    "obama/notes.jpg": "broken notes",
    "obama/obama.jpg": "",
    "obama/obama2.jpg": "",
    "obama/obama3.jpg": "",
    "obama/same.png": "duplicate",
    "obama/smaller.jpg": "near-duplicate",
    "others/group.jpg": "several faces",
    "others/sky.png": "no face",
    "others/turned.jpg": "turned away",
}
"""Path -> reason, in the order of names; under "" those that are kept."""


def counts(reasons: Mapping[str, str] = EXPECTED) -> dict[str, int]:
    """Reason -> how many."""
    found: dict[str, int] = {}
    for reason in reasons.values():
        found[reason] = found.get(reason, 0) + 1
    return found


def make(folder: Path, photos: Mapping[str, Path]) -> Path:
    """Fill a folder."""
    for name in ("biden", "obama", "collins", "others"):
        (folder / name).mkdir(parents=True)
    biden, obama = (Image.open(photos[name]) for name in ("biden", "obama"))
    shutil.copy(photos["astronaut"], folder / "collins" / "astronaut.png")
    shutil.copy(photos["group"], folder / "others" / "group.jpg")
    shutil.copy(photos["biden"], folder / "biden" / "biden.jpg")
    (folder / "biden" / "biden.txt").write_text("a man in a dark suit\n")
    notes = {"url": "https://example.org/biden", "license": "CC0", "key": "000000123", "caption": "not this one"}
    (folder / "biden" / "biden.json").write_text(json.dumps(notes))
    shutil.copy(photos["biden"], folder / "biden" / "copy.jpg")
    far = Image.new("RGB", (3600, 3600), "white")
    far.paste(biden, (1300, 800))
    far.save(folder / "biden" / "far.jpg")
    (folder / "biden" / "none.txt.jpg").write_bytes(b"<!doctype html><html>not found</html>")
    biden.resize((300, 680)).save(folder / "biden" / "small.jpg")
    for name in ("obama", "obama2", "obama3"):
        shutil.copy(photos[name], folder / "obama" / f"{name}.jpg")
    obama.filter(ImageFilter.GaussianBlur(12)).save(folder / "obama" / "blurred.jpg")
    obama.crop((362, 70, 625, 440)).resize((789, 1110)).save(folder / "obama" / "close.jpg")
    (folder / "obama" / "cut.jpg").write_bytes(photos["obama"].read_bytes()[:30000])
    (folder / "obama" / "empty.png").touch()
    shutil.copy(photos["obama"], folder / "obama" / "notes.jpg")
    (folder / "obama" / "notes.json").write_text("{licence:")
    obama.save(folder / "obama" / "same.png")
    obama.resize((682, 852)).save(folder / "obama" / "smaller.jpg", quality=70)
    noise = np.random.default_rng(0).integers(90, 110, (600, 800, 3), np.uint8)
    Image.fromarray(noise).save(folder / "others" / "sky.png")
    obama.rotate(50, Image.Resampling.BICUBIC, expand=True).save(folder / "others" / "turned.jpg")
    (folder / "others" / "about.md").write_text("no picture, and not looked at")
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "hidden.jpg").write_bytes(b"")
    return folder


def shard(path: Path, members: Mapping[str, bytes]) -> Path:
    """A tar file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, BytesIO(content))
    return path
