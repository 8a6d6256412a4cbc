"""The node that finds the person's face in each photo."""

from collections.abc import Sequence

from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from ..hyperlora_core.cache import digest
from ..hyperlora_core.faces import ORDERS, Reference, draw_faces
from ..hyperlora_core.faces.image_tensors import to_images, to_photos
from ..hyperlora_core.faces.picks import Pick, read_picks
from ..hyperlora_core.faces.references import find_references
from .cards import saved_preview
from .host.cache import cache
from .host.progress import Remarks, photo_progress, stage
from .host.sockets import CATEGORY, Faces, hyper_lora_input, on_no_face_input, photos_input, turn_upright_input
from .models import LoadedHyperLoRA
from .picker import described, reduced

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
    picks: Sequence[Pick] = (),
    turn_upright: bool = True,
) -> tuple[list[Reference], Remarks]:
    """``find_references`` as a node calls it: with progress and interruption, and remarks on what is left out."""
    stage("faces")
    analyzer = hyper_lora.analyzer()
    remarks = Remarks(found_by=analyzer.runs_on)
    references = find_references(
        analyzer,
        photos,
        order,
        index,
        match,
        on_no_face,
        embed=hyper_lora.config.reads_faces,
        cache=cache(),
        report=remarks,
        progress=photo_progress(len(photos)),
        picks=picks,
        turn_upright=turn_upright,
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
            description="Finds the person's face in each photo. Click a face on the node to take it, and shift-click "
            "for several; where none is picked, the order and the index choose. The preview numbers every face, and "
            "those that are used have the thick frame.",
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
                io.String.Input(
                    "picked",
                    default="[]",
                    optional=True,
                    socketless=True,
                    tooltip="The faces that were clicked: each by its photo's content and its place on it.",
                    extra_dict={"hidden": True},
                ),
                turn_upright_input(),
            ],
            outputs=[
                Faces.Output(display_name="faces"),
                io.Image.Output(display_name="preview", tooltip="Every photo with its faces framed and numbered."),
            ],
        )

    @classmethod
    def execute(
        cls,
        hyper_lora: LoadedHyperLoRA,
        images: dict,
        order: str,
        index: int,
        on_no_face: str,
        picked: str,
        turn_upright: bool,
        reference: Tensor | None = None,
    ) -> io.NodeOutput:
        photos = photos_of(images)
        match = to_photos(reference)[0] if reference is not None else None
        references, remarks = find_faces(
            hyper_lora, photos, on_no_face, order, index, match, read_picks(picked), turn_upright
        )
        previews, entries = list(photos), [described(photo, digest(photo), []) for photo in photos]
        for ref in references:
            used = [reference.face for reference in references if reference.number == ref.number]
            previews[ref.number - 1] = draw_faces(ref.photo, ref.faces, used)
            entries[ref.number - 1] = described(ref.photo, ref.photo_sha256, ref.faces)
        for photo, entry in zip(photos, entries, strict=True):
            entry["image"] = saved_preview(reduced(photo), cls)
        preview = to_images(previews, PREVIEW_SIZE)
        return io.NodeOutput(references, preview, ui=remarks.ui({"hyperlora_faces": entries}))
