"""The node that draws the faces of a picture again, larger, each as its person."""

import itertools
from collections.abc import Callable

import comfy.model_management
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io, ui
from PIL import Image
from torch import Tensor

import nodes as comfy_nodes

from ..hyperlora_core.doors.comfyui.runtime import Layer, add_layers, layers_of
from ..hyperlora_core.errors import HyperLoRAError
from ..hyperlora_core.faces.image_tensors import to_photos
from ..hyperlora_core.judging.likeness import Judged, Person, judge
from ..hyperlora_core.judging.redraw import Framing, redraw_faces
from ..hyperlora_core.judging.refine import ASSIGNMENTS
from .host.cache import cache
from .host.progress import Remarks, stage
from .host.sockets import CATEGORY, identities_input, loras_input, sampling_inputs, weight_input
from .lora import ours
from .models import face_analyzer, face_model_input


class HyperLoRARefineFaces(io.ComfyNode):
    """Draw faces again."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRARefineFaces",
            display_name="HyperLoRA Refine Faces",
            category=CATEGORY,
            description="Finds the faces of a picture, draws each again at the size the model knows best, with its "
            "person's LoRA, and lays it back with soft edges. What is no face stays as it is, to the pixel.",
            search_aliases=["face detailer", "face fix", "inpaint face", "small faces", "adetailer"],
            inputs=[
                io.Image.Input("images", tooltip="Pictures with faces."),
                io.Model.Input("model", tooltip="An SDXL model without the people's LoRAs: they are applied here."),
                io.Vae.Input("vae", tooltip="The checkpoint's."),
                io.Conditioning.Input("positive", tooltip="What a face looks like: begin with the trigger words."),
                io.Conditioning.Input("negative", tooltip="What is not wanted."),
                loras_input("The people's LoRAs: one for each face that is drawn again."),
                weight_input("strength", 1.0, "Strength of each LoRA."),
                io.Combo.Input(
                    "assignment",
                    options=list(ASSIGNMENTS),
                    default=ASSIGNMENTS[0],
                    tooltip="Whose face is which: in order, from left to right; or by likeness to the identities, "
                    "which are connected in the order of the LoRAs. Faces that are left over stay as they are.",
                ),
                io.Float.Input(
                    "least_likeness",
                    default=0.1,
                    min=-1.0,
                    max=1.0,
                    step=0.01,
                    tooltip="By likeness: what a face needs to be somebody's.",
                ),
                *sampling_inputs(0.4),
                io.Int.Input(
                    "size", default=1024, min=64, max=2048, step=64, tooltip="At which a face is drawn, in pixels."
                ),
                io.Float.Input(
                    "surroundings",
                    default=1.6,
                    min=1.0,
                    max=4.0,
                    step=0.05,
                    tooltip="How much around the face is shown to the model, as a factor of the face's box.",
                ),
                io.Float.Input(
                    "feather",
                    default=0.08,
                    min=0.0,
                    max=0.5,
                    step=0.01,
                    tooltip="Width of the soft edge, as a share of what is cut out.",
                ),
                io.Combo.Input(
                    "on_no_face",
                    options=["skip", "error"],
                    default="skip",
                    tooltip="A picture without a face: it stays as it is, and that is said; or stop.",
                ),
                face_model_input("What finds the faces. auto takes antelopev2."),
                identities_input("identities", "identity", 0, "For 'by likeness': one for each LoRA, in order."),
            ],
            outputs=[
                io.Image.Output(display_name="images"),
                io.Mask.Output(display_name="masks", tooltip="What was drawn again."),
                io.String.Output(display_name="report"),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: Tensor,
        model: ModelPatcher,
        vae: VAE,
        positive: list,
        negative: list,
        loras: dict,
        strength: float,
        assignment: str,
        least_likeness: float,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        denoise: float,
        size: int,
        surroundings: float,
        feather: float,
        on_no_face: str,
        face_model: str,
        identities: dict | None = None,
    ) -> io.NodeOutput:
        people = [ours(lora) for lora in loras.values() if lora is not None]
        references = [Person.of_identity(identity) for identity in (identities or {}).values() if identity is not None]
        if any(layer.mask is not None for layer in layers_of(model)):
            raise HyperLoRAError(
                "the model has people in regions, and each face would be given the whole masks: connect the model that "
                "goes into HyperLoRA Apply in Regions. Each person's LoRA is applied here, to the own face"
            )
        models = [add_layers(model, [Layer(lora, strength)]) for lora in people]
        analyzer = face_analyzer(face_model)
        count = itertools.count(1)

        def draw(pixels: Tensor, mask: Tensor, person: int) -> Tensor:
            comfy.model_management.throw_exception_if_processing_interrupted()
            stage("refine", n=next(count))
            latent = {"samples": vae.encode(pixels), "noise_mask": mask}
            (latent,) = comfy_nodes.common_ksampler(
                models[person], seed, steps, cfg, sampler_name, scheduler, positive, negative, latent, denoise=denoise
            )
            return comfy_nodes.VAEDecode().decode(vae, latent)[0]

        def judge_of(person: Person) -> Callable[[Image.Image], Judged]:
            return lambda picture: judge(analyzer, person, [picture], cache())[0]

        redrawn = redraw_faces(
            images[..., :3].expand(*images.shape[:3], 3),
            to_photos(images),
            len(people),
            analyzer.detect,
            [judge_of(person) for person in references] if assignment == ASSIGNMENTS[1] else None,
            draw,
            Framing(size, surroundings, feather),
            least_likeness,
            skip_without_face=on_no_face != "error",
        )
        remarks = Remarks()
        for remark in redrawn.remarks:
            remarks(remark)
        report = "\n".join([*redrawn.lines, *remarks])
        preview = ui.PreviewImage(redrawn.images, cls=cls).as_dict()
        return io.NodeOutput(redrawn.images, redrawn.masks, report, ui=remarks.ui({**preview, "text": [report]}))
