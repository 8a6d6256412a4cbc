"""The nodes that find faces and encode photos: FaceAttr, IDCond, BaseCond."""

from comfy_api.latest import io
from torch import Tensor

from ...hyperlora_core.errors import HyperLoRAError, shortened
from ...hyperlora_core.faces import Reference
from ...hyperlora_core.faces.image_tensors import to_photos
from ...hyperlora_core.faces.references import on_photos
from ...hyperlora_core.identity.encoding import encode_base, encode_id
from ..host.cache import cache
from ..host.sockets import on_no_face_input
from ..identity import CROP_SIZE, crops_of
from ..models import LoadedHyperLoRA
from .shared import (
    BaseCondSocket,
    FaceAttrSocket,
    IDCondSocket,
    background_inputs,
    deprecated,
    face_attr_input,
    faces_of,
    hyper_lora_input,
    images_input,
    order_input,
)


class HyperLoRAFaceAttr(io.ComfyNode):
    """Finds a face in each photo."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [hyper_lora_input(), images_input(), on_no_face_input(optional=True), order_input()]
        outputs = [FaceAttrSocket.Output(display_name="FACE_ATTR")]
        return deprecated("HyperLoRAFaceAttr", "HyperLoRA Face Attr", "HyperLoRA Detect Faces", inputs, outputs)

    @classmethod
    def execute(
        cls, hyper_lora: LoadedHyperLoRA, images: Tensor, order: str, on_no_face: str = "error"
    ) -> io.NodeOutput:
        references, remarks = faces_of(hyper_lora, images, on_no_face, order)
        return io.NodeOutput(references, ui=remarks.ui())


class HyperLoRAIDCond(io.ComfyNode):
    """Encodes who the person is."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [hyper_lora_input(), images_input(), face_attr_input(), *background_inputs()]
        outputs = [IDCondSocket.Output(display_name="ID_COND"), io.Image.Output(display_name="IMAGE")]
        return deprecated("HyperLoRAIDCond", "HyperLoRA ID Cond", "HyperLoRA Encode Identity", inputs, outputs)

    @classmethod
    def execute(
        cls,
        hyper_lora: LoadedHyperLoRA,
        images: Tensor,
        face_attr: list[Reference],
        grayscale: bool,
        remove_background: bool,
    ) -> io.NodeOutput:
        references = on_photos(hyper_lora.analyzer(), face_attr, to_photos(images), cache=cache())
        network, clip = hyper_lora.network, hyper_lora.clip()
        identity, pictures = encode_id(network, clip, references, remove_background, grayscale, cache())
        return io.NodeOutput(identity, crops_of(cls, pictures)[0])


class HyperLoRABaseCond(io.ComfyNode):
    """Encodes what is around the person."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [
            hyper_lora_input(),
            images_input(),
            face_attr_input(),
            io.Boolean.Input("crop", default=True, tooltip="Cut to the face's surroundings."),
            io.String.Input(
                "crop_scale_LRTB",
                default="1,1,1,1",
                tooltip="How far the cut reaches to the left, right, top and bottom: four numbers above 0.",
            ),
            io.Boolean.Input("safe_crop", default=True, tooltip="Stay inside the photo."),
        ]
        outputs = [BaseCondSocket.Output(display_name="BASE_COND"), io.Image.Output(display_name="IMAGE")]
        return deprecated("HyperLoRABaseCond", "HyperLoRA Base Cond", "HyperLoRA Encode Base", inputs, outputs)

    @classmethod
    def execute(
        cls,
        hyper_lora: LoadedHyperLoRA,
        images: Tensor,
        face_attr: list[Reference],
        crop: bool,
        crop_scale_LRTB: str,
        safe_crop: bool,
    ) -> io.NodeOutput:
        references = on_photos(hyper_lora.analyzer(), face_attr, to_photos(images), embed=False, cache=cache())
        scales = _scales(crop_scale_LRTB)
        network, clip = hyper_lora.network, hyper_lora.clip()
        identity, pictures = encode_base(network, clip, references, crop, scales, safe_crop, cache())
        size = None if len({picture.size for picture in pictures}) == 1 else CROP_SIZE
        return io.NodeOutput(identity, crops_of(cls, pictures, size)[0])


def _scales(text: str) -> tuple[float, float, float, float]:
    try:
        left, right, top, bottom = (float(part) for part in text.split(","))
        return left, right, top, bottom
    except ValueError as error:
        raise HyperLoRAError(
            f"crop_scale_LRTB is {shortened(text)}; four numbers such as '1,1,1.5,2' were expected"
        ) from error
