"""What nodes show of their results; ``web/results.js`` draws it."""

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io, ui
from PIL import Image

from ..hyperlora_core.identity import Identity, describe
from ..hyperlora_core.mixing import mean_agreement
from ..hyperlora_core.photos import to_images


def identity_card(identity: Identity, cls: type[io.ComfyNode]) -> dict[str, Any]:
    """Whom an identity is: a thumbnail, how many photos, how they agree, which parts, which HyperLoRA."""
    parts = [name for name, rows in (("ID", identity.id_rows), ("Base", identity.base_rows)) if rows is not None]
    if not parts:
        return {}
    agreements = mean_agreement(identity.embeds) if identity.embeds is not None and len(identity.embeds) > 1 else []
    card = {
        "thumbnail": saved_preview(identity.thumbnail, cls) if identity.thumbnail is not None else None,
        "photos": identity.refs or len(identity.base_photos),
        "checkpoint": describe(identity.checkpoint),
        "agreement": round(sum(agreements) / len(agreements), 3) if agreements else None,
        "parts": " + ".join(parts),
    }
    return {"hyperlora_identity": [card]}


def saved_preview(picture: Image.Image, cls: type[io.ComfyNode]) -> dict[str, str]:
    """A picture in ComfyUI's temp folder, by the names that ``/view`` takes."""
    (name,) = ui.PreviewImage(to_images([picture]), cls=cls).as_dict()["images"]
    return name


def best_score(scores: Sequence[float | None]) -> dict[str, Any]:
    """The badge of a node that judges: the best likeness, None where no face was found."""
    found = [score for score in scores if score is not None]
    return {"hyperlora_score": [round(max(found), 3) if found else None]}
