"""The node that finds the person's face in each photo."""

from comfy_api.latest import io, ui
from PIL import Image

from ..hyperlora_core.faces import ORDERS, Reference, draw_faces
from ..hyperlora_core.photos import to_images, to_photos
from ..hyperlora_core.pipeline import find_references
from .cache import cache
from .models import LoadedHyperLoRA
from .progress import Remarks, photo_progress
from .sockets import CATEGORY, Faces, hyper_lora_input, on_no_face_input, photos_input

PREVIEW_SIZE = 512


def photos_of(images: dict) -> list:
    """The photos of an autogrowing input, in the order of its slots."""
    return [photo for batch in images.values() if batch is not None for photo in to_photos(batch)]


def find_faces(
    hyper_lora: LoadedHyperLoRA,
    photos: list[Image.Image],
    on_no_face: str = "error",
    order: str = ORDERS[0],
    index: int = 0,
    match: Image.Image | None = None,
) -> tuple[list[Reference], Remarks]:
    """``find_references`` as a node calls it: with progress and interruption, and remarks on what is left out."""
    remarks = Remarks()
    references = find_references(
        hyper_lora.analyzer(),
        photos,
        order,
        index,
        match,
        on_no_face,
        embed=hyper_lora.config.reads_faces,
        cache=cache(),
        report=remarks,
        progress=photo_progress(len(photos)),
    )
    return references, remarks


class HyperLoRADetectFaces(io.ComfyNode):
    """Find one face in each photo."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRADetectFaces",
            display_name="HyperLoRA Detect Faces",
            category=CATEGORY,
            description="Finds the person's face in each photo. The preview numbers every face that was found, in the "
            "order chosen; the one that is used has the thick frame.",
            search_aliases=["face detection", "find face", "insightface", "antelopev2", "face picker"],
            inputs=[
                hyper_lora_input(),
                photos_input(),
                io.Combo.Input(
                    "order",
                    options=list(ORDERS),
                    default=ORDERS[0],
                    tooltip="How the faces of a photo are ordered before one is picked: by size, by place, as the "
                    "detector found them, or by likeness to the face on the reference.",
                ),
                io.Int.Input(
                    "index", default=0, min=0, max=63, tooltip="Which face in that order: its number in the preview."
                ),
                on_no_face_input(),
                io.Image.Input(
                    "reference",
                    optional=True,
                    tooltip="For 'best match': a photo on which the person's face is the largest.",
                ),
            ],
            outputs=[
                Faces.Output(display_name="faces"),
                io.Image.Output(display_name="preview", tooltip="Every photo with its faces framed and numbered."),
            ],
        )

    @classmethod
    def execute(
        cls,
        hyper_lora,
        images: dict,
        order: str = ORDERS[0],
        index: int = 0,
        on_no_face: str = "error",
        reference=None,
    ) -> io.NodeOutput:
        photos = photos_of(images)
        match = to_photos(reference)[0] if reference is not None else None
        references, remarks = find_faces(hyper_lora, photos, on_no_face, order, index, match)
        drawn = {ref.number: draw_faces(ref.photo, ref.faces, ref.face) for ref in references}
        preview = to_images([drawn.get(number, photo) for number, photo in enumerate(photos, start=1)], PREVIEW_SIZE)
        shown = ui.PreviewImage(preview, cls=cls).as_dict()
        return io.NodeOutput(references, preview, ui=remarks.ui(shown))
