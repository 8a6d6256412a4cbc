"""The reference that speed is measured against is right."""

import torch

from benchmarks.reference import Reference


def test_the_reference_gives_the_golden_numbers(golden_checkpoint, golden):
    reference = Reference(golden_checkpoint)
    inputs = golden["input.id_embed"][:, 0], golden["input.clip_hidden"]
    coefficients = reference.coefficients(*inputs)
    torch.testing.assert_close(coefficients, golden["expect.id_coefficients"][0], rtol=0, atol=1e-5)
    base = reference.base_coefficients(golden["input.base_clip_hidden"])
    torch.testing.assert_close(base, golden["expect.base_coefficients"][0], rtol=0, atol=1e-5)
    for kind, given in (("id", coefficients), ("base", base)):
        lora = reference.lora(given, kind)
        expected = {name: value for name, value in golden.items() if name.startswith(f"expect.{kind}_lora.")}
        assert len(expected) == 36
        for name, value in expected.items():
            found = lora[name.removeprefix(f"expect.{kind}_lora.")]
            assert (found - value).abs().max() <= 1e-5 * value.abs().max(), name
