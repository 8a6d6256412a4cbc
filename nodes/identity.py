"""The nodes that encode photos: who the person is, and what is around them."""

from collections.abc import Sequence

import torch
from comfy_api.latest import io, ui
from comfy_execution.graph import ExecutionBlocker
from PIL import Image

from ..hyperlora_core.faces import Reference
from ..hyperlora_core.faces.image_tensors import to_images
from ..hyperlora_core.identity.encoding import encode_base, encode_id
from ..hyperlora_core.identity.value import Identity
from .cards import identity_card
from .host.cache import cache
from .host.progress import stage
from .host.sockets import CATEGORY, Faces, IdentitySocket, hyper_lora_input
from .models import LoadedHyperLoRA

CROP_SIZE = 512


def crops_output() -> io.Output:
    """What CLIP was shown."""
    return io.Image.Output(display_name="crops", tooltip="The pictures that CLIP was shown, one for each photo.")


def crops_of(
    cls: type[io.ComfyNode], pictures: Sequence[Image.Image], size: int | None = CROP_SIZE
) -> tuple[torch.Tensor | ExecutionBlocker, dict]:
    """What ``crops_output`` gives, and what the node shows; without a picture nothing runs that needs one."""
    if not pictures:
        return ExecutionBlocker(None), {}
    images = to_images(pictures, size)
    return images, ui.PreviewImage(images, cls=cls).as_dict()


class HyperLoRAEncodeIdentity(io.ComfyNode):
    """Encode who the person is."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRAEncodeIdentity",
            display_name="HyperLoRA Encode Identity",
            category=CATEGORY,
            description="Encodes who the person is, out of all their photos together.",
            search_aliases=["id cond", "identity", "face embedding", "arcface"],
            inputs=[
                hyper_lora_input(),
                Faces.Input("faces", tooltip="From HyperLoRA Detect Faces: photos of one person."),
                io.Boolean.Input(
                    "remove_background",
                    default=True,
                    tooltip="Show CLIP the face alone on grey, so that nothing else gets into the identity.",
                ),
                io.Boolean.Input("grayscale", default=False, tooltip="Show CLIP the face without colour."),
            ],
            outputs=[IdentitySocket.Output(display_name="identity"), crops_output()],
        )

    @classmethod
    def execute(
        cls, hyper_lora: LoadedHyperLoRA, faces: list[Reference], remove_background: bool, grayscale: bool
    ) -> io.NodeOutput:
        stage("encode")
        network, clip = hyper_lora.network, hyper_lora.clip()
        identity, pictures = encode_id(network, clip, faces, remove_background, grayscale, cache())
        crops, preview = crops_of(cls, pictures)
        return io.NodeOutput(identity, crops, ui={**preview, **identity_card(identity, cls)})


def _side_input(side: str) -> io.Input:
    return io.Float.Input(
        f"scale_{side}",
        default=1.0,
        min=0.1,
        max=10.0,
        step=0.05,
        tooltip=f"How far the cut reaches to the {side}: 1 is the face with a margin, 2 twice as far.",
    )


class HyperLoRAEncodeBase(io.ComfyNode):
    """Encode what is around the person."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRAEncodeBase",
            display_name="HyperLoRA Encode Base",
            category=CATEGORY,
            description="Adds background, clothing and light of a photo to an identity; the face is blurred for it. "
            "Needs a HyperLoRA with Base parts, which the released ones do not have.",
            search_aliases=["base cond", "background", "clothing", "light"],
            inputs=[
                hyper_lora_input(),
                Faces.Input(
                    "faces", tooltip="From HyperLoRA Detect Faces: the photos whose surroundings are taken, of anyone."
                ),
                io.Boolean.Input("crop", default=True, tooltip="Cut to the face's surroundings; off: the whole photo."),
                *(_side_input(side) for side in ("left", "right", "top", "bottom")),
                io.Boolean.Input(
                    "safe_crop", default=True, tooltip="Stay inside the photo; off: what lies outside is black."
                ),
                IdentitySocket.Input(
                    "identity",
                    optional=True,
                    tooltip="The identity to add to. Without one, the Base part stands alone.",
                ),
            ],
            outputs=[IdentitySocket.Output(display_name="identity"), crops_output()],
        )

    @classmethod
    def execute(
        cls,
        hyper_lora: LoadedHyperLoRA,
        faces: list[Reference],
        crop: bool,
        scale_left: float,
        scale_right: float,
        scale_top: float,
        scale_bottom: float,
        safe_crop: bool,
        identity: Identity | None = None,
    ) -> io.NodeOutput:
        scales = (scale_left, scale_right, scale_top, scale_bottom)
        network, clip = hyper_lora.network, hyper_lora.clip()
        stage("encode")
        base, pictures = encode_base(network, clip, faces, crop, scales, safe_crop, cache())
        complete = base if identity is None else identity.with_base(base)
        crops, preview = crops_of(cls, pictures)
        return io.NodeOutput(complete, crops, ui={**preview, **identity_card(complete, cls)})
