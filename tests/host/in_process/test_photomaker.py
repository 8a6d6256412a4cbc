"""PhotoMaker's trigger word in ComfyUI's tokenizer."""

from hyperlora_core.evaluation.methods import shipped


def test_photomakers_word_is_a_segment_of_its_own(comfy):
    """ComfyUI's node drops the trigger word's tokens and marks the token before them, which must be the class word."""
    from comfy.sdxl_clip import SDXLTokenizer

    tokenizer, method = SDXLTokenizer(), shipped()["photomaker"]
    text = method.prompt.replace("{prompt}", "portrait photo of a person wearing a straw hat")
    index = text.split(" ").index("photomaker") + 1
    for tokens in tokenizer.tokenize_with_weights(text, return_word_ids=True).values():
        words = tokenizer.clip_l.untokenize(tokens[0])
        dropped = [word for (*_, number), word in words if number == index]
        plain = [word for (*_, number), word in words if number != index]
        assert "".join(dropped) == "photomaker</w>" and plain[index - 1] == "person</w>", words
