"""How a run does on people whom it never saw: the loss with its LoRAs and without, and the likeness of portraits.

The same samples each time, with the same noise: what changes from one validation to the next is the network. The
reference is always another photo than the target, so that copying it does not help.
"""

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import torch
from PIL import Image

from ..faces import FaceAnalyzer
from ..files.encoders import check_face
from ..judging.likeness import Person, judge
from .config import Scenario
from .forward import GeneratedLoRAs, Matrices, of_sample
from .held_out import held_out
from .loop import Run
from .losses import Batch, predict
from .portraits import Portraits, PortraitTask
from .targets import prompt

FILE = "validation.jsonl"
"""Where in a run's folder each validation is a line."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Validated:
    """What a validation found; None where it was not looked for.

    Attributes:
        step: of the run.
        loss: mean over the samples, with the LoRAs.
        loss_without: the same of the base model alone.
        likeness: mean cosine of the portraits' faces with another photo of the person; one without a face counts 0.
        likeness_without: the same of the base model alone, by the same prompts and seeds.
        likeness_photos: of two photos of one person.
        faces: the share of the portraits on which a face was found.
    """

    step: int
    loss: float
    loss_without: float
    likeness: float | None = None
    likeness_without: float | None = None
    likeness_photos: float | None = None
    faces: float | None = None

    def __str__(self) -> str:
        text = f"validation: loss {self.loss:.5f}, without LoRAs {self.loss_without:.5f}"
        if self.likeness is not None:
            text += (
                f"; likeness {self.likeness:.3f}, without {self.likeness_without:.3f}, of two photos "
                f"{self.likeness_photos:.3f}; a face on {self.faces:.0%}"
            )
        return text

    def numbers(self) -> dict[str, float]:
        """By the names that a run's log has."""
        return {
            f"validation/{name}": value for name, value in vars(self).items() if name != "step" and value is not None
        }


class Validation:
    """The people who are held out, and how they are looked at.

    Args:
        task: what the run learns on.

    Raises:
        HyperLoRAError: too few people are known by name, or the face models are not those of the set.
    """

    def __init__(self, task: PortraitTask) -> None:
        self.task, settings = task, task.config.validation
        own = task.portraits
        learned = "id" if "id" in own.makes else "base"
        scenario = Scenario(1.0, trigger=learned == "id", id="id" in own.makes, base="base" in own.makes)
        config = replace(
            task.config, scenarios=(scenario,), caption_dropout=0.0, other_photo=learned == "id", references=1, seed=0
        )
        people = held_out(own.shards, settings.people)
        places = [place for name in people for place in own.shards.by_person()[name]]
        self.portraits = Portraits(own.shards, config, own.clip_size, own.makes, places)
        self._analyzer = FaceAnalyzer.load(settings.faces) if settings.faces and "id" in own.makes else None
        if self._analyzer is not None:
            check_face(own.shards.info.face_encoder, self._analyzer.embedder, "never")
        firsts = [own.shards.by_person()[name][0] for name in people[: settings.portraits]]
        self._drawn = Portraits(own.shards, config, own.clip_size, own.makes, firsts)
        self._alone: list[Image.Image] = []  # what the base model does never changes

    def due(self, step: int) -> bool:
        """Whether a step ends with a validation."""
        return step % self.task.config.validation.every == 0

    @torch.no_grad()
    def look(self, run: Run[GeneratedLoRAs], folder: Path) -> Validated:
        """Validate a run's network, with the moving average of its weights where one is kept.

        Args:
            run: at the end of a step.
            folder: of the run; a line is added to its ``FILE``, and to its log.
        """
        with run.averaged():
            loss, loss_without = self._losses(run)
            result = Validated(run.progress.step, loss, loss_without)
            if self._analyzer is not None:
                result = self._likeness(run, result)
        with (folder / FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(vars(result)) + "\n")
        run.accelerator.log(result.numbers(), step=result.step)
        log.info("%s", result)
        return result

    def _losses(self, run: Run[GeneratedLoRAs]) -> tuple[float, float]:
        config, task = self.task.config, self.task
        totals = torch.zeros(2)
        for first in range(0, config.validation.samples, config.batch):
            numbers = range(first, min(first + config.batch, config.validation.samples))
            batch = task.batch([self.portraits[number] for number in numbers])
            with run.half():
                matrices = run.loras(batch.conditions)
            with run.injection.active(matrices):
                totals[0] += self._loss(batch)
            totals[1] += self._loss(batch)
        loss, loss_without = (totals / config.validation.samples).tolist()
        return loss, loss_without

    def _loss(self, batch: Batch) -> float:
        unet, objective = self.task.unet, self.task.objective
        prediction = predict(objective, unet, next(unet.parameters()).dtype, batch, 0)
        return float(
            objective.losses(prediction.predicted, prediction.target, prediction.timesteps, batch.weights).sum()
        )

    def _likeness(self, run: Run[GeneratedLoRAs], result: Validated) -> Validated:
        task, config, shards = self.task, self.task.config, self.task.portraits.shards
        assert self._analyzer is not None
        places = self._drawn.places
        portraits = [self._drawn.portrait(i, place) for i, place in enumerate(places)]
        prompts = [prompt(config.trigger_words, shards[place].caption) for place in places]
        conditions = task.conditions(portraits)
        off = torch.zeros(len(portraits), device=conditions.present.device)
        with run.half():
            matrices = run.loras(replace(conditions, id_on=off + 1, base_on=off))
        drawn = [self._draw(prompts[i], i, run, of_sample(matrices, i)) for i in range(len(places))]
        if not self._alone:
            self._alone = [self._draw(text, i) for i, text in enumerate(prompts)]
        scores, without, photos = [], [], []
        for i, place in enumerate(places):
            embed = torch.from_numpy(shards[place].embed).float()
            person = Person(embed[None], (1.0,), self._analyzer.embedder)
            with_lora, without_lora = judge(self._analyzer, person, [drawn[i], self._alone[i]])
            scores.append(with_lora.score)
            without.append(without_lora.score)
            photos.append(person.likeness(portraits[i].embeds[0]))
        return replace(
            result,
            likeness=fmean(score or 0.0 for score in scores),
            likeness_without=fmean(score or 0.0 for score in without),
            likeness_photos=fmean(photos),
            faces=fmean(score is not None for score in scores),
        )

    def _draw(
        self, text: str, seed: int, run: Run[GeneratedLoRAs] | None = None, matrices: Matrices | None = None
    ) -> Image.Image:
        config = self.task.config
        within = None if run is None or matrices is None else run.injection.active(matrices)
        size = (config.resolution, config.resolution)
        (picture,) = self.task.base.draw(
            [text], [seed], size, config.validation.steps, config.validation.guidance, within
        )
        return picture
