"""The pack's settings: listed in ``web/settings.json``, shown by ComfyUI's dialog, saved as the user chooses them."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import folder_paths

from ...hyperlora_core.faces import ENGINES
from ...hyperlora_core.faces.references import ON_NO_FACE

T = TypeVar("T")

_LISTED = json.loads((Path(__file__).parents[2] / "web" / "settings.json").read_text(encoding="utf-8"))
_DEFAULTS: dict[str, Any] = {setting["id"]: setting["defaultValue"] for setting in _LISTED}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setting(Generic[T]):
    """A setting of ComfyUI's dialog.

    Attributes:
        id: its id in ``web/settings.json``.
        parse: turns the saved JSON value into the setting's type; raises ValueError, TypeError or OverflowError if the
            value does not fit.
    """

    id: str
    parse: Callable[[Any], T]

    @property
    def default(self) -> T:
        """Its value where the user chose none, or one that does not fit."""
        return self.parse(_DEFAULTS[self.id])

    def value(self) -> T:
        """What ComfyUI's first user chose; the default, with a warning in the log, if it does not fit."""
        path = Path(folder_paths.get_user_directory(), "default", "comfy.settings.json")
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            return self.parse(saved.get(self.id, _DEFAULTS[self.id]))
        except FileNotFoundError:
            return self.default
        except (OSError, ValueError, TypeError, AttributeError, OverflowError) as error:
            log.warning("The setting %s cannot be used (%s): %s is", self.id, error, self.default)
            return self.default


def _megabytes(value: Any) -> int:
    return max(0, int(value))


def _one_of(choices: Sequence[str]) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError(value)
        return value

    return parse


CACHE_MEGABYTES = Setting("HyperLoRA.Cache.Size", _megabytes)
"""How much is kept from prompt to prompt."""
FACE_ENGINE = Setting("HyperLoRA.Faces.Engine", _one_of(ENGINES))
"""What runs the face models where a node leaves it to "auto"."""
NO_FACE = Setting("HyperLoRA.Faces.OnNoFace", _one_of(ON_NO_FACE))
"""``on_no_face`` of nodes that are added to a graph."""
LICENCES_ACCEPTED = Setting("HyperLoRA.Licences.Accepted", lambda value: value is True)
"""Whether the user accepted the licences of all models that can be downloaded."""
