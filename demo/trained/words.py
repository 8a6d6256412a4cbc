"""What the small base's text encoders know: the tokens of the world's words, and one vector for any other word."""

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from demo.comfyui import comfyui
from demo.drawn import people, scenes

LENGTH = 77
BEGIN, END = 49406, 49407
PADS = (END, 0)
"""What the first and the second text encoder of SDXL are filled up with."""

_UNKNOWN = 0
_FILLED = 0.3  # the share of the captions that hold words of no meaning
_FILLING = 6  # at most so many
_DROPPED = 0.1  # the share of the captions that say nothing
_PERSON_SAID = 0.35  # the share in which the person is described


@cache
def tokenizer_folder() -> Path:
    """CLIP's tokenizer as ComfyUI carries it."""
    return comfyui() / "comfy" / "sd1_tokenizer"


@cache
def _tokens() -> dict[str, list[int]]:
    """Each word of the world, and the comma -> CLIP's tokens."""
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(str(tokenizer_folder()))
    return {word: tokenizer(word, add_special_tokens=False)["input_ids"] for word in sorted(_vocabulary())}


def _vocabulary() -> set[str]:
    vocabulary = {",", "photo", "portrait"}
    for text in [*scenes.every_phrase(), *people.every_description()]:
        vocabulary |= set(_split(text))
    return vocabulary


def _split(text: str) -> list[str]:
    return text.replace(",", " ,").split()


@cache
def known() -> Tensor:
    """The tokens that have vectors of their own, in order, ``(V,)`` int64; the i-th has row ``i + 1`` of the table."""
    tokens = {token for encoded in _tokens().values() for token in encoded}
    return torch.tensor(sorted(tokens | {0, BEGIN, END}))


def rows(tokens: Tensor) -> Tensor:
    """Tokens of CLIP -> rows of the small table."""
    at = torch.searchsorted(known(), tokens)
    return torch.where(known()[at.clamp(max=len(known()) - 1)] == tokens, at + 1, _UNKNOWN)


def full_table(small: Tensor, vocabulary: int = 49408) -> Tensor:
    """The small table ``(V + 1, width)`` -> one of all tokens, each other one with the vector of the unknown."""
    table = small[_UNKNOWN].expand(vocabulary, -1).clone()
    table[known()] = small[1:]
    return table


def caption_rows(scene: scenes.Scene, persons: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Captions as the base is trained with them: some say nothing, some hold words that mean nothing.

    Args:
        scene: N of them.
        persons: ``(N, T)``.
        generator: draws which words a caption has, and their order.

    Returns:
        For each text encoder ``(N, 77)``, rows of the small table.
    """
    encoders_rows: tuple[list[Tensor], list[Tensor]] = ([], [])
    for number, person in enumerate(persons):
        drawn = torch.rand(3, generator=generator).tolist()
        descriptions = people.described(person) if drawn[0] < _PERSON_SAID else []
        text = scenes.caption(scene, number, descriptions, generator)
        tokens = [token for word in _split(text) for token in _tokens()[word]]
        caption = rows(torch.tensor(tokens)).tolist()
        if drawn[1] < _FILLED:
            for _ in range(int(drawn[1] / _FILLED * _FILLING) + 1):
                caption.insert(int(torch.randint(len(caption) + 1, (), generator=generator)), _UNKNOWN)
        if drawn[2] < _DROPPED:
            caption = []
        first, last, pads = rows(torch.tensor([BEGIN, END])), rows(torch.tensor([END])), rows(torch.tensor(PADS))
        sequence = torch.cat([first[:1], torch.tensor(caption[: LENGTH - 2], dtype=torch.long), last])
        for batch, pad in zip(encoders_rows, pads, strict=True):
            batch.append(torch.cat([sequence, pad.expand(LENGTH - len(sequence))]))
    return torch.stack(encoders_rows[0]), torch.stack(encoders_rows[1])
