"""Personalising: an ordinary LoRA training of one person, begun from the generated LoRA and from nothing.

What ``hyperlora finetune`` does, with its own learner and the real loop, on photos of people whom no run saw. Both
beginnings see the same samples, at the same learning rates, for the same number of steps. Shapes: P pictures.
"""

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from demo.cache import cache_dir
from hyperlora_core.files import atomic
from hyperlora_core.lora.value import Factors, LoRA
from hyperlora_core.network.hyperlora import HyperLoRA
from hyperlora_core.training import counter
from hyperlora_core.training.acceleration import accelerator_for
from hyperlora_core.training.config import Optimization
from hyperlora_core.training.finetune import FinetuneConfig, OwnLoRA
from hyperlora_core.training.forward import Conditions, GeneratedLoRAs
from hyperlora_core.training.loop import Run
from hyperlora_core.training.losses import Batch

from .base import latents_of, objective
from .encoders import Judge
from .measuring import RESULTS, conditions_of, store
from .people import PHOTOS, SEED, People, people
from .readings import Reading
from .recipe import recipe_hash
from .runs import checkpoint_of
from .sampling import draw
from .task import World, uniforms
from .variants import full
from .words import prompts
from .world import SCENE_DRAWS, Scene, photos, scenes

NAME = "personal"
STARTS = ("generated", "nothing")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """What is trained, and when it is looked at.

    Attributes:
        people: who are trained, one after the other.
        photos: of each, trained on.
        pictures: drawn of each, at each mark.
        marks: steps after which pictures are drawn; the last is the end.
        rates: learning rates.
        batch: samples a step.
    """

    people: int = 12
    photos: int = 8
    pictures: int = 4
    marks: tuple[int, ...] = (0, 10, 25, 50)
    rates: tuple[float, ...] = (3e-4, 3e-3, 1e-2)
    batch: int = 4


class PersonTask:
    """Implements ``hyperlora_core.training.loop.Task`` for a person's photos.

    Args:
        world: the frozen parts.
        identity: the person, ``(10,)``.
        scene: of each photo.
        seed: of what is drawn.

    Attributes:
        unet: the base's.
        objective: its loss.
    """

    def __init__(self, world: World, identity: Tensor, scene: Scene, seed: int) -> None:
        self.world, self.seed = world, seed
        self.unet = world.base.unet
        self.objective = objective()
        self._scene = scene
        self._latents = latents_of(photos(identity.expand(len(scene.light), -1), scene))

    def batches(self, passes: Iterator[range]) -> Iterator[Batch]:
        """See ``Task.batches``."""
        return map(self.batch, passes)

    def batch(self, samples: range) -> Batch:
        """The samples of a pass: a photo each, its background and clothing said nine times of ten."""
        photo = counter.integers(self.seed, samples, "picture", len(self._latents))
        said = uniforms(self.seed, samples, "said", 1)[:, 0] < 0.9
        words = prompts(self._scene.background[photo], self._scene.clothing[photo], said, torch.ones_like(said))
        on = torch.ones(len(samples))
        return Batch(
            samples,
            self._latents[photo],
            Conditions(id_on=on, base_on=on, present=on[:, None]),
            {"encoder_hidden_states": self.world.base.words(words)},
        )


def recipe(asked: Recipe | None = None) -> str:
    """Hash of all that it follows from."""
    return recipe_hash(("personal.py", "people.py", "sampling.py"), asked or Recipe(), full(0)[-1].recipe)


def measure_personal(parts: World, reader: Judge, asked: Recipe | None = None, results: Path = RESULTS) -> bool:
    """Train and measure all people, from the first that was not yet; whether it was to the end."""
    asked = asked or Recipe()
    folder = cache_dir() / "toy-world-runs" / f"{NAME}-{recipe(asked)}"
    folder.mkdir(parents=True, exist_ok=True)
    some = people(asked.people)
    starts = generated(parts, some)
    found: list[dict[str, list]] = []
    for number, lora in enumerate(starts):
        path = folder / f"{number}.json"
        if not path.exists():
            drawn = _person(number, lora, some, parts, asked)
            if drawn is None:
                return False
            told = {name: Reading.of(pictures, reader).to_json() for name, pictures in drawn.items()}
            atomic.write_text(path, json.dumps(told))
            log.info("%s: %d of %d people", NAME, number + 1, asked.people)
        found.append(json.loads(path.read_text()))
    whole = {
        name: [
            {part: [each[name][part][picture] for each in found] for part in found[0][name]}
            for picture in range(asked.pictures)
        ]
        for name in found[0]
    }
    store(NAME, {"recipe": recipe(asked), "people": asked.people, **whole}, results)
    return True


def way(start: str, rate: float, step: int) -> str:
    """The name of what is measured: a beginning, a learning rate, a number of steps."""
    return f"{start}, {rate:g}, {step}"


def generated(parts: World, some: People) -> list[LoRA]:
    """What the full recipe's HyperLoRA makes of each person's photos."""
    network = HyperLoRA.load(checkpoint_of(full(0)[-1]))
    with torch.no_grad():
        rows = GeneratedLoRAs(network, frozenset({"id"})).id_rows(conditions_of(parts, some, 1, 0, PHOTOS))
        return network.id_loras(rows)


def untrained(like: LoRA, seed: int) -> LoRA:
    """A LoRA of the same shape that changes nothing yet, as peft begins one."""
    numbers = torch.Generator().manual_seed(seed)
    factors = {}
    for name, each in like.factors():
        down = nn.init.kaiming_uniform_(torch.empty_like(each.down), a=math.sqrt(5), generator=numbers)
        factors[name] = Factors(down, torch.zeros_like(each.up), each.alpha)
    return LoRA.of_factors(factors)


def _person(number: int, lora: LoRA, some: People, parts: World, asked: Recipe) -> dict[str, Tensor] | None:
    """What a person is drawn like, ``(P, 3, 32, 32)`` by ``way``; None where it was told to stop."""
    scene = scenes(uniforms(SEED, range(number * 1000, number * 1000 + asked.photos), "own photo", SCENE_DRAWS))
    task = PersonTask(parts, some.identity[number], scene, SEED + 1 + number)
    noise = counter.normal(SEED, range(number * 1000, number * 1000 + asked.pictures), "own noise", (48, 8, 8))
    said = torch.ones(asked.pictures, dtype=torch.bool)
    words = prompts(
        some.background[number].expand(asked.pictures), some.clothing[number].expand(asked.pictures), said, said
    )
    drawn: dict[str, Tensor] = {}

    def look(name: str, run: Run[OwnLoRA]) -> None:
        def predict(latents: Tensor, times: Tensor, rows: slice) -> Tensor:
            with run.injection.active(run.loras(task.batch(range(1)).conditions)):
                return parts.base(latents, times, words[rows])

        drawn[name] = draw(predict, noise, parts.base.patch)

    for start in STARTS:
        for rate in asked.rates:
            config = FinetuneConfig(
                steps=asked.marks[-1],
                samples_per_step=asked.batch,
                batch=asked.batch,
                resolution=32,
                gradient_checkpointing=False,
                mixed_precision="no",
                seed=SEED + 1 + number,
                optimization=Optimization(learning_rate=rate, warmup=5),
            )
            learner = OwnLoRA(lora if start == "generated" else untrained(lora, number))
            with TemporaryDirectory() as folder:
                run = Run(config, task, learner, Path(folder), accelerator_for(config, Path(folder), cpu=True))
                try:
                    if 0 in asked.marks:
                        look(way(start, rate, 0), run)

                    def on_step(at: Run[OwnLoRA], loss: float, start: str = start, rate: float = rate) -> None:
                        if at.progress.step in asked.marks:
                            look(way(start, rate, at.progress.step), at)

                    if not run.train(on_step):
                        return None
                finally:
                    run.close()
    return drawn
