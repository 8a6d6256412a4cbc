"""The small base: a UNet and two text encoders in the classes that SDXL has, narrow, trained on drawn people.

Each width divides SDXL's, so that what is computed here is computed in SDXL's shape too, number for number: see
``padding``. Shapes: N pictures.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from demo.drawn import people, scenes
from demo.drawn.drawing import colours, draw

from . import pictures, words
from .fitting import Recipe, fit

WIDTH = 80
TEXT_WIDTHS = (128, 64)
POOLED = 64
SIZE_NUMBERS = 16  # of each of the six sizes that SDXL is told

UNET = {
    "sample_size": 16,
    "block_out_channels": (WIDTH,) * 3,
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "mid_block_type": "UNetMidBlock2D",
    "transformer_layers_per_block": (1, 1, 2),
    "attention_head_dim": 2,  # diffusers means the number of heads
    "norm_num_groups": 8,
    "cross_attention_dim": sum(TEXT_WIDTHS),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": SIZE_NUMBERS,
    "projection_class_embeddings_input_dim": POOLED + 6 * SIZE_NUMBERS,
    "use_linear_projection": True,
    "time_embedding_dim": 2 * WIDTH,
}
SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "num_train_timesteps": 1000,
}
SIZES = (128, 128, 0, 0, 128, 128)
"""What the UNet is told of sizes while it is trained."""

ROUNDS = (
    Recipe(steps=6000, batch=24, rate=6e-4, decay=0.3, average=0.999),
    Recipe(steps=5000, batch=24, rate=6e-4, decay=0.5, average=0.999, seed=1),
    Recipe(steps=4500, batch=24, rate=5e-4, decay=0.5, average=0.998, seed=2),
)
"""Each goes on from the one before. The first learns all but glasses and smiles, which are so small that they are lost
in the loss of everything else: the second weighs the places where such words act. Still what attention says settles a
face's outline and colours alone, the rest comes of the noise, and no LoRA on attention could draw a given person. SDXL
knows thousands of people by name, and so attends to who it is; in the third round this base is mostly told too, by a
vector beside the words, and the places where people differ weigh more. That vector goes away with the training."""

_KNOWN = 0.8  # share of the samples of the third round that are told who it is
_MORE_SEEN = 8  # numbers of a person beside the traits, see ``seen_of``
_MORE = 2.0  # what places that matter weigh beside 1, at their mean


def text_config(encoder: int, tokens: int) -> CLIPTextConfig:
    """Of the first (0) or second (1) text encoder. SDXL reads the layer before the last, so there are two."""
    width = TEXT_WIDTHS[encoder]
    return CLIPTextConfig(
        vocab_size=tokens,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=width // 64,
        hidden_act=("quick_gelu", "gelu")[encoder],
        projection_dim=POOLED if encoder else width,
        bos_token_id=0,
        eos_token_id=2,  # by which transformers takes the largest token for the end, as CLIP does
        pad_token_id=1,
    )


class SmallBase(nn.Module):
    """What is trained together.

    Attributes:
        unet: reads latents ``(N, 4, 16, 16)``.
        text_encoder, text_encoder_2: read rows of the small table of tokens, see ``words``.
        who: what is seen of a person, ``(N, T + 8)``, as a vector beside the words; a help of training, which is not
            shipped.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        count = len(words.known()) + 1
        self.unet = UNet2DConditionModel(**UNET)
        self.text_encoder = CLIPTextModel(text_config(0, count))
        self.text_encoder_2 = CLIPTextModelWithProjection(text_config(1, count))
        self.who = nn.Sequential(
            nn.Linear(len(people.TRAITS) + _MORE_SEEN, 128), nn.SiLU(), nn.Linear(128, sum(TEXT_WIDTHS))
        )
        for name, value in self.named_parameters():
            if name.startswith("text_encoder") and ".layers.1." in name:  # so that the last layer changes nothing
                value.requires_grad_(False)
                if name.endswith(("out_proj.weight", "out_proj.bias", "fc2.weight", "fc2.bias")):
                    value.data.zero_()

    def texts(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of the small table, ``(N, 77)`` for each encoder -> ``(N, 77, 192)`` and the pooled ``(N, 64)``."""
        hidden_first = self.text_encoder(first, output_hidden_states=True).hidden_states[-2]
        encoded_second = self.text_encoder_2(second, output_hidden_states=True)
        return torch.cat([hidden_first, encoded_second.hidden_states[-2]], dim=-1), encoded_second.text_embeds

    def forward(self, latents: Tensor, timesteps: Tensor, texts: tuple[Tensor, Tensor]) -> Tensor:
        """The velocity, in the latents' shape."""
        sizes = torch.tensor(SIZES, dtype=torch.float32).expand(len(latents), -1)
        conditions: Mapping[str, Any] = {"text_embeds": texts[1], "time_ids": sizes}
        return self.unet(latents, timesteps, encoder_hidden_states=texts[0], added_cond_kwargs=conditions).sample


def schedule() -> DDPMScheduler:
    """The noise schedule, SDXL's."""
    return DDPMScheduler(**SCHEDULE)


def train(path: Path, latents: Tensor, acting: Sequence[Tensor | None], rounds: Sequence[Recipe] = ROUNDS) -> Path:
    """Train it to the end, or what is left of that.

    Args:
        path: the file of the weights; those of the rounds before the last lie beside it.
        latents: ``(P, 4, 16, 16)`` of ``pictures.drawn_pictures``.
        acting: the places that matter in each round, ``(1, 1, 16, 16)``, of mean 1; None where all matter alike.
        rounds: how, see ``ROUNDS``.
    """
    base, noising = SmallBase(), schedule()
    base.unet.to(memory_format=torch.channels_last)
    persons = pictures.persons(range(len(latents)))
    scene = pictures.settings(range(len(latents)))
    weights, last = torch.ones(()), False

    def loss(generator: torch.Generator, count: int) -> Tensor:
        indices = torch.randint(len(latents), (count,), generator=generator)
        clean = latents[indices].float()
        texts = words.caption_rows(scene.rows(indices), persons[indices], generator)
        noise = torch.randn(clean.shape, generator=generator)
        timesteps = _timesteps(count, generator)
        noised = noising.add_noise(clean, noise, timesteps)
        velocity = noising.get_velocity(clean, noise, timesteps)
        with torch.autocast("cpu", torch.bfloat16):
            tokens, pooled = base.texts(*texts)
            if last:
                with_person = torch.rand(count, 1, 1, generator=generator) < _KNOWN
                tokens = tokens + with_person * base.who(seen_of(persons[indices]))[:, None]
            predicted = base(noised.contiguous(memory_format=torch.channels_last), timesteps, (tokens, pooled))
        return ((predicted.float() - velocity).square() * weights).mean() / weights.mean()

    for number, (recipe, places) in enumerate(zip(rounds, acting, strict=True), 1):
        weights = torch.ones(()) if places is None else 1 + _MORE * places
        last = number == len(rounds)
        fit(path if last else path.with_name(f"{path.stem}-{number}{path.suffix}"), base, loss, recipe)
    return path


def seen_of(persons: Tensor) -> Tensor:
    """People ``(N, T)`` as what is seen of them, in numbers about 0: traits, and more of skin, hair, beard, age."""
    skin, hair = colours(persons)
    traits = dict(zip(people.TRAITS, persons.T, strict=True))
    from_some_on = [traits["beard"] - people.BEARDED, traits["age"] - people.AGED]
    late = torch.stack(from_some_on, dim=1).clamp(min=0) * 6
    return torch.cat([(persons - 0.5) * 3.5, (torch.cat([skin, hair], dim=1) - 0.5) * 4, late], dim=1)


@torch.no_grad()
def where_words_act(small: AutoencoderTiny) -> Tensor:
    """Where in latents glasses, smiles and turned eyes are, each with the same part: ``(1, 1, 16, 16)``, of mean 1."""
    who, where = _some()

    def changed(**values: float | bool) -> Tensor:
        return small.encode(draw(who, where.replace(**values)) * 2 - 1).latents

    plain = changed()
    turned = _spread(changed(gaze=-1.0), plain) + _spread(changed(gaze=1.0), plain)
    return _mean([_spread(changed(glasses=True), plain), _spread(changed(smile=True), plain), turned])


@torch.no_grad()
def where_people_differ(small: AutoencoderTiny) -> Tensor:
    """Where in latents people's traits are, each with the same part: ``(1, 1, 16, 16)``, of mean 1."""
    who, where = _some()

    def changed(trait: int, value: float) -> Tensor:
        other = who.clone()
        other[:, trait] = value
        return small.encode(draw(other, where) * 2 - 1).latents

    return _mean([_spread(changed(trait, 0.1), changed(trait, 0.9)) for trait in range(len(people.TRAITS))])


def _some() -> tuple[Tensor, scenes.Scene]:
    """People with nothing on, to try changes on."""
    count = 48
    where = scenes.scenes(pictures.SCENES_SEED, count).replace(headwear=0, glasses=False, smile=False, gaze=0.0)
    return people.people(pictures.PEOPLE_SEED, range(count)), where


def _spread(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().mean(dim=(0, 1))


def _mean(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack([part / part.mean() for part in parts]).mean(dim=0)[None, None]


def _timesteps(count: int, generator: torch.Generator) -> Tensor:
    """Three in four about where faces take shape, sigmas of 0.5 to 2.5 (after SD3, arXiv 2403.03206), others any."""
    middle = (torch.randn(count, generator=generator) - 0.35).sigmoid()
    anywhere = torch.rand(count, generator=generator)
    share = torch.where(torch.rand(count, generator=generator) < 0.75, middle, anywhere)
    return (share * SCHEDULE["num_train_timesteps"]).long().clamp(max=SCHEDULE["num_train_timesteps"] - 1)
