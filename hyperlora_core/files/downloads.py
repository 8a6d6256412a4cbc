"""The models that HyperLoRA needs, and downloading them from the Hugging Face hub, only when the user asks for it.

An interrupted download is resumed, also after the process was killed, and a file gets its name only when its sha256 is
right. ``HF_ENDPOINT`` and ``HF_TOKEN`` work as in huggingface_hub.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import HyperLoRAError, MissingPackageError

_CHUNK = 1 << 22
_SPARE = 64 << 20  # bytes of the disk that stay free


class StoppedError(HyperLoRAError):
    """The user stopped a download; the next one resumes it."""


@dataclass(frozen=True)
class Licence:
    """A licence of weights.

    Attributes:
        name: its short name.
        url: where its text is.
        summary: what it allows, in one plain sentence.
    """

    name: str
    url: str
    summary: str


@dataclass(frozen=True)
class RemoteFile:
    """A file on the hub.

    Attributes:
        repo: the repository, as owner/name.
        path: the file's path in the repository.
        place: where it belongs, below ComfyUI's ``models`` folder.
        sha256: of the file, where it is known beforehand; else the hub's is taken.
    """

    repo: str
    path: str
    place: str
    sha256: str = ""


@dataclass(frozen=True)
class Bundle:
    """Files that belong together.

    Attributes:
        name: as the command line and the routes take it.
        title: as the editor and messages show it.
        licence: of the weights.
        files: what it consists of, the smallest file first.
        megabytes: rough size of all files together.
        needed: whether every released HyperLoRA needs it.
    """

    name: str
    title: str
    licence: Licence
    files: tuple[RemoteFile, ...]
    megabytes: int
    needed: bool = True

    @property
    def folder(self) -> str:
        """Name of the folder that its files belong in."""
        return Path(self.files[0].place).parent.name

    def missing(self, models: Path) -> list[RemoteFile]:
        """The files that a ``models`` folder lacks."""
        return [file for file in self.files if not (models / file.place).is_file()]


_CC_BY_NC = Licence(
    "CC BY-NC 4.0",
    "https://creativecommons.org/licenses/by-nc/4.0/",
    "HyperLoRA's weights, by ByteDance: not for commercial use, and their makers have to be named.",
)
_MIT = Licence("MIT", "https://github.com/openai/CLIP/blob/main/LICENSE", "CLIP's weights, by OpenAI: for any use.")
_INSIGHTFACE = Licence(
    "non-commercial research",
    "https://github.com/deepinsight/insightface#license",
    "AntelopeV2's weights, by InsightFace: for non-commercial research only.",
)
_HYPER_LORA_FILES = (
    "hyper_lora_modules.json",
    "id_projector.safetensors",
    "resampler.safetensors",
    "hyper_lora_modules.safetensors",
)


def _hyper_lora(kind: str, title: str, needed: bool) -> Bundle:
    folder = f"sdxl_hyper_id_lora_v1_{kind}"
    files = tuple(
        RemoteFile("bytedance-research/HyperLoRA", f"{folder}/{name}", f"hyper_lora/{folder}/{name}")
        for name in _HYPER_LORA_FILES
    )
    return Bundle(kind, title, _CC_BY_NC, files, 3400, needed)


def _antelope(name: str, sha256: str) -> RemoteFile:
    return RemoteFile("DIAMONIK7777/antelopev2", name, f"insightface/models/antelopev2/{name}", sha256)


CATALOGUE = (
    _hyper_lora("fidelity", "HyperLoRA, fidelity: keeps the likeness", True),
    _hyper_lora("edit", "HyperLoRA, edit: follows the prompt more", False),
    Bundle(
        "clip",
        "CLIP ViT-L/14",
        _MIT,
        (
            RemoteFile(
                "openai/clip-vit-large-patch14",
                "model.safetensors",
                "clip_vision/clip-vit-large-patch14.safetensors",
                "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
            ),
        ),
        1711,
    ),
    Bundle(
        "faces",
        "AntelopeV2: the three of its models that HyperLoRA reads",
        _INSIGHTFACE,
        (
            _antelope("2d106det.onnx", "f001b856447c413801ef5c42091ed0cd516fcd21f2d6b79635b1e733a7109dbf"),
            _antelope("scrfd_10g_bnkps.onnx", "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91"),
            _antelope("glintr100.onnx", "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf"),
        ),
        283,
    ),
    Bundle(
        "clip-scores",
        "CLIP ViT-L/14 with its text half, for open_clip: scores pictures",
        _MIT,
        tuple(
            RemoteFile(
                "timm/vit_large_patch14_clip_224.openai", name, f"open_clip/vit_large_patch14_clip_224.openai/{name}"
            )
            for name in ("open_clip_config.json", "open_clip_model.safetensors")
        ),
        1711,
        False,
    ),
)
"""Everything that can be downloaded. The SDXL checkpoint is the user's own choice."""


def find_bundle(name: str) -> Bundle:
    """The entry of ``CATALOGUE`` with this name.

    Raises:
        HyperLoRAError: there is none.
    """
    bundle = next((entry for entry in CATALOGUE if entry.name == name), None)
    if bundle is None:
        raise HyperLoRAError(f"there is no download {name!r}; there are {', '.join(entry.name for entry in CATALOGUE)}")
    return bundle


def check_licence(bundle: Bundle, accepted: bool) -> None:
    """Refuse a download whose licence was not accepted.

    Raises:
        HyperLoRAError: names the licence and what it allows.
    """
    if not accepted:
        licence = bundle.licence
        raise HyperLoRAError(
            f"{bundle.title} is under the licence {licence.name} ({licence.url}). {licence.summary} Accept it to "
            "download"
        )


def download(
    bundle: Bundle,
    models: Path,
    accepted: bool,
    progress: Callable[[RemoteFile, int, int], None] = lambda file, done, total: None,
) -> list[Path]:
    """Download the files of a bundle that a ``models`` folder lacks.

    Args:
        bundle: what to download.
        models: ComfyUI's ``models`` folder.
        accepted: whether the user accepted the licence.
        progress: called often with the file, the bytes so far and its size in bytes; if it raises, the download stops,
            and the next one resumes it.

    Returns:
        Paths of the files that were downloaded.

    Raises:
        HyperLoRAError: the licence was not accepted, the hub cannot be reached or has no such file, the disk is full,
            or the file that arrived has the wrong content.
        MissingPackageError: huggingface_hub is missing.
    """
    check_licence(bundle, accepted)
    return [_fetch(file, models / file.place, progress) for file in bundle.missing(models)]


def _fetch(file: RemoteFile, target: Path, progress: Callable[[RemoteFile, int, int], None]) -> Path:
    url, size, etag = _on_the_hub(file)
    if file.sha256 and len(etag) == 64 and etag != file.sha256:
        raise HyperLoRAError(
            f"{url} is another file than was expected: its sha256 is {etag}, and {file.sha256} was expected. Nothing "
            "was downloaded; take it from its makers"
        )
    part = target.with_name(f"{target.name}.{etag[:12]}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_room(file, size, part)
        with part.open("ab") as output:
            progress(file, output.tell(), size)
            _get(url, _Watched(output, lambda done: progress(file, done, size)), part.stat().st_size, size)
        _check_content(file, part, file.sha256 or etag, size)
        os.replace(part, target)
    except OSError as error:
        raise HyperLoRAError(
            f"{target} cannot be written ({error}): what has come so far is kept in {part.name}, and goes on from there"
        ) from error
    return target


def _on_the_hub(file: RemoteFile) -> tuple[str, int, str]:
    """A file's address, its size in bytes, and its etag: the sha256 of a large file, git's sha1 of a small one."""
    hub = _hub()
    url = hub.hf_hub_url(file.repo, file.path)
    try:
        about = hub.get_hf_file_metadata(url)
    except Exception as error:  # of whichever HTTP library the hub's package has
        raise _unreachable(url, error) from error
    if about.size is None or about.etag is None:
        raise HyperLoRAError(f"{url} does not say how large it is: is HF_ENDPOINT a Hugging Face hub?")
    return url, about.size, about.etag.strip('"').lower()


class _Watched:
    """The file that huggingface_hub writes to; it reports its size before each write."""

    def __init__(self, file: Any, report: Callable[[int], None]) -> None:
        self._file, self._report = file, report
        self.failure: BaseException | None = None

    def write(self, chunk: bytes) -> int:
        try:
            self._report(self._file.tell() + len(chunk))
            return self._file.write(chunk)
        except BaseException as error:
            self.failure = error  # ours, not the hub's: not to be tried again
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _get(url: str, file: _Watched, have: int, size: int) -> None:
    if have >= size:
        return
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    try:
        http_get(url, file, resume_size=have, headers=build_hf_headers(), expected_size=size)  # type: ignore[arg-type]
    except Exception as error:
        if file.failure is not None:
            raise file.failure from error
        raise _unreachable(url, error) from error


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingPackageError("downloading needs huggingface_hub: pip install huggingface_hub") from error
    return huggingface_hub


def _unreachable(url: str, error: Exception) -> HyperLoRAError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return HyperLoRAError(
        f"{url} cannot be downloaded ({reason}). Look at the connection, and at HF_ENDPOINT and HF_HUB_OFFLINE if they "
        "are set, and begin again: what has come so far is kept"
    )


def _check_room(file: RemoteFile, size: int, part: Path) -> None:
    needed = size - (part.stat().st_size if part.exists() else 0) + _SPARE
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise HyperLoRAError(
            f"there is no room for {file.place} in {part.parent}: {needed >> 20} MB are needed, {free >> 20} MB are "
            "free"
        )


def _check_content(file: RemoteFile, part: Path, expected: str, size: int) -> None:
    """Compare a file with its sha256, or with git's sha1 of a small file, and delete it if it differs."""
    blob = f"blob {size}\0".encode()
    digest = hashlib.sha256() if len(expected) == 64 else hashlib.sha1(blob, usedforsecurity=False)
    with part.open("rb") as downloaded:
        while chunk := downloaded.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        part.unlink()
        raise HyperLoRAError(
            f"{file.place} did not arrive whole: its {digest.name} is {digest.hexdigest()}, and {expected} was "
            "expected. It was deleted; begin again"
        )
