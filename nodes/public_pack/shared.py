"""The types, inputs and looks that the public pack's nodes share."""

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...hyperlora_core.faces import Reference
from ...hyperlora_core.faces.image_tensors import to_photos
from ..faces import find_faces
from ..host.progress import Remarks
from ..host.sockets import HyperLoraModel
from ..models import LoadedHyperLoRA

CATEGORY = "HyperLoRA/public pack"
FACE_ORDERS = ("detection order", "largest", "left to right")  # the first is the public pack's own

ConfigSocket = io.Custom("HYPER_LORA_CONFIG")
FaceAttrSocket = io.Custom("FACE_ATTR")
IDCondSocket, BaseCondSocket = io.Custom("ID_COND"), io.Custom("BASE_COND")
LoraSocket = io.Custom("LORA")


def hyper_lora_input() -> io.Input:
    return HyperLoraModel.Input("hyper_lora", tooltip="From a HyperLoRA loader.")


def images_input() -> io.Input:
    return io.Image.Input("images", tooltip="Photos of one person, one or a batch.")


def face_attr_input() -> io.Input:
    return FaceAttrSocket.Input("face_attr", tooltip="From HyperLoRA FaceAttr, of the same photos.")


def lora_output() -> io.Output:
    return LoraSocket.Output(display_name="LORA")


def deprecated(
    node_id: str, name: str, instead: str, inputs: Sequence[io.Input], outputs: Sequence[io.Output], **more: Any
) -> io.Schema:
    return io.Schema(
        node_id=node_id,
        display_name=f"{name} (public pack)",
        category=CATEGORY,
        description=f"As in the public HyperLoRA pack, for workflows made with it. In new ones use {instead}.",
        inputs=list(inputs),
        outputs=list(outputs),
        is_deprecated=True,
        **more,
    )


def order_input() -> io.Input:
    return io.Combo.Input(
        "order",
        options=list(FACE_ORDERS),
        default=FACE_ORDERS[0],
        optional=True,
        tooltip="Which face is taken where a photo has several: the detector's first, as by the public pack; the "
        "largest, as by our own nodes; or the leftmost.",
    )


def faces_of(
    hyper_lora: LoadedHyperLoRA, images: Tensor, on_no_face: str, order: str
) -> tuple[list[Reference], Remarks]:
    """One face of each photo; that there were others is said where nobody chose."""
    photos = to_photos(images)
    references, remarks = find_faces(hyper_lora, photos, on_no_face, order)
    for ref in references:
        if order == FACE_ORDERS[0] and len(ref.faces) > 1:
            remarks(
                f"photo {ref.number} of {len(photos)} shows {len(ref.faces)} faces: the detector's first is taken, as "
                "by the public pack. Set order to take another"
            )
    return references, remarks


def background_inputs() -> tuple[io.Input, io.Input]:
    return (
        io.Boolean.Input("grayscale", default=False, tooltip="Show CLIP the face without colour."),
        io.Boolean.Input("remove_background", default=True, tooltip="Show CLIP the face alone on grey."),
    )
