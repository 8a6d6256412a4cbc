"""Real photos of real people, for the demo and the tests: fetched, checked, never committed.

`astronaut` is NASA's portrait of Eileen Collins (public domain), out of scikit-image; `group` shows six people, out of
insightface; the others are of face_recognition's tests: three photos of one person, one of another.
"""

import shutil
import tarfile
import tempfile
from pathlib import Path

from .cache import build_once, check_sha256, pip_download

_EXAMPLES = "face_recognition==1.3.0"
_EXAMPLES_SHA256 = "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec"
_EXAMPLE_FILES = {
    "obama": "obama.jpg",
    "obama2": "obama2.jpg",
    "obama3": "obama3.jpg",
    "biden": "biden.jpg",
}


def photos() -> dict[str, Path]:
    """Name -> file of each photo."""
    folder = build_once("photos-1", _fetch)
    return {path.stem: path for path in sorted(folder.iterdir())}


def _fetch(folder: Path) -> None:
    import insightface
    import skimage

    shutil.copy(Path(skimage.__file__).parent / "data" / "astronaut.png", folder / "astronaut.png")
    shutil.copy(Path(insightface.__file__).parent / "data" / "images" / "t1.jpg", folder / "group.jpg")
    with tempfile.TemporaryDirectory() as temporary:
        archive = check_sha256(pip_download(_EXAMPLES, Path(temporary), source=True), _EXAMPLES_SHA256)
        with tarfile.open(archive) as tar:
            for name, inside in _EXAMPLE_FILES.items():
                member = tar.extractfile(f"face_recognition-1.3.0/tests/test_images/{inside}")
                (folder / f"{name}.jpg").write_bytes(member.read())
