"""People that no run saw: their photos, their faces' embeddings, and the words of the scenes that are asked for."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from demo import face_pack
from demo.cache import cache_dir, recipe_hash
from demo.drawn import drawing, folder, scenes
from hyperlora_core.faces import FaceAnalyzer
from hyperlora_core.trigger_words import TRIGGER_WORDS

PEOPLE, PHOTOS, SEED = 100, 6, 4711
"""Nobody of another seed is among them."""
GIVEN, JUDGED_BY, MORE = 0, 1, (2, 3, 4, 5)
"""Of a person's photos: the one that the HyperLoRA is given, the one that judges, and more to give."""


@cache
def photos() -> Path:
    """The folder of the photos that were drawn so far, ``person-00012/0.png``."""
    recipe = recipe_hash(*drawing.SOURCES, folder.__file__, __file__)
    return cache_dir() / f"unseen-people-{recipe}"


def photo(person: int, number: int = GIVEN) -> Path:
    """One photo of a person, drawn when it is first asked for."""
    folder.write_people(photos(), SEED, 1, PHOTOS, first=person)
    return photos() / f"person-{person:05d}" / f"{number}.png"


@cache
def asked() -> scenes.Scene:
    """The scenes that are asked for: one a person, and nothing of the person's photos in them."""
    return scenes.scenes(SEED + 1, PEOPLE)


@cache
def bare() -> scenes.Scene:
    """The same scenes with nothing on the face, which looks ahead and does not smile."""
    return asked().replace(headwear=0, glasses=False, smile=False, gaze=0.0)


def prompt(scene: scenes.Scene, number: int) -> str:
    """All that words can say of a scene, behind the trigger words."""
    return told(", ".join([f"{scenes.STYLES[scene.style[number]]} of a person", *scenes.phrases(scene, number)]))


def told(text: str) -> str:
    """A prompt as a HyperLoRA wants it, begun with the trigger words."""
    return f"{TRIGGER_WORDS}, {text}"


@cache
def analyzer() -> FaceAnalyzer:
    """The stand-in face models, which the HyperLoRA reads too."""
    return FaceAnalyzer.load(face_pack.face_pack())


def face(picture: Image.Image) -> Tensor | None:
    """The embedding of the largest face on a picture; None where there is none."""
    found = analyzer().detect(picture, embed=True)
    largest = max(found, key=lambda one: one.area, default=None)
    return None if largest is None or largest.embedding is None else torch.from_numpy(largest.embedding)


@cache
def embedding(person: int, number: int = JUDGED_BY) -> Tensor:
    """A person's embedding on one of their photos, ``(512,)``; NaN where no face is found on it."""
    found = face(Image.open(photo(person, number)).convert("RGB"))
    return torch.full((512,), torch.nan) if found is None else found


@cache
def gallery(number: int = JUDGED_BY) -> Tensor:
    """Everybody's ``embedding``, ``(PEOPLE, 512)``."""
    return torch.stack([embedding(person, number) for person in range(PEOPLE)])


@cache
def known() -> Tensor:
    """Everybody as a gallery knows them, by the mean embedding of all photos but the given one, ``(PEOPLE, 512)``.

    One photo, with glasses or a smile on it, is not enough to know somebody by: of the photos that are given, a quarter
    would be taken for another's.
    """
    mean = torch.stack([gallery(number) for number in (JUDGED_BY, *MORE)]).nanmean(dim=0)
    return torch.nn.functional.normalize(mean, dim=-1)


def rank(embed: Tensor | None, person: int) -> int | None:
    """How many of all people are more like a face than its person is, 0 where nobody is; None without a face."""
    if embed is None:
        return None
    cosines = known() @ embed
    return int((cosines > cosines[person]).sum())


def pixels(pictures: Sequence[Image.Image]) -> Tensor:
    """``(N, 3, H, W)`` in [0, 1]."""
    from torchvision.transforms.functional import to_tensor

    return torch.stack([to_tensor(picture.convert("RGB")) for picture in pictures])
