"""The types that travel along wires, and the inputs that several nodes share."""

import comfy.samplers
from comfy_api.latest import io

from ...hyperlora_core.errors import HyperLoRAError, shortened
from ...hyperlora_core.faces.references import ON_NO_FACE
from ...hyperlora_core.files.encoders import OTHER_ENCODERS
from .settings import NO_FACE

CATEGORY = "HyperLoRA"

HyperLoraModel = io.Custom("HYPER_LORA")
Faces = io.Custom("HYPER_LORA_FACES")
IdentitySocket = io.Custom("HYPER_LORA_IDENTITY")
SliderSocket = io.Custom("HYPER_LORA_SLIDER")
Blocks = io.Custom("HYPER_LORA_BLOCKS")
ScheduleSocket = io.Custom("HYPER_LORA_SCHEDULE")
LoraSocket = io.Custom("LORA,LORA_MODEL")


def hyper_lora_input() -> io.Input:
    """The loaded HyperLoRA."""
    return HyperLoraModel.Input("hyper_lora", tooltip="From Load HyperLoRA.")


def photos_input() -> io.Input:
    """One or several photos of one person, of any sizes; each slot may hold a batch."""
    return io.Autogrow.Input(
        "images",
        template=io.Autogrow.TemplatePrefix(
            io.Image.Input("image", tooltip="A photo of the person, or a batch of photos."),
            prefix="image",
            min=1,
            max=16,
        ),
        tooltip="One or several photos of the same person. Connect as many as you have: they may differ in size.",
    )


def identities_input(name: str, prefix: str, least: int, tooltip: str) -> io.Input:
    """One or several identities; a free slot appears as they are connected."""
    return io.Autogrow.Input(
        name,
        template=io.Autogrow.TemplatePrefix(
            IdentitySocket.Input(prefix, tooltip=tooltip), prefix=prefix, min=least, max=16
        ),
        tooltip=tooltip,
    )


def loras_input(tooltip: str) -> io.Input:
    """One or several people's LoRAs; a free slot appears as they are connected."""
    return io.Autogrow.Input(
        "loras",
        template=io.Autogrow.TemplatePrefix(
            LoraSocket.Input("lora", tooltip="From HyperLoRA Generate LoRA."), prefix="lora", min=1, max=16
        ),
        tooltip=tooltip,
    )


def schedule_input(tooltip: str) -> io.Input:
    """A strength that changes while a picture is sampled."""
    return ScheduleSocket.Input("schedule", optional=True, tooltip=f"{tooltip} From HyperLoRA Schedule.")


def on_no_face_input(optional: bool = False) -> io.Input:
    """What to do about a photo without a face; optional where API prompts may lack it."""
    return io.Combo.Input(
        "on_no_face",
        options=list(ON_NO_FACE),
        default=NO_FACE.value(),
        optional=optional,
        tooltip="A photo in which no face is found: stop with an error that names it; or skip it and go on with the "
        "others; or bypass, which does the same, and lets the model through as it is where no photo is left.",
    )


def turn_upright_input() -> io.Input:
    """What to do about a head that lies on its side; optional, as API prompts may lack it."""
    return io.Boolean.Input(
        "turn_upright",
        default=True,
        optional=True,
        tooltip="Turn a photo on which the head lies on its side or upside down: turned by more than 30 degrees a face "
        "is read as another person's. The node says which photos were turned.",
    )


def other_encoders_input() -> io.Input:
    """What to do about encoders that the HyperLoRA was not trained with; optional, as API prompts may lack it."""
    return io.Combo.Input(
        "other_encoders",
        options=list(OTHER_ENCODERS),
        default=OTHER_ENCODERS[0],
        optional=True,
        tooltip="A CLIP or face model other than this HyperLoRA was trained with, as buffalo_l in place of antelopev2: "
        "refuse it, or allow it and accept another likeness.",
    )


def sampling_inputs(denoise: float) -> list[io.Input]:
    """As KSampler's, at what suits the released models."""
    return [
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=0xFFFFFFFFFFFFFFFF,
            control_after_generate=True,
            tooltip="Of the noise; the first where several are tried.",
        ),
        io.Int.Input("steps", default=20, min=1, max=10000, tooltip="How many steps a picture takes."),
        io.Float.Input(
            "cfg",
            default=5.0,
            min=0.0,
            max=100.0,
            step=0.1,
            round=0.01,
            tooltip="How closely the prompt is followed. 5 suits the released models.",
        ),
        io.Combo.Input(
            "sampler_name",
            options=comfy.samplers.KSampler.SAMPLERS,
            default="dpmpp_2m",
            tooltip="As in KSampler; dpmpp_2m suits the released models.",
        ),
        io.Combo.Input(
            "scheduler",
            options=comfy.samplers.KSampler.SCHEDULERS,
            default="karras",
            tooltip="As in KSampler; karras suits the released models.",
        ),
        io.Float.Input(
            "denoise",
            default=denoise,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="How much is drawn anew: 1 all of it, 0 nothing.",
        ),
    ]


def numbers(text: str) -> list[float]:
    """Numbers of a text field, with commas or spaces between.

    Raises:
        HyperLoRAError: one cannot be read.
    """
    try:
        return [float(word) for word in text.replace(",", " ").replace(";", " ").split()]
    except ValueError as error:
        raise HyperLoRAError(f"{shortened(text)} cannot be read: numbers were expected, as in '1, 0.5, 1'") from error


def weight_input(name: str, default: float, tooltip: str) -> io.Input:
    """A strength; 0 is off."""
    return io.Float.Input(name, default=default, min=-100.0, max=100.0, step=0.01, tooltip=tooltip)


def id_weight_input() -> io.Input:
    """Strength of the ID-LoRA."""
    return weight_input("id_weight", 0.8, "How strongly the person is drawn. 0.75 to 0.85 suits the released models.")
