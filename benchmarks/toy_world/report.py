"""The report: written anew from whatever is measured."""

from pathlib import Path

import torch

from . import figures, personal, tables
from .base import Base
from .base_training import Recipe
from .measured import Measured
from .measuring import COUNT, RESULTS
from .sampling import STEPS as SAMPLER_STEPS
from .task import SHAPE
from .variants import BATCH, OPTIMIZATION

_SET_UP = """\
## The world

- Portraits of 32 x 32 pixels, drawn from ten numbers a person (four colours, six of geometry) and a scene: eight
  backgrounds, eight clothings, light, pose, jitter. New people at every step; {people} that no run saw are measured.
- The base is a diffusers `UNet2DConditionModel` of {unet:.1f} M parameters, {attentions} attentions, on 4 x 4-pixel
  patches, trained for {base_steps} steps of {base_batch} pictures, v-prediction (computed by way of the clean picture),
  cosine schedule moved towards noise.
- As SDXL knows "wide-set eyes", the base was taught words for the ten numbers, each in five steps, beside background,
  clothing, light and pose; every word is left out half the time. **Prompts of training and of measuring say background
  and clothing alone**, and, in training, half the time nothing.
- In AntelopeV2's place: a CNN whose unit embedding ({embed} numbers, with noise) was trained to tell the person. In
  CLIP's place: a CNN of 16 tokens, trained to tell everything, the person in three steps a number. The ID branch's CLIP
  stand-in sees the whole reference, background and all. The Base branch's sees it with head and hair greyed.
- The judge is a third CNN, of another shape, another seed and other pictures. Backgrounds are read off the upper
  corners, where there is nothing else.
- The hypernetwork has {hyper:.2f} M parameters: K {bases}, ranks {id_rank} and {base_rank}, width {dim}, depth {depth}.
  Stages, freezing, gate, scenarios, loss, loop and export are `hyperlora_core.training`'s own. Batch {batch}.
- The loss is `Objective`'s with two things of this world's own: a velocity's error is weighed so that it is the clean
  picture's, and timesteps are drawn more often the noisier they are.
- Learning rate {rate:g}, of the bases {bases_rate:g}.
- DDIM, {sampler} steps, no guidance, the same noise in every way of drawing.

**NRMSE**: error over the parameter's spread; 1.41 is an unrelated person, 1 a constant guess, 0 the person.
**Obeys**: correlation of the drawn background's colour with the prompted word's; **leaks**: with the reference's, which
is always of another word, so that who obeys leaks a little less than nothing. Intervals hold 95%, bootstrapped over
people, not over seeds; ± is half of one.
"""

_PERSONAL = """\
What `hyperlora finetune` does: a LoRA training of one person on {photos} photos, {batch} samples a step, begun from the
LoRA that the HyperLoRA (seed 0) makes of four of their photos, and from nothing, with ranks and alphas alike. NRMSE of
all ten after so many steps; {people} people, {pictures} pictures of each."""

_LIMITS = """\
- SDXL. That stages, gate, freezing, loss, optimizer, resuming and export work together, and that they learn, is shown
  on a world in which a person is ten numbers; how well a face is kept by SDXL is not.
- Prediction of noise, the paper's: the base predicts velocities.
- A distribution shift: people in training and in measuring are drawn alike, though none twice.
- A base that knows no words for faces: this one was taught them, as SDXL was.
- Long training: the paper's 90 000 steps of many samples are some thousands of {batch} here."""


def write(folder: Path = RESULTS) -> Path:
    """Write the report and its figures.

    Returns:
        The report's path.
    """
    measured = Measured(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pictures, plots = figures.grid(measured, folder), figures.plots(measured, folder)
    shown = [
        name for name, path in (("pictures", pictures), ("plots", plots)) if path or (folder / f"{name}.png").exists()
    ]
    parts = [
        "# Toy world: does the training code learn?",
        "Written by `make toy-world` from the JSON files beside it. A number that is not there was not measured.",
        "## Targets\n\nSet before the runs.",
        tables.targets(measured),
        *[f"![{name}]({name}.png)" for name in shown],
        _set_up().strip(),
        "## What each stage draws\n\nPrompted with background and clothing, unless it says otherwise.",
        tables.states(measured),
        tables.last_stage(measured),
        "## The ten parameters, NRMSE\n\nWhat the judge misreads on real pictures, what the base makes when it is told "
        "the person in words of five steps, and what the LoRAs make.",
        tables.parameters(measured),
        "## The full recipe, seed by seed\n\nStage 3, the ID-LoRA.",
        tables.each_seed(measured),
        "## Strength of the ID-LoRA",
        tables.strengths(measured),
        '## What decides\n\nStage 3, the ID-LoRA. "Off": that attention of the resampler adds nothing.',
        tables.deciders(measured),
        "What stage 2 teaches CLIP stays: after it, each of the two tells who it is. Without it the embedding does.",
        tables.carriers(measured),
        "## Ablations\n\nThe ID-LoRA's differences from the full recipe at the same stage, or at stage 3. Below 0 in "
        "NRMSE is better. The ID-LoRA's steps are equal but where it says otherwise. A row of one seed is a "
        "first look.",
        tables.ablations(measured),
        "## Personalising\n\n" + _PERSONAL.format(**vars(personal.Recipe())),
        tables.personalised(measured),
        "## What it took\n\nOne thread each, two runs side by side.",
        tables.minutes(measured),
        "## What is not shown\n\n" + _LIMITS.format(batch=BATCH),
        "## Not run\n\n" + _missing(measured),
    ]
    path = folder / "report.md"
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _set_up() -> str:
    from hyperlora_core.doors.diffusers.unet import attention_modules
    from hyperlora_core.network.hyperlora import HyperLoRA

    with torch.device("meta"):
        base = Base()
    modules = attention_modules(base.unet)
    network = HyperLoRA(SHAPE.config(modules), device="meta")
    recipe = Recipe()
    return _SET_UP.format(
        people=COUNT,
        unet=_millions(base.unet),
        attentions=len(modules),
        base_steps=recipe.steps,
        base_batch=recipe.batch,
        embed=SHAPE.id_embed_dim,
        hyper=_millions(network),
        bases=SHAPE.bases,
        id_rank=SHAPE.id_rank,
        base_rank=SHAPE.base_rank,
        dim=SHAPE.dim,
        depth=SHAPE.depth,
        batch=BATCH,
        sampler=SAMPLER_STEPS,
        rate=OPTIMIZATION["id_embed"]["learning_rate"],
        bases_rate=OPTIMIZATION["id_embed"]["bases_learning_rate"],
    )


def _missing(measured: Measured) -> str:
    lines = [f"- {leg.name}, {leg.all_steps} steps" for leg in measured.missing]
    if measured.plain is None:
        lines.insert(0, "- the base alone")
    if measured.personal is None:
        lines.append("- personalising")
    return "\n".join(lines) or "Nothing of it is left out."


def _millions(module: torch.nn.Module) -> float:
    return sum(value.numel() for value in module.parameters()) / 1e6
