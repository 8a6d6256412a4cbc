"""What nodes show of their results, in the form that ``web/results.js`` draws."""

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from comfy_api.latest import io, ui
from PIL import Image

from ..hyperlora_core.faces.image_tensors import to_images
from ..hyperlora_core.faces.scale import mean_agreement
from ..hyperlora_core.identity.file import load_identity
from ..hyperlora_core.identity.value import Identity
from .host.folders import IDENTITIES, kept_file
from .host.routes import answer_post


def identity_card(identity: Identity, cls: type[io.ComfyNode]) -> dict[str, Any]:
    """An identity's card: thumbnail, number of photos, how well they agree, its parts, its HyperLoRA."""
    facts = _facts(identity)
    if not facts["parts"]:
        return {}
    thumbnail = saved_preview(identity.thumbnail, cls) if identity.thumbnail is not None else None
    return {"hyperlora_identity": [{"thumbnail": thumbnail, **facts}]}


def answer_cards() -> None:
    """Answer ``POST /hyperlora/identity``: the card of a file, before anything has run."""
    answer_post("/hyperlora/identity", lambda request: _card_of_file(request["name"]), "name")


def _card_of_file(name: str) -> dict[str, Any]:
    identity = load_identity(kept_file(IDENTITIES, name))
    return {"thumbnail": _inline(identity.thumbnail) if identity.thumbnail is not None else None, **_facts(identity)}


def _facts(identity: Identity) -> dict[str, Any]:
    parts = [name for name, rows in (("ID", identity.id_rows), ("Base", identity.base_rows)) if rows is not None]
    agreements = mean_agreement(identity.embeds) if identity.embeds is not None and len(identity.embeds) > 1 else []
    return {
        "photos": identity.refs or len(identity.base_photos),
        "checkpoint": str(identity.checkpoint),
        "agreement": round(sum(agreements) / len(agreements), 3) if agreements else None,
        "parts": " + ".join(parts),
    }


def _inline(picture: Image.Image) -> str:
    """A picture as a data URL."""
    file = BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def saved_preview(picture: Image.Image, cls: type[io.ComfyNode]) -> dict[str, str]:
    """A picture in ComfyUI's temp folder, by the names that ``/view`` takes."""
    (name,) = ui.PreviewImage(to_images([picture]), cls=cls).as_dict()["images"]
    return name


def best_score(scores: Sequence[float | None]) -> dict[str, Any]:
    """The badge of a node that judges: the best likeness, None where no face was found."""
    numbers = [score for score in scores if score is not None]
    return {"hyperlora_score": [round(max(numbers), 3) if numbers else None]}
