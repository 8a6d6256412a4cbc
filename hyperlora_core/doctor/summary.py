"""What a report of a bug needs, on one page: versions, device, face runtime, models, and what other packs do.

It names no person: of identities and LoRAs it tells how many there are. Paths begin at ComfyUI's own folders, and below
the home folder nothing is told, unless that is asked for.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import HyperLoRAError
from ..files import MODEL_SUFFIXES, kinds
from ..network.layout import MODULES_JSON, PARTS
from .environment import PACK, VERSION_FILE, device, face_runtime, versions
from .inspection import inspect
from .other_packs import other_packs

Section = dict[str, list[str]]
"""What is told -> lines."""
Page = dict[str, Section]
"""Title -> section."""

_NEEDED = {
    "hyper_lora": "a HyperLoRA: `hyperlora download fidelity`",
    "clip_vision": "CLIP ViT-L/14: `hyperlora download clip`",
    "insightface": "the face models antelopev2: `hyperlora download faces`",
}
_USABLE = (kinds.HYPERLORA.key, kinds.CLIP_VISION)
# Names of folders may have spaces: what follows such a path is rather lost than told.
_BELOW = r"(?:([\\/])[^:'\",;()\n]+)?"
_USER = r"(?:/home|/Users|[A-Za-z]:[\\/]Users)[\\/](?:[^\\/:'\"]+(?=[\\/])|[^\\/\s:'\"]+)"
_HOME = re.compile(rf"(?:{_USER}|/root\b){_BELOW}")


@dataclass(frozen=True)
class Models:
    """The models that are there, by the names that are shown.

    Attributes:
        hyper_lora: name -> folder or file.
        clip_vision: name -> file or folder.
        insightface: name -> folder, or where it would be if its zip were unpacked.
        kept: what users name themselves -> how many there are.
    """

    hyper_lora: Mapping[str, Path] = field(default_factory=dict)
    clip_vision: Mapping[str, Path] = field(default_factory=dict)
    insightface: Mapping[str, Path] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def below(cls, folders: Iterable[Path]) -> "Models":
        """Those of some ``models`` folders."""
        hyper_lora: dict[str, Path] = {}
        clip: dict[str, Path] = {}
        faces: dict[str, Path] = {}
        counts = {"identities": 0, "sliders": 0, "LoRAs": 0}
        for folder in folders:
            own = folder / "hyper_lora"
            parts = {MODULES_JSON, *(f"{part}.safetensors" for part in PARTS)}
            for path in _files(own):
                below = path.relative_to(own)
                if below.parts[0] in ("identities", "sliders"):
                    counts[below.parts[0]] += path.suffix == ".safetensors"
                elif below.parts[0] not in ("clip_vit", "clip_processor"):
                    checkpoint = path.parent if path.name in parts else path
                    if checkpoint is not path or path.suffix in MODEL_SUFFIXES:
                        hyper_lora.setdefault(checkpoint.relative_to(own).as_posix(), checkpoint)
            towers = [path for path in _files(folder / "clip_vision") if path.suffix == ".safetensors"]
            clip.update({path.relative_to(folder / "clip_vision").as_posix(): path for path in towers})
            for path in _files(folder / "insightface" / "models"):
                if path.suffix in (".onnx", ".zip"):
                    pack = path.parent if path.suffix == ".onnx" else path.with_suffix("")
                    faces.setdefault(pack.name, pack)
            counts["LoRAs"] += sum(path.suffix == ".safetensors" for path in _files(folder / "loras"))
        return cls(hyper_lora, clip, faces, counts)


def page(models: Models, comfyui: Path | None = None) -> Page:
    """What is known without a running ComfyUI.

    Args:
        models: that are looked at, each whole or broken.
        comfyui: ComfyUI's folder, where it is known.
    """
    return {
        "Versions": in_lines(versions(comfyui)),
        "Device": in_lines(device()),
        "Faces": in_lines(face_runtime()),
        "Models": _models(models),
        "Kept by the user, not named here": {name: [str(count)] for name, count in models.kept.items()},
    }


def in_lines(facts: Mapping[str, str]) -> Section:
    """A section of facts, each a line."""
    return {name: [fact] for name, fact in facts.items()}


def packs(custom_nodes: Path) -> Section:
    """Other packs that may come between, in a folder of packs."""
    count, signs_of = other_packs(custom_nodes, PACK)
    between = {name: ["; ".join(signs)] for name, signs in signs_of.items()}
    return {"installed": [f"{count} beside this one; by their sources {len(signs_of)} may come between"], **between}


def text(sections: Page) -> str:
    """A page as it is printed, and pasted."""
    lines = ["HyperLoRA: what a report of a bug needs. Look it over before you post it."]
    for title, section in sections.items():
        lines += ["", title]
        width = max((len(name) for name, values in section.items() if len(values) == 1), default=0)
        for name, values in section.items():
            if len(values) == 1:
                lines.append(f"  {name:<{width}}  {values[0]}")
            else:
                lines += [f"  {name}", *(f"    {line}" for line in values)]
    return "\n".join(lines) + "\n"


def without_paths(sections: Page, roots: Mapping[Path, str]) -> Page:
    """A page whose paths begin at known folders, and tell nothing below the home folder.

    Args:
        sections: the page.
        roots: folders or files -> what they are called.
    """
    names = {str(path): name for root, name in roots.items() for path in (root, root.resolve())}
    order = sorted(names, key=len, reverse=True)
    home = re.compile(rf"{re.escape(str(Path.home()))}\b{_BELOW}")

    def hidden(line: str) -> str:
        for path in order:
            line = line.replace(path, names[path])
        return _HOME.sub(_below_home, home.sub(_below_home, line) if len(Path.home().parts) > 1 else line)

    return {
        title: {name: [hidden(line) for line in lines] for name, lines in section.items()}
        for title, section in sections.items()
    }


def roots_of(models: Models) -> dict[Path, str]:
    """Each model's own path -> what it is called on the page."""
    return {path: f"{kind}/{name}" for kind in _NEEDED for name, path in getattr(models, kind).items()}


def _below_home(match: re.Match[str]) -> str:
    return "~" if match[1] is None else f"~{match[1]}…"


def _files(folder: Path) -> list[Path]:
    """Files below a folder, at any depth but none that is hidden."""
    paths = sorted(folder.rglob("*")) if folder.is_dir() else []
    return [
        path
        for path in paths
        if path.is_file() and not any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)
    ]


def _models(models: Models) -> Section:
    section: Section = {}
    for kind, needed in _NEEDED.items():
        misplaced, usable = 0, 0
        for name, path in getattr(models, kind).items():
            place = path if path.exists() else path.with_name(f"{path.name}.zip")
            file = _kind(place)
            if file is not None and file.is_personal:
                misplaced += 1
            else:
                section[f"{kind}/{name}"], is_intact = _told(place)
                usable += is_intact and (file is None or any(map(file.opens_as, _USABLE)))
        if misplaced:
            section[f"{kind}, misplaced"] = [
                f"{misplaced} LoRAs, identities, sliders or embeddings, that belong elsewhere"
            ]
        if not usable:
            section[f"{kind}, missing"] = [f"nothing that can be used was found; needed is {needed}"]
    return section


def _kind(path: Path) -> kinds.Kind | None:
    """What a file is; None for a folder, and where that cannot be told."""
    try:
        return kinds.recognise(path) if path.is_file() and path.suffix in MODEL_SUFFIXES else None
    except HyperLoRAError:
        return None


def _told(path: Path) -> tuple[list[str], bool]:
    """What a look at a model says, and whether it is whole; whatever goes wrong in it belongs on the page."""
    try:
        return inspect(path)
    except Exception as error:
        return [f"cannot be looked at ({type(error).__name__}: {error})"], False


def find_comfyui() -> Path | None:
    """The ComfyUI in whose custom_nodes this pack lies, or in which the command is given; None where there is none."""
    above = (*PACK.parents, Path.cwd(), *Path.cwd().parents)
    return next((folder for folder in above if (folder / VERSION_FILE).is_file()), None)
