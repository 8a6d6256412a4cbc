"""The folders that models are found in: ComfyUI's, the user's extra paths, and the public pack's places within them."""

import os
from pathlib import Path

import folder_paths

from ...hyperlora_core.errors import HyperLoRAError, shortened
from ...hyperlora_core.files import MODEL_SUFFIXES, Stamp, is_clutter, stamp
from ...hyperlora_core.network.layout import MODULES_JSON, PARTS

_CHECKPOINT_FILES = {MODULES_JSON, *(f"{part}.safetensors" for part in PARTS)}
IDENTITIES, SLIDERS = "identities", "sliders"  # folders below models/hyper_lora
# What lies below models/hyper_lora and is no checkpoint; the first two are the public pack's.
_OTHERS = ("clip_vit/", "clip_processor/", f"{IDENTITIES}/", f"{SLIDERS}/")


def register_folders() -> None:
    """Tell ComfyUI of the model folders that it does not know by itself."""
    for key in ("hyper_lora", "insightface", "open_clip", "face_embedders"):
        folder_paths.add_model_folder_path(key, os.path.join(folder_paths.models_dir, key))


def hyper_lora_models() -> dict[str, Path]:
    """Name -> folder or file of each checkpoint under ``models/hyper_lora``, whole or broken: loading one says which.

    A checkpoint has one name wherever it lies: in ``hyper_lora`` itself, one folder deeper as the public pack has it,
    or nested in a folder of its own name.
    """
    models: dict[str, Path] = {}
    for root, files in _searched_files("hyper_lora"):
        parts = [file for file in files if os.path.basename(file) in _CHECKPOINT_FILES]
        folders = {os.path.dirname(file) for file in parts}
        nested = folders - {""}
        single_files = {file for file in files if file.endswith(MODEL_SUFFIXES) and os.path.dirname(file) not in nested}
        for name in sorted([*folders, *single_files.difference(parts)], key=lambda name: (name.count(os.sep), name)):
            if not _slashes(name).startswith(_OTHERS):
                display = _without_nesting(_slashes(name).removeprefix("hyper_lora/")) or "."
                models.setdefault(display, Path(root, name))
    return models


def stamp_of_models(model: str | None, face_model: str | None) -> Stamp:
    """What tells that a checkpoint, face models or CLIP were replaced: ComfyUI loads again then."""
    paths = [hyper_lora_models().get(model or ""), face_folder(face_model) if face_model else None]
    files = [file for path in paths if path for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    return stamp([*files, *clip_files().values()])


def keeping_folders(kind: str) -> list[Path]:
    """Where files of a kind, ``IDENTITIES`` or ``SLIDERS``, are looked for."""
    return [Path(root, kind) for root in folder_paths.get_folder_paths("hyper_lora")]


def keeping_folder(kind: str) -> Path:
    """Where files of a kind are written: ComfyUI's own models folder, for others may be shared or read-only."""
    return Path(folder_paths.models_dir, "hyper_lora", kind)


def kept_files(kind: str) -> dict[str, Path]:
    """Name -> file of a kind; the name has the folders below ``keeping_folders`` in it."""
    files: dict[str, Path] = {}
    for folder in keeping_folders(kind):
        for path in sorted(folder.rglob("*.safetensors")):
            name = _slashes(str(path.relative_to(folder)))
            if not is_clutter(name):
                files.setdefault(name, path)
    return files


def kept_file(kind: str, name: str) -> Path:
    """The file of a kind by its name.

    Raises:
        HyperLoRAError: there is none; those that are there are named.
    """
    files = kept_files(kind)
    if name not in files:
        raise HyperLoRAError(
            f"{shortened(name)} is in none of: {', '.join(map(str, keeping_folders(kind)))}. Found there: "
            f"{', '.join(files) or 'nothing'}"
        )
    return files[name]


def clip_files() -> dict[str, Path]:
    """Name -> file of ``models/clip_vision``, or folder of the public pack's ``hyper_lora/clip_vit``."""
    files = {}
    for name in folder_paths.get_filename_list("clip_vision"):
        path = folder_paths.get_full_path("clip_vision", name)
        if path and name.endswith(".safetensors") and not is_clutter(name):
            files[name] = Path(path)
    folders = _folders_holding("hyper_lora", "model.safetensors")
    return files | {f"hyper_lora/{name}": path for name, path in folders.items()}


def face_folders() -> dict[str, Path]:
    """Name -> folder of each face pack under ``models/insightface``, packed ones too: loading one says so.

    Files that lie loose there are other packs'.
    """
    folders = _folders_holding("insightface", ".onnx")
    packs = {_face_name(name): path for name, path in folders.items() if name != "."}
    for root, files in _searched_files("insightface"):
        for file in files:
            if file.endswith(".zip"):
                packed = file.removesuffix(".zip")
                packs.setdefault(_face_name(_slashes(packed)), Path(root, packed))
    return packs


def open_clip_folders() -> dict[str, Path]:
    """Name -> folder of each model of open_clip under ``models/open_clip``."""
    return _folders_holding("open_clip", "open_clip_config.json")


def face_embedders() -> dict[str, Path]:
    """Name -> file of each model under ``models/face_embedders``, that judges faces and nothing else."""
    embedders: dict[str, Path] = {}
    for root, files in _searched_files("face_embedders"):
        for file in files:
            if file.lower().endswith((*MODEL_SUFFIXES, ".onnx")):
                embedders.setdefault(_slashes(file), Path(root, file))
    return embedders


def face_folder(name: str) -> Path | None:
    """Where a face pack is, or where one of its name is that lacks its files, or lies there as a zip."""
    folder = face_folders().get(name)
    roots = [Path(root, below) for root in folder_paths.get_folder_paths("insightface") for below in ("models", "")]
    places = [root / name for root in roots]
    return folder or next((path for path in places if path.is_dir() or path.with_name(f"{name}.zip").is_file()), None)


def searched(*keys: str) -> str:
    """The folders that were looked in, for messages."""
    return ", ".join(path for key in keys for path in folder_paths.get_folder_paths(key))


def _face_name(name: str) -> str:
    return _without_nesting(name.removeprefix("models/"))


def _without_nesting(name: str) -> str:
    """``X/X`` as ``X``: a folder that was unpacked into one of its own name."""
    head, _, tail = name.rpartition("/")
    return head if head.rpartition("/")[2] == tail and head else name


def _slashes(name: str) -> str:
    return name.replace(os.sep, "/")


def clip_processors() -> list[str]:
    """Folders of the public pack's ``hyper_lora/clip_processor`` that hold something."""
    below = "clip_processor/"
    files = [_slashes(file) for _, files in _searched_files("hyper_lora") for file in files]
    folders = {os.path.dirname(file.removeprefix(below)) for file in files if file.startswith(below)}
    return sorted(folders - {""})


def _searched_files(key: str) -> list[tuple[str, list[str]]]:
    roots = folder_paths.get_folder_paths(key)
    listed = [(root, folder_paths.recursive_search(root, excluded_dir_names=[".git"])[0]) for root in roots]
    return [(root, sorted(file for file in files if not is_clutter(file))) for root, files in listed]


def _folders_holding(key: str, ending: str) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for root, files in _searched_files(key):
        for file in files:
            if file.endswith(ending):
                folder = os.path.dirname(file)
                folders.setdefault(_slashes(folder) or ".", Path(root, folder))
    return folders
