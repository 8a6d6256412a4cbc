"""What the editor is told about the pack when it opens."""

from typing import Any

from ..hyperlora_core.lora.schedule import CURVES
from ..hyperlora_core.trigger_words import TRIGGER_WORDS
from . import neighbours
from .host.routes import answer_get

# Base models of the right kind on which the released weights are known to fail, by a part of their files' names.
UNFIT_MODELS = ("arienmix",)
_PIECES = 24  # of a curve


def answer_about() -> None:
    """Answer ``GET /hyperlora/about``."""
    answer_get("/hyperlora/about", about)


def about() -> dict[str, Any]:
    """The trigger words, each preset of a schedule at even steps, base models that fail, and notices."""
    curves = {name: [round(curve(i / _PIECES), 4) for i in range(_PIECES + 1)] for name, curve in CURVES.items()}
    return {
        "trigger_words": TRIGGER_WORDS,
        "curves": curves,
        "unfit_models": UNFIT_MODELS,
        "notices": neighbours.notices(),
    }
