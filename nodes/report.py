"""The nodes that describe photos: a report on each, and a picture of its keypoints."""

from comfy_api.latest import io, ui

from ..hyperlora_core.errors import HyperLoRAError
from ..hyperlora_core.faces import Reference, draw_faces
from ..hyperlora_core.faces.image_tensors import to_images
from ..hyperlora_core.faces.keypoints import keypoints_picture
from ..hyperlora_core.faces.photo_report import examine, summary
from .faces import PREVIEW_SIZE
from .host.sockets import CATEGORY, Faces


def _faces_input() -> io.Input:
    return Faces.Input("faces", tooltip="From HyperLoRA Detect Faces.")


def _need(faces: list) -> list:
    if not faces:
        raise HyperLoRAError("there is no photo with a face to look at: every photo was left out")
    return faces


class HyperLoRAPhotoReport(io.ComfyNode):
    """What each photo is worth."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRAPhotoReport",
            display_name="HyperLoRA Photo Report",
            category=CATEGORY,
            description="What each photo of a person is worth as a reference: size and sharpness of the face, where it "
            "looks, how surely it was found, how it agrees with the others; and what to replace.",
            search_aliases=["quality", "sharpness", "face report", "which photo"],
            inputs=[_faces_input()],
            outputs=[
                io.String.Output(display_name="report"),
                io.Image.Output(
                    display_name="preview",
                    tooltip="Every photo with its face framed: green to keep, orange to replace.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, faces: list[Reference]) -> io.NodeOutput:
        qualities = examine(_need(faces))
        report = "\n".join([*map(str, qualities), summary(qualities)])
        previews = []
        for ref, quality in zip(faces, qualities, strict=True):
            verdict = f"{'replace' if quality.is_bad else 'keep'} {quality.number}"
            previews.append(draw_faces(ref.photo, [ref.face], [] if quality.is_bad else [ref.face], [verdict]))
        preview = to_images(previews, PREVIEW_SIZE)
        return io.NodeOutput(report, preview, ui={**ui.PreviewImage(preview, cls=cls).as_dict(), "text": [report]})


class HyperLoRAFaceKeypoints(io.ComfyNode):
    """Keypoints as a picture for a ControlNet."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRAFaceKeypoints",
            display_name="HyperLoRA Face Keypoints",
            category=CATEGORY,
            description="The face's five keypoints as a picture for InstantID's ControlNet: where the face is in the "
            "portrait, and where it looks. The person comes from the LoRA, so the photo may be anybody's.",
            search_aliases=["instantid", "kps", "face pose", "controlnet"],
            inputs=[
                _faces_input(),
                io.Int.Input("width", default=1024, min=64, max=8192, step=8, tooltip="As the portrait's."),
                io.Int.Input("height", default=1024, min=64, max=8192, step=8, tooltip="As the portrait's."),
                io.Combo.Input(
                    "fit",
                    options=["whole photo", "fill"],
                    default="whole photo",
                    tooltip="How the photo is laid on the portrait: whole, with nothing beside it, or filling it.",
                ),
                io.Boolean.Input(
                    "every_face", default=False, tooltip="Draw all faces of the photo, not the one chosen."
                ),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="One picture a photo.")],
        )

    @classmethod
    def execute(cls, faces: list[Reference], width: int, height: int, fit: str, every_face: bool) -> io.NodeOutput:
        pictures = []
        for ref in _need(faces):
            scales = (width / ref.photo.width, height / ref.photo.height)
            scale = min(scales) if fit == "whole photo" else max(scales)
            corner = ((width - ref.photo.width * scale) / 2, (height - ref.photo.height * scale) / 2)
            drawn_faces = ref.faces if every_face else [ref.face]
            pictures.append(
                keypoints_picture((width, height), [face.keypoints * scale + corner for face in drawn_faces])
            )
        images = to_images(pictures)
        return io.NodeOutput(images, ui=ui.PreviewImage(images, cls=cls).as_dict())
