"""What a run is told: the recipes of the paper's stages, each a set of plain values.

The paper (arXiv 2503.16944) gives the stages, their steps, ranks, K, accumulation and the shares of the scenarios. It
says nothing of learning rate, optimizer, batch, resolution and dropout: those are ours.
"""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HyperLoRAError
from ..trigger_words import TRIGGER_WORDS
from .objective import check_noise
from .shape import NetworkShape
from .stages import STAGES, stage

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Scenario:
    """How a share of the samples is drawn.

    Attributes:
        share: of all samples.
        trigger: whether the prompt begins with the trigger words.
        id: whether the ID-LoRA acts.
        base: whether the Base-LoRA acts.
    """

    share: float
    trigger: bool
    id: bool
    base: bool


ID_SCENARIOS = (
    Scenario(0.9, trigger=True, id=True, base=True),
    Scenario(0.05, trigger=True, id=True, base=False),
    Scenario(0.05, trigger=False, id=False, base=False),
)
"""The paper's three shares; which LoRAs act in each is our reading of it."""

BASE_SCENARIOS = (Scenario(1.0, trigger=False, id=False, base=True),)


@dataclass(frozen=True)
class Optimization:
    """How weights are changed; ours, for the paper does not say.

    Attributes:
        learning_rate: of everything but the bases.
        bases_learning_rate: of the bases, which begin at zero.
        warmup: steps over which both rise to their full value.
        decay: share of the run over which they fall to zero at its end, along a cosine; 0 keeps them.
        weight_decay: AdamW's, on matrices alone.
        betas: AdamW's.
        max_grad_norm: gradients longer than this are shortened to it.
        eight_bit: AdamW's state in 8 bits (bitsandbytes, on CUDA).
        ema: how much of its past the moving average keeps a step; 0 keeps none.

    Raises:
        HyperLoRAError: a value cannot be.
    """

    learning_rate: float = 1e-4
    bases_learning_rate: float = 1e-4
    warmup: int = 500
    decay: float = 0.2
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = 1.0
    eight_bit: bool = False
    ema: float = 0.0

    def __post_init__(self) -> None:
        for name, fits, expected in (
            ("learning_rate", self.learning_rate >= 0, "0 or more"),
            ("bases_learning_rate", self.bases_learning_rate >= 0, "0 or more"),
            ("warmup", self.warmup >= 0, "0 or more"),
            ("decay", 0 <= self.decay <= 1, "a share from 0 to 1"),
            ("weight_decay", self.weight_decay >= 0, "0 or more"),
            ("betas", all(0 <= beta < 1 for beta in self.betas), "two numbers from 0 to below 1"),
            ("max_grad_norm", self.max_grad_norm > 0, "a number above 0"),
            ("ema", 0 <= self.ema < 1, "a number from 0 to below 1"),
        ):
            if not fits:
                raise HyperLoRAError(f"optimization.{name} is {getattr(self, name)}: {expected} was expected")


@dataclass(frozen=True)
class IdentityConfig:
    """The identity loss, which is beyond the paper; see ``identity_loss``.

    Attributes:
        weight: of it beside the noise loss; 0 leaves it out.
        faces: the folder of the face models (antelopev2's) that judge.
        of: what is judged: "drawn", pictures that are drawn from noise in a few steps; or "predicted", what the UNet
            takes the noised picture for, which costs little beside the noise loss.
        until: of "predicted": the share of the timesteps, from that with the least noise on, at which it is judged;
            later ones show no face.
        unet: of "drawn": the few-step UNet: a diffusers folder, or a .safetensors file of a UNet of the base model's
            shape; empty for the base model's own.
        steps: of "drawn": in which a picture is drawn.
        grad_steps: of these, through how many at the end gradients flow.
        resolution: of "drawn": side of the picture, pixels.

    Raises:
        HyperLoRAError: a value cannot be.
    """

    weight: float = 0.0
    faces: str = ""
    of: str = "drawn"
    until: float = 0.5
    unet: str = ""
    steps: int = 4
    grad_steps: int = 1
    resolution: int = 512

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise HyperLoRAError(f"identity.weight is {self.weight:g}: 0 or more was expected")
        if self.of not in ("drawn", "predicted"):
            raise HyperLoRAError(f"identity.of is {self.of!r}: drawn or predicted was expected")
        if not 0 < self.until <= 1:
            raise HyperLoRAError(f"identity.until is {self.until:g}: a share above 0, up to 1, was expected")
        if self.of == "predicted" and self.unet:
            raise HyperLoRAError("identity.unet draws pictures: it goes with identity.of drawn")
        if not 1 <= self.grad_steps <= self.steps:
            raise HyperLoRAError(
                f"identity.grad_steps is {self.grad_steps}: from 1 to identity.steps, {self.steps}, was expected"
            )
        if not self.weight and (self.faces or self.unet):
            raise HyperLoRAError("identity.faces and identity.unet are the identity loss's: give --identity.weight too")
        if self.weight and not self.faces:
            raise HyperLoRAError("the identity loss needs face models: name their folder with --identity.faces")


@dataclass(frozen=True)
class ValidationConfig:
    """How a run is judged on the way, by people of the set whom no step sees; see ``validation``.

    Attributes:
        people: how many are held out, of those with two photos or more that are known by name; 0 holds out none.
        every: optimizer steps between two validations.
        samples: over which the loss is taken.
        portraits: people whose portraits are drawn and compared with them, where ``faces`` is given.
        faces: the folder of the face models (those of the set) that compare; empty to draw none.
        steps: of sampling a portrait.
        guidance: weight of its prompt.

    Raises:
        HyperLoRAError: a value cannot be.
    """

    people: int = 0
    every: int = 500
    samples: int = 64
    portraits: int = 8
    faces: str = ""
    steps: int = 20
    guidance: float = 3.0

    def __post_init__(self) -> None:
        if self.people < 0:
            raise HyperLoRAError(f"validation.people is {self.people}: 0 or more was expected")
        for name in ("every", "samples", "portraits", "steps"):
            if getattr(self, name) < 1:
                raise HyperLoRAError(f"validation.{name} is {getattr(self, name)}: a number of 1 or more was expected")
        if self.faces and not self.people:
            raise HyperLoRAError(
                "validation.faces compares portraits with people that are held out: give --validation.people too"
            )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What any run is told, whatever it trains.

    Attributes:
        steps: optimizer steps.
        base: the base model: a diffusers folder, a checkpoint, a name on the Hugging Face hub, or sdxl, ssd-1b, vega or
            sd15; for --plan a folder or one of these four.
        trigger_words: what prompts begin with, without the comma.
        caption_dropout: share of the samples whose caption is left out.
        resolution: side of the target, pixels; a multiple of 64.
        smallest_crop: smallest side of the random cut over the picture's shorter side, unless the face needs more; 1
            cuts nothing off a square picture.
        caption_cache: megabytes of encoded captions that each process keeps; 0 encodes each caption every time.
        latent_cache: megabytes of what the VAE made of pictures that each process keeps; of use where their cuts do not
            vary (smallest_crop 1).
        samples_per_step: samples an optimizer step, over all processes.
        batch: samples a process and forward pass; their gradients are accumulated over a step's passes.
        optimization: how weights are changed.
        min_snr_gamma: cap of the signal-to-noise ratio in the loss's weights, often 5; None for the paper's plain loss.
        face_weight: what the face's place weighs in the loss, beside 1 elsewhere; the paper's loss has 1.
        noise_offset: standard deviation of what is added to each channel of the noise as a whole; 0 for none.
        gradient_checkpointing: compute the UNet's activations again instead of keeping them.
        compile: torch.compile the UNet.
        mixed_precision: "no", "fp16" or "bf16", of the UNet and the encoders; what trains stays in float32.
        seed: of everything that is drawn; the recipes have one each, so that a stage does not begin with the samples of
            the one before.
        save_every: optimizer steps between two checkpoints.

    Raises:
        HyperLoRAError: a value cannot be.
    """

    steps: int
    base: str = ""
    trigger_words: str = TRIGGER_WORDS
    caption_dropout: float = 0.1
    resolution: int = 1024
    smallest_crop: float = 0.5
    caption_cache: int = 512
    latent_cache: int = 0
    samples_per_step: int = 512
    batch: int = 4
    optimization: Optimization = field(default_factory=Optimization)
    min_snr_gamma: float | None = None
    face_weight: float = 1.0
    noise_offset: float = 0.0
    gradient_checkpointing: bool = True
    compile: bool = False
    mixed_precision: str = "bf16"
    seed: int = 0
    save_every: int = 1000

    def __post_init__(self) -> None:
        for name in ("steps", "samples_per_step", "batch", "resolution", "save_every"):
            if getattr(self, name) < 1:
                raise HyperLoRAError(f"{name} is {getattr(self, name)}: a number of 1 or more was expected")
        if self.mixed_precision not in ("no", "fp16", "bf16"):
            raise HyperLoRAError(f"mixed_precision is {self.mixed_precision!r}: one of no, fp16, bf16 was expected")
        if self.compile and self.gradient_checkpointing:
            raise HyperLoRAError(
                "a compiled UNet cannot be checkpointed: add --no-gradient-checkpointing, or do not compile"
            )
        if not 0 <= self.caption_dropout <= 1:
            raise HyperLoRAError(f"caption_dropout is {self.caption_dropout:g}: a share from 0 to 1 was expected")
        if not 0 < self.smallest_crop <= 1:
            raise HyperLoRAError(f"smallest_crop is {self.smallest_crop:g}: a share above 0, up to 1, was expected")
        for name in ("caption_cache", "latent_cache"):
            if getattr(self, name) < 0:
                raise HyperLoRAError(f"{name} is {getattr(self, name)}: 0 megabytes or more was expected")
        if self.face_weight <= 0:
            raise HyperLoRAError(f"face_weight is {self.face_weight:g}: a number above 0 was expected")
        check_noise(self.min_snr_gamma, self.noise_offset)

    def accumulation(self, processes: int) -> int:
        """Passes an optimizer step on so many processes.

        Raises:
            HyperLoRAError: a step's samples cannot be shared out so.
        """
        passes, remainder = divmod(self.samples_per_step, self.batch * processes)
        if remainder:
            raise HyperLoRAError(
                f"samples_per_step is {self.samples_per_step}, which {processes} processes cannot take in passes of "
                f"{self.batch}: a multiple of {self.batch * processes} is needed"
            )
        return passes

    def to_json(self) -> str:
        """As it lies beside a checkpoint."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def load(cls, path: Path) -> "Self":
        """Read what ``to_json`` wrote.

        Raises:
            HyperLoRAError: it is not that.
        """
        try:
            return cls(**cls._values(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HyperLoRAError(f"{path} is no configuration of a training run: {error}") from error

    @classmethod
    def _values(cls, json_values: dict[str, Any]) -> dict[str, Any]:
        """Values out of their JSON."""
        optimization = json_values["optimization"]
        return json_values | {"optimization": Optimization(**optimization | {"betas": tuple(optimization["betas"])})}


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """A run of one of the stages.

    Attributes:
        stage: "base", "id_clip" or "id_embed".
        data: the training set, which ``hyperlora prepare`` made.
        clip: the CLIP tower: a file or its folder.
        start: checkpoint to begin with, of the stage before or released, which settles the shape; empty for a fresh
            one, with which id_embed has nothing to train.
        also_train: groups of parameters that train beside the stage's own, as --plan names them.
        shape: of a fresh network.
        scenarios: how samples are drawn.
        references: most reference photos of a person a sample.
        other_photo: the reference is another photo of the person than the target, where there is one.
        identity: the identity loss.
        validation: by whom the run is judged on the way.
        photo_cache: megabytes of cut photos that each process that reads keeps, 0.4 a photo of 128 pixels, 3.5 of 1024;
            of use for a small set whose cuts do not vary (smallest_crop 1).
        sample_every: optimizer steps between two grids of pictures; 0 draws none.
        workers: processes that read ahead, beside each that trains.

    Raises:
        HyperLoRAError: a value cannot be.
    """

    stage: str
    data: str = ""
    clip: str = ""
    start: str = ""
    also_train: tuple[str, ...] = ()
    shape: NetworkShape = field(default_factory=NetworkShape)
    scenarios: tuple[Scenario, ...] = ID_SCENARIOS
    references: int = 1
    other_photo: bool = False
    identity: IdentityConfig = field(default_factory=IdentityConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    photo_cache: int = 0
    sample_every: int = 1000
    workers: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        trained = stage(self.stage)
        for name in ("workers", "photo_cache"):
            if getattr(self, name) < 0:
                raise HyperLoRAError(f"{name} is {getattr(self, name)}: 0 or more was expected")
        if trained.learns == "base" and (self.references > 1 or self.other_photo):
            raise HyperLoRAError(
                f"the stage {self.stage} reads the target's own photo alone: references and other_photo are for the "
                "stages of the ID-LoRA"
            )
        if self.references < 1:
            raise HyperLoRAError(f"references is {self.references}: a number of 1 or more was expected")
        if self.sample_every < 0:
            raise HyperLoRAError(f"sample_every is {self.sample_every}: 0 or more was expected")
        total = sum(scenario.share for scenario in self.scenarios)
        if not abs(total - 1) <= 1e-6 or any(scenario.share < 0 for scenario in self.scenarios):
            raise HyperLoRAError(f"the scenarios' shares sum to {total:g}: shares from 0 that sum to 1 were expected")
        learned = trained.learns
        if not any(getattr(scenario, learned) for scenario in self.scenarios if scenario.share):
            raise HyperLoRAError(
                f"the stage {self.stage} trains the {'ID' if learned == 'id' else 'Base'}-LoRA, which acts in none of "
                f"the scenarios: set {learned} in one whose share is above 0"
            )

    def scenario(self, drawn: float) -> Scenario:
        """The scenario of a sample, by a number drawn from [0, 1)."""
        for scenario in self.scenarios:
            drawn -= scenario.share
            if drawn < 0:
                return scenario
        return self.scenarios[-1]

    @classmethod
    def _values(cls, json_values: dict[str, Any]) -> dict[str, Any]:
        values = super()._values(json_values)
        for setting in fields(cls):  # groups of settings; a group that the file was written without has its defaults
            if isinstance(setting.default_factory, type) and isinstance(group := values.get(setting.name, {}), dict):
                values[setting.name] = setting.default_factory(**group)
        return values | {
            "also_train": tuple(json_values["also_train"]),
            "scenarios": tuple(Scenario(**scenario) for scenario in json_values["scenarios"]),
        }


RECIPES = {
    "base": TrainConfig("base", steps=STAGES["base"].steps, scenarios=BASE_SCENARIOS),
    "id_clip": TrainConfig("id_clip", steps=STAGES["id_clip"].steps, seed=1),
    "id_embed": TrainConfig("id_embed", steps=STAGES["id_embed"].steps, seed=2),
}
"""The paper's stages, for sixteen cards of 80 GB: with 4 samples a pass they accumulate over the paper's 8."""


def on_24_gb(config: TrainConfig) -> TrainConfig:
    """A recipe for one card of 24 GB: half as many bases, AdamW in 8 bits, one sample a pass."""
    return replace(
        config,
        shape=replace(config.shape, bases=64),
        batch=1,
        samples_per_step=32,
        optimization=replace(config.optimization, eight_bit=True),
        gradient_checkpointing=True,
    )
