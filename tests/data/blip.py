"""A BLIP-2 that is one by its classes and files alone: small, of random weights. Its captions mean nothing."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessor,
    PreTrainedTokenizerFast,
)

WORDS = ("a", "man", "woman", "in", "the", "with", "of", "photo", "portrait", "smiling", "red", "blue")
_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")


def random_blip2(folder: Path) -> Path:
    """Write one to a folder."""
    vocabulary = {word: number for number, word in enumerate((*_SPECIAL, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    pad, begin, end, unknown, image = _SPECIAL
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        bos_token=begin,
        eos_token=end,
        unk_token=unknown,
        additional_special_tokens=[image],
    )
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Blip2Config(
        vision_config=small | {"intermediate_size": 64, "image_size": 28, "patch_size": 14},
        qformer_config=small | {"vocab_size": 30, "intermediate_size": 64, "encoder_hidden_size": 32},
        text_config=small
        | {"model_type": "opt", "vocab_size": len(vocabulary), "ffn_dim": 64, "max_position_embeddings": 128}
        | {"word_embed_proj_dim": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
        num_query_tokens=4,
        image_token_index=4,
    )
    torch.manual_seed(0)
    Blip2ForConditionalGeneration(config).save_pretrained(folder)
    picture = BlipImageProcessor(size={"height": 28, "width": 28})
    Blip2Processor(picture, wrapped, num_query_tokens=4).save_pretrained(folder)
    return folder
