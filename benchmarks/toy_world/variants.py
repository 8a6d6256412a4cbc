"""What is trained, and in which order: legs, each a run of one stage that goes on from another leg's end.

A variant is a chain of legs. Legs are shared: without stage 2 the HyperLoRA begins with the same stage 1 as the full
recipe of the same seed.
"""

from dataclasses import dataclass, replace

from hyperlora_core.training.config import BASE_SCENARIOS, ID_SCENARIOS, Optimization, Scenario, TrainConfig

from . import base_training
from .recipe import recipe_hash
from .task import SHAPE

STEPS = {"base": 400, "id_clip": 1300, "id_embed": 1500}
BATCH = 16
SEEDS = (0, 1, 2)
_SOURCES = ("world.py", "words.py", "base.py", "encoders.py", "task.py", "people.py", "sampling.py")
OPTIMIZATION = {
    "base": {"learning_rate": 5e-4, "bases_learning_rate": 1e-3, "warmup": 40, "decay": 0.4},
    "id_clip": {"learning_rate": 5e-4, "bases_learning_rate": 1e-3, "warmup": 40, "decay": 0.4},
    "id_embed": {"learning_rate": 5e-4, "bases_learning_rate": 1e-3, "warmup": 40, "decay": 0.4},
}
_OF_STAGE_2 = ("id_bases", "output", "queries", "self_attention", "feed_forward")


@dataclass(frozen=True)
class Leg:
    """A run of one stage.

    Attributes:
        variant: of which it is a part.
        seed: of all that is drawn.
        stage: "base", "id_clip" or "id_embed".
        parent: the leg from whose end it goes on; None: it begins afresh.
        steps: optimizer steps.
        also_train: groups that train beside the stage's own.
        with_base: whether there are Base parts.
        other_photo: whether the reference is another photo of the person than the target.
        rates: factor of the learning rates.
    """

    variant: str
    seed: int
    stage: str
    parent: "Leg | None" = None
    steps: int = 0
    also_train: tuple[str, ...] = ()
    with_base: bool = True
    other_photo: bool = False
    rates: float = 1

    @property
    def name(self) -> str:
        """As its files are called."""
        return f"{self.variant}-{self.stage}-{self.seed}"

    @property
    def recipe(self) -> str:
        """Hash of all that it follows from, the legs before it and the world included."""
        own = {name: value for name, value in vars(self).items() if name not in ("parent", "variant", "rates")}
        before = self.parent and self.parent.recipe
        values = (BATCH, self._optimization, self.all_steps, own, self._scenarios, before)
        return recipe_hash(_SOURCES, base_training.Recipe(), SHAPE, *values)

    @property
    def all_steps(self) -> int:
        """Optimizer steps."""
        return self.steps or STEPS[self.stage]

    @property
    def _optimization(self) -> dict[str, float]:
        rates = ("learning_rate", "bases_learning_rate")
        return {name: value * (self.rates if name in rates else 1) for name, value in OPTIMIZATION[self.stage].items()}

    @property
    def _scenarios(self) -> tuple[Scenario, ...]:
        if self.stage == "base":
            return BASE_SCENARIOS
        return tuple(Scenario(each.share, each.trigger, each.id, each.base and self.with_base) for each in ID_SCENARIOS)

    def config(self) -> TrainConfig:
        """What the loop is told."""
        return TrainConfig(
            stage=self.stage,
            steps=self.all_steps,
            also_train=self.also_train,
            shape=SHAPE if self.with_base else replace(SHAPE, base_rank=0),
            samples_per_step=BATCH,
            batch=BATCH,
            scenarios=self._scenarios,
            other_photo=self.other_photo,
            resolution=32,
            optimization=Optimization(**self._optimization),
            gradient_checkpointing=False,
            mixed_precision="no",
            seed=1000 * (self.seed + 1) + list(STEPS).index(self.stage),
            save_every=200,
            sample_every=0,
        )


def full(seed: int) -> tuple[Leg, Leg, Leg]:
    """The paper's three stages."""
    base = Leg("full", seed, "base")
    clip = Leg("full", seed, "id_clip", base)
    return base, clip, Leg("full", seed, "id_embed", clip)


def legs() -> list[Leg]:
    """All, the most telling first; a leg comes after its parent."""
    whole = {seed: full(seed) for seed in SEEDS}
    base, clip, _ = whole[0]
    both = STEPS["id_clip"] + STEPS["id_embed"]
    no_base = {seed: Leg("no-base", seed, "id_clip", with_base=False) for seed in SEEDS}
    other = {seed: Leg("other-photo", seed, "id_clip", whole[seed][0], other_photo=True) for seed in SEEDS}
    return [
        *whole[0],
        *whole[1],
        *whole[2],
        no_base[0],
        Leg("thawed", 0, "id_embed", clip, also_train=("id_bases", "output")),
        Leg("no-stage-2", 0, "id_embed", base, steps=both, also_train=_OF_STAGE_2),
        Leg("stage-2-only", 0, "id_clip", base, steps=both),
        other[0],
        Leg("other-photo", 0, "id_embed", other[0], other_photo=True),
        Leg("fast", 0, "base", rates=4),
        *[no_base[seed] for seed in SEEDS[1:]],
        Leg("no-base", 0, "id_embed", no_base[0], with_base=False),
        *[Leg("thawed", seed, "id_embed", whole[seed][1], also_train=("id_bases", "output")) for seed in SEEDS[1:]],
        *[
            leg
            for seed in SEEDS[1:]
            for leg in (other[seed], Leg("other-photo", seed, "id_embed", other[seed], other_photo=True))
        ],
        *[Leg("stage-2-only", seed, "id_clip", whole[seed][0], steps=both) for seed in SEEDS[1:]],
        *[
            Leg("no-stage-2", seed, "id_embed", whole[seed][0], steps=both, also_train=_OF_STAGE_2)
            for seed in SEEDS[1:]
        ],
        *[Leg("no-base", seed, "id_embed", no_base[seed], with_base=False) for seed in SEEDS[1:]],
    ]
