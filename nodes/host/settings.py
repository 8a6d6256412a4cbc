"""What the user chose in ComfyUI's dialog of settings, as ComfyUI saved it; ``web/settings.js`` offers it."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import folder_paths

from ...hyperlora_core.faces import ENGINES
from ...hyperlora_core.faces.references import ON_NO_FACE

CACHE_SIZE = "HyperLoRA.Cache.Size"
FACE_ENGINE = "HyperLoRA.Faces.Engine"
NO_FACE = "HyperLoRA.Faces.OnNoFace"
LICENCES = "HyperLoRA.Licences.Accepted"
DEFAULT_MEGABYTES = 512

log = logging.getLogger(__name__)


def cache_megabytes() -> int:
    """How much is kept from prompt to prompt."""
    chosen = _chosen(CACHE_SIZE, DEFAULT_MEGABYTES)
    try:
        return max(0, int(chosen))
    except (ValueError, TypeError, OverflowError):
        return _unfit(CACHE_SIZE, chosen, DEFAULT_MEGABYTES)


def face_engine() -> str:
    """What runs the face models where a node leaves it to "auto"."""
    return _one_of(FACE_ENGINE, ENGINES)


def on_no_face() -> str:
    """What a new node does about a photo without a face."""
    return _one_of(NO_FACE, ON_NO_FACE)


def licences_accepted() -> bool:
    """Whether the user accepted the licences of what can be downloaded, once for all."""
    return _chosen(LICENCES, False) is True


def _one_of(key: str, values: Sequence[str]) -> str:
    chosen = _chosen(key, values[0])
    return chosen if chosen in values else _unfit(key, chosen, values[0])


def _chosen(key: str, default: Any) -> Any:
    """A setting of ComfyUI's first user."""
    path = Path(folder_paths.get_user_directory(), "default", "comfy.settings.json")
    try:
        return json.loads(path.read_text(encoding="utf-8")).get(key, default)
    except FileNotFoundError:
        return default
    except (OSError, ValueError, AttributeError) as error:
        return _unfit(key, error, default)


def _unfit(key: str, chosen: object, default: Any) -> Any:
    log.warning("The setting %s cannot be used (%s): %s is", key, chosen, default)
    return default
