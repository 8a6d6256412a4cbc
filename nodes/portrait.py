"""The whole way in one node: photos and a model in, the person's model out."""

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..hyperlora_core.errors import HyperLoRAError
from ..hyperlora_core.identity.encoding import encode_base, encode_id
from ..hyperlora_core.identity.generation import generate
from ..hyperlora_core.trigger_words import TRIGGER_WORDS
from .faces import find_faces, photos_of
from .host.cache import cache
from .host.progress import stage
from .host.sockets import (
    CATEGORY,
    LoraSocket,
    hyper_lora_input,
    id_weight_input,
    on_no_face_input,
    photos_input,
    turn_upright_input,
    weight_input,
)
from .identity import crops_of, crops_output
from .lora import application_input, applied
from .models import LoadedHyperLoRA


class HyperLoRAPortrait(io.ComfyNode):
    """Photos of a person and a model in, a model that draws the person out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRAPortrait",
            display_name="HyperLoRA Portrait",
            category=CATEGORY,
            description="Photos of a person in, a model that draws them out. Begin the prompt with the trigger words.",
            search_aliases=["hyperlora", "face id", "instantid", "ip-adapter", "pulid", "identity", "likeness"],
            inputs=[
                io.Model.Input("model", tooltip="An SDXL model."),
                hyper_lora_input(),
                photos_input(),
                id_weight_input(),
                weight_input(
                    "base_weight",
                    0.0,
                    "How strongly background, clothing and light of the photos are drawn too. Needs a HyperLoRA with "
                    "Base parts, which the released ones do not have; 0 leaves it out.",
                ),
                on_no_face_input(),
                application_input(),
                turn_upright_input(),
            ],
            outputs=[
                io.Model.Output(display_name="model"),
                crops_output(),
                io.String.Output(display_name="trigger_words", tooltip="Begin the prompt with these words."),
                LoraSocket.Output(display_name="lora", tooltip="The LoRA that was applied, for HyperLoRA Save LoRA."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        hyper_lora: LoadedHyperLoRA,
        images: dict,
        id_weight: float,
        base_weight: float,
        on_no_face: str,
        application: str,
        turn_upright: bool,
    ) -> io.NodeOutput:
        if base_weight != 0 and not hyper_lora.config.has_base:
            raise HyperLoRAError(
                f"base_weight is {base_weight:g}, but this HyperLoRA has no Base parts and makes an ID-LoRA only: "
                "set it to 0"
            )
        references, remarks = find_faces(hyper_lora, photos_of(images), on_no_face, turn_upright=turn_upright)
        stage("encode")
        network, clip = hyper_lora.network, hyper_lora.clip()
        identity, pictures = encode_id(network, clip, references, cache=cache())
        if base_weight != 0:
            identity = identity.with_base(encode_base(network, clip, references, cache=cache())[0])
        stage("lora")
        lora = generate(network, identity, id_weight, base_weight, cache())
        crops, preview = crops_of(cls, pictures)
        with_lora = applied(model, lora, 1.0, application)
        return io.NodeOutput(with_lora, crops, TRIGGER_WORDS, lora, ui=remarks.ui(preview))
