"""The node ids of the public pack (bytedance/ComfyUI-HyperLoRA), so that shared workflows load and run.

Ids, sockets, widgets and their order are that pack's; what we add comes last. They are adapters on the same core as our
own nodes, and deprecated, so that the editor's search offers ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import folder_paths
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ..hyperlora_core.doors.comfyui.patching import apply_lora
from ..hyperlora_core.errors import HyperLoRAError, shortened
from ..hyperlora_core.faces import Reference
from ..hyperlora_core.faces.image_tensors import to_photos
from ..hyperlora_core.faces.references import on_photos
from ..hyperlora_core.identity.encoding import encode_base, encode_id
from ..hyperlora_core.identity.generation import generate
from ..hyperlora_core.identity.value import Identity
from ..hyperlora_core.network.config import HyperLoRAConfig as CheckpointConfig
from .faces import find_faces
from .host.cache import cache
from .host.folders import clip_files, clip_processors, face_folders, hyper_lora_models, stamp_of_models
from .host.progress import Remarks
from .host.sockets import HyperLoraModel, on_no_face_input, other_encoders_input
from .identity import CROP_SIZE, crops_of
from .lora import save_lora
from .models import AUTO, DTYPES, FACE_MODEL, LoadedHyperLoRA, load_hyper_lora

CATEGORY = "HyperLoRA/public pack"
PROCESSOR, ENCODER = "clip_vit_large_14_processor", "clip_vit_large_14"
ENCODER_TYPES = ("clip", "arcface", "clip + arcface")
FACE_ORDERS = ("detection order", "largest", "left to right")  # the first is the public pack's own
WEIGHT_LIMIT = 3.0

ConfigSocket = io.Custom("HYPER_LORA_CONFIG")
FaceAttrSocket = io.Custom("FACE_ATTR")
IDCondSocket, BaseCondSocket = io.Custom("ID_COND"), io.Custom("BASE_COND")
LoraSocket = io.Custom("LORA")


@dataclass(frozen=True)
class Choices:
    """The choices that Config and UniLoader share."""

    image_encoder: str
    encoder_types: str
    face_analyzer: str


@dataclass(frozen=True)
class Config:
    """What HyperLoRAConfig's widgets say, by their names, which is compared with what the checkpoint is."""

    choices: Choices
    numbers: dict[str, int | bool]


def _encoder_type(config: CheckpointConfig) -> str:
    return " + ".join(["clip"] * config.reads_clip + ["arcface"] * config.reads_faces)


def _numbers(config: CheckpointConfig) -> dict[str, int | bool]:
    """What the widgets of HyperLoRAConfig have to say of a checkpoint."""
    resampler = config.id_resampler
    numbers: dict[str, int | bool] = {
        "resampler.dim": resampler.dim,
        "resampler.dim_head": resampler.head_dim,
        "resampler.heads": resampler.heads,
        "resampler.depth": resampler.depth,
        "resampler.ff_mult": resampler.ff_mult,
        "hyper_dim": config.basis_size,
        "lora_rank": config.id_rank,
        "has_base_lora": config.has_base,
    }
    if config.id_embed_dim is not None:
        numbers |= {"id_embed_dim": config.id_embed_dim, "num_id_tokens": config.id_tokens}
    return numbers


def _load(model: str, dtype: str, other_encoders: str, choices: Choices) -> tuple[LoadedHyperLoRA, Remarks]:
    """Load by the public pack's choices; what its folders lack and what the checkpoint does not fit is corrected."""
    remarks = Remarks()
    clip = f"hyper_lora/clip_vit/{choices.image_encoder}"
    if clip not in clip_files():
        clip = AUTO  # models/clip_vision has one, or the error says what is missing
        if choices.image_encoder != ENCODER:
            remarks(
                f"image_encoder {shortened(choices.image_encoder)} is not there: the CLIP that fits is used instead"
            )
    loaded = load_hyper_lora(model, clip, choices.face_analyzer, dtype=dtype, other_encoders=other_encoders)
    right = _encoder_type(loaded.config)
    if choices.encoder_types != right:
        remarks(
            f"encoder_types is '{choices.encoder_types}', but {model} was made for '{right}', which is used instead. "
            f"Set encoder_types to '{right}'"
        )
    return loaded, remarks


def _encoder_inputs() -> tuple[io.Input, io.Input]:
    below = [
        name.removeprefix("hyper_lora/clip_vit/") for name in clip_files() if name.startswith("hyper_lora/clip_vit/")
    ]
    return (
        io.Combo.Input(
            "image_processor",
            options=[PROCESSOR, *(name for name in clip_processors() if name != PROCESSOR)],
            tooltip="Not needed: CLIP's own preprocessing is built in.",
        ),
        io.Combo.Input(
            "image_encoder",
            options=[ENCODER, *sorted(set(below) - {ENCODER})],
            tooltip="CLIP ViT-L/14, a folder of models/hyper_lora/clip_vit. If it is not there, the one in "
            "models/clip_vision that fits is taken.",
        ),
    )


def _encoder_types_input() -> io.Input:
    return io.Combo.Input(
        "encoder_types",
        options=list(ENCODER_TYPES),
        default=ENCODER_TYPES[2],
        tooltip="What the checkpoint reads photos with; a wrong choice is corrected, and the node says so.",
    )


def _face_analyzer_input() -> io.Input:
    return io.Combo.Input(
        "face_analyzer",
        options=[FACE_MODEL, *sorted(set(face_folders()) - {FACE_MODEL})],
        tooltip="Face models under models/insightface/models; antelopev2 for the released weights.",
    )


def _model_inputs() -> tuple[io.Input, io.Input]:
    return (
        io.Combo.Input("model", options=sorted(hyper_lora_models()), tooltip="A checkpoint under models/hyper_lora."),
        io.Combo.Input(
            "dtype",
            options=["fp16", "bf16", "fp32"],
            tooltip="The type computed in, on a GPU; a CPU always computes in fp32.",
        ),
    )


def _number_input(name: str, default: int, low: int, high: int, step: int, tooltip: str) -> io.Input:
    return io.Int.Input(name, default=default, min=low, max=high, step=step, tooltip=tooltip)


def _hyper_lora_input() -> io.Input:
    return HyperLoraModel.Input("hyper_lora", tooltip="From a HyperLoRA loader.")


def _images_input() -> io.Input:
    return io.Image.Input("images", tooltip="Photos of one person, one or a batch.")


def _face_attr_input() -> io.Input:
    return FaceAttrSocket.Input("face_attr", tooltip="From HyperLoRA FaceAttr, of the same photos.")


def _lora_output() -> io.Output:
    return LoraSocket.Output(display_name="LORA")


def _schema(
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


class HyperLoRAConfig(io.ComfyNode):
    """Says by hand what the checkpoint is."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        width = "As in the checkpoint, which is compared: a wrong number is an error that says the right one."
        inputs = [
            *_encoder_inputs(),
            _number_input("resampler.dim", 1024, 64, 2048, 32, width),
            _number_input("resampler.dim_head", 64, 32, 512, 32, width),
            _number_input("resampler.heads", 12, 4, 32, 4, width),
            _number_input("resampler.depth", 4, 4, 16, 2, width),
            _number_input("resampler.ff_mult", 4, 2, 8, 2, width),
            _encoder_types_input(),
            _face_analyzer_input(),
            _number_input("id_embed_dim", 512, 128, 1024, 32, width),
            _number_input("num_id_tokens", 16, 4, 128, 4, width),
            _number_input("hyper_dim", 128, 32, 1024, 32, width),
            _number_input("lora_rank", 8, 2, 32, 2, width),
            io.Boolean.Input("has_base_lora", default=False, tooltip=width),
        ]
        outputs = [ConfigSocket.Output(display_name="HYPER_LORA_CONFIG")]
        return _schema("HyperLoRAConfig", "HyperLoRA Config", "Load HyperLoRA", inputs, outputs)

    @classmethod
    def validate_inputs(cls, image_processor: str = "", image_encoder: str = "") -> bool:
        return True  # any name: the one is not needed, and the other is replaced where it is not there

    @classmethod
    def execute(
        cls, image_processor: str, image_encoder: str, encoder_types: str, face_analyzer: str, **numbers: int | bool
    ) -> io.NodeOutput:
        return io.NodeOutput(Config(Choices(image_encoder, encoder_types, face_analyzer), numbers))


class HyperLoRALoader(io.ComfyNode):
    """Loads a checkpoint, and compares it with its Config."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [
            ConfigSocket.Input("config", tooltip="From HyperLoRA Config."),
            *_model_inputs(),
            other_encoders_input(),
        ]
        outputs = [HyperLoraModel.Output(display_name="HYPER_LORA")]
        return _schema("HyperLoRALoader", "HyperLoRA Loader", "Load HyperLoRA", inputs, outputs)

    @classmethod
    def fingerprint_inputs(cls, model: str | None = None, face_analyzer: str | None = None, **_: object) -> object:
        return stamp_of_models(model, face_analyzer)

    @classmethod
    def execute(cls, config: Config, model: str, dtype: str, other_encoders: str) -> io.NodeOutput:
        loaded, remarks = _load(model, dtype, other_encoders, config.choices)
        wrong = [
            f"{name} {right} instead of {config.numbers[name]}"
            for name, right in _numbers(loaded.config).items()
            if config.numbers[name] != right
        ]
        if wrong:
            raise HyperLoRAError(
                f"HyperLoRA Config does not say what {model} is. Set there: {', '.join(wrong)}. Load HyperLoRA "
                "needs no such numbers"
            )
        return io.NodeOutput(loaded, ui=remarks.ui())


class HyperLoRAUniLoader(io.ComfyNode):
    """Loads a checkpoint."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [
            *_encoder_inputs(),
            _encoder_types_input(),
            _face_analyzer_input(),
            *_model_inputs(),
            other_encoders_input(),
        ]
        outputs = [HyperLoraModel.Output(display_name="HYPER_LORA")]
        return _schema("HyperLoRAUniLoader", "HyperLoRA Uni Loader", "Load HyperLoRA", inputs, outputs)

    @classmethod
    def validate_inputs(cls, image_processor: str = "", image_encoder: str = "") -> bool:
        return True  # any name: the one is not needed, and the other is replaced where it is not there

    @classmethod
    def fingerprint_inputs(cls, model: str | None = None, face_analyzer: str | None = None, **_: object) -> object:
        return stamp_of_models(model, face_analyzer)

    @classmethod
    def execute(
        cls,
        image_processor: str,
        image_encoder: str,
        encoder_types: str,
        face_analyzer: str,
        model: str,
        dtype: str,
        other_encoders: str,
    ) -> io.NodeOutput:
        choices = Choices(image_encoder, encoder_types, face_analyzer)
        loaded, remarks = _load(model, dtype, other_encoders, choices)
        return io.NodeOutput(loaded, ui=remarks.ui())


def _order_input() -> io.Input:
    return io.Combo.Input(
        "order",
        options=list(FACE_ORDERS),
        default=FACE_ORDERS[0],
        optional=True,
        tooltip="Which face is taken where a photo has several: the detector's first, as by the public pack; the "
        "largest, as by our own nodes; or the leftmost.",
    )


def _faces(hyper_lora: LoadedHyperLoRA, images: Tensor, on_no_face: str, order: str) -> tuple[list[Reference], Remarks]:
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


class HyperLoRAFaceAttr(io.ComfyNode):
    """Finds a face in each photo."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [_hyper_lora_input(), _images_input(), on_no_face_input(optional=True), _order_input()]
        outputs = [FaceAttrSocket.Output(display_name="FACE_ATTR")]
        return _schema("HyperLoRAFaceAttr", "HyperLoRA Face Attr", "HyperLoRA Detect Faces", inputs, outputs)

    @classmethod
    def execute(
        cls, hyper_lora: LoadedHyperLoRA, images: Tensor, order: str, on_no_face: str = "error"
    ) -> io.NodeOutput:
        references, remarks = _faces(hyper_lora, images, on_no_face, order)
        return io.NodeOutput(references, ui=remarks.ui())


def _background_inputs() -> tuple[io.Input, io.Input]:
    return (
        io.Boolean.Input("grayscale", default=False, tooltip="Show CLIP the face without colour."),
        io.Boolean.Input("remove_background", default=True, tooltip="Show CLIP the face alone on grey."),
    )


class HyperLoRAIDCond(io.ComfyNode):
    """Encodes who the person is."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [_hyper_lora_input(), _images_input(), _face_attr_input(), *_background_inputs()]
        outputs = [IDCondSocket.Output(display_name="ID_COND"), io.Image.Output(display_name="IMAGE")]
        return _schema("HyperLoRAIDCond", "HyperLoRA ID Cond", "HyperLoRA Encode Identity", inputs, outputs)

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
            _hyper_lora_input(),
            _images_input(),
            _face_attr_input(),
            io.Boolean.Input("crop", default=True, tooltip="Cut to the face's surroundings."),
            io.String.Input(
                "crop_scale_LRTB",
                default="1,1,1,1",
                tooltip="How far the cut reaches to the left, right, top and bottom: four numbers above 0.",
            ),
            io.Boolean.Input("safe_crop", default=True, tooltip="Stay inside the photo."),
        ]
        outputs = [BaseCondSocket.Output(display_name="BASE_COND"), io.Image.Output(display_name="IMAGE")]
        return _schema("HyperLoRABaseCond", "HyperLoRA Base Cond", "HyperLoRA Encode Base", inputs, outputs)

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


class HyperLoRAGenerateIDLoRA(io.ComfyNode):
    """Makes the ID-LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [_hyper_lora_input(), IDCondSocket.Input("id_cond", tooltip="From HyperLoRA ID Cond.")]
        name = "HyperLoRA Generate ID LoRA"
        return _schema("HyperLoRAGenerateIDLoRA", name, "HyperLoRA Generate LoRA", inputs, [_lora_output()])

    @classmethod
    def execute(cls, hyper_lora: LoadedHyperLoRA, id_cond: Identity) -> io.NodeOutput:
        return io.NodeOutput(generate(hyper_lora.network, id_cond, id_weight=1.0, cache=cache()))


class HyperLoRAGenerateBaseLoRA(io.ComfyNode):
    """Makes the Base-LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [_hyper_lora_input(), BaseCondSocket.Input("base_cond", tooltip="From HyperLoRA Base Cond.")]
        name = "HyperLoRA Generate Base LoRA"
        return _schema("HyperLoRAGenerateBaseLoRA", name, "HyperLoRA Generate LoRA", inputs, [_lora_output()])

    @classmethod
    def execute(cls, hyper_lora: LoadedHyperLoRA, base_cond: Identity) -> io.NodeOutput:
        return io.NodeOutput(generate(hyper_lora.network, base_cond, base_weight=1.0, cache=cache()))


class HyperLoRAUniGenerateIDLoRA(io.ComfyNode):
    """Makes the ID-LoRA of photos."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [
            _hyper_lora_input(),
            _images_input(),
            *_background_inputs(),
            on_no_face_input(optional=True),
            _order_input(),
        ]
        name = "HyperLoRA Uni Generate ID LoRA"
        return _schema("HyperLoRAUniGenerateIDLoRA", name, "HyperLoRA Portrait", inputs, [_lora_output()])

    @classmethod
    def execute(
        cls,
        hyper_lora: LoadedHyperLoRA,
        images: Tensor,
        grayscale: bool,
        remove_background: bool,
        order: str,
        on_no_face: str = "error",
    ) -> io.NodeOutput:
        references, remarks = _faces(hyper_lora, images, on_no_face, order)
        network = hyper_lora.network
        identity, _ = encode_id(network, hyper_lora.clip(), references, remove_background, grayscale, cache())
        return io.NodeOutput(generate(network, identity, id_weight=1.0, cache=cache()), ui=remarks.ui())


class HyperLoRAApplyLoRA(io.ComfyNode):
    """Applies a LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [
            io.Model.Input("model", tooltip="An SDXL model."),
            LoraSocket.Input("lora", tooltip="A LoRA that HyperLoRA generated."),
            io.Float.Input(
                "weight",
                default=0.8,
                min=-WEIGHT_LIMIT,
                max=WEIGHT_LIMIT,
                step=0.01,
                tooltip="How strongly the LoRA is applied; 0 leaves the model as it is.",
            ),
        ]
        outputs = [io.Model.Output(display_name="MODEL")]
        return _schema("HyperLoRAApplyLoRA", "HyperLoRA Apply LoRA", "HyperLoRA Apply LoRA", inputs, outputs)

    @classmethod
    def execute(cls, model: ModelPatcher, lora: Mapping[str, Tensor], weight: float) -> io.NodeOutput:
        return io.NodeOutput(apply_lora(model, lora, weight))


class HyperLoRASaveLoRA(io.ComfyNode):
    """Saves a LoRA below the output folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [
            io.String.Input(
                "filename_prefix",
                default="lora/id_lora",
                tooltip="The file's name below the output folder; a number is added.",
            ),
            LoraSocket.Input("lora", tooltip="A LoRA that HyperLoRA generated."),
        ]
        name = "HyperLoRA Save LoRA"
        return _schema("HyperLoRASaveLoRA", name, "HyperLoRA Save LoRA", inputs, [], is_output_node=True)

    @classmethod
    def execute(cls, filename_prefix: str, lora: Mapping[str, Tensor]) -> io.NodeOutput:
        _, shown = save_lora(lora, filename_prefix, folder_paths.get_output_directory(), DTYPES["fp16"])
        return io.NodeOutput(ui=shown)


NODES: tuple[type[io.ComfyNode], ...] = (
    HyperLoRAConfig,
    HyperLoRALoader,
    HyperLoRAUniLoader,
    HyperLoRAFaceAttr,
    HyperLoRAIDCond,
    HyperLoRABaseCond,
    HyperLoRAGenerateIDLoRA,
    HyperLoRAGenerateBaseLoRA,
    HyperLoRAUniGenerateIDLoRA,
    HyperLoRAApplyLoRA,
    HyperLoRASaveLoRA,
)
