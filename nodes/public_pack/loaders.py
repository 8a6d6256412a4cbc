"""The nodes that load a checkpoint: Config and Loader, and UniLoader, which is both."""

from dataclasses import dataclass

from comfy_api.latest import io

from ...hyperlora_core.errors import HyperLoRAError, shortened
from ...hyperlora_core.network.config import HyperLoRAConfig as CheckpointConfig
from ..host.folders import clip_files, clip_processors, face_folders, hyper_lora_models, stamp_of_models
from ..host.progress import Remarks
from ..host.sockets import HyperLoraModel, other_encoders_input
from ..models import AUTO, FACE_MODEL, LoadedHyperLoRA, load_hyper_lora
from .shared import ConfigSocket, deprecated

PROCESSOR, ENCODER = "clip_vit_large_14_processor", "clip_vit_large_14"
ENCODER_TYPES = ("clip", "arcface", "clip + arcface")


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
        return deprecated("HyperLoRAConfig", "HyperLoRA Config", "Load HyperLoRA", inputs, outputs)

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
        return deprecated("HyperLoRALoader", "HyperLoRA Loader", "Load HyperLoRA", inputs, outputs)

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
        return deprecated("HyperLoRAUniLoader", "HyperLoRA Uni Loader", "Load HyperLoRA", inputs, outputs)

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
