"""The LoRA value: names, combination, files."""

import pytest
import torch
from safetensors import safe_open

from hyperlora_core import HyperLoRAError, LoRA
from hyperlora_core.lora import canonical_name, combine, in_one_copy, kohya_name

ATTENTION = "down_blocks.1.attentions.0.transformer_blocks.0.attn1"


def lora_of(*names: str, rank: int = 8, alpha: float | None = None, seed: int = 0) -> LoRA:
    generator = torch.Generator().manual_seed(seed)
    return LoRA.from_matrices(
        (
            (name, torch.randn(rank, 32, generator=generator), torch.randn(48, rank, generator=generator))
            for name in names or (f"{ATTENTION}.to_q", f"{ATTENTION}.to_out.0")
        ),
        alpha=rank / 2 if alpha is None else alpha,
        metadata={"maker": "test"},
    )


def deltas(lora: LoRA) -> dict[str, torch.Tensor]:
    return {name: factors.scale * factors.up @ factors.down for name, factors in lora.factors()}


def sdxl_targets() -> list[str]:
    """The 560 projections of SDXL's 70 transformer blocks, by diffusers' layout of the UNet."""
    places = [(f"down_blocks.1.attentions.{i}", 2) for i in range(2)]
    places += [(f"down_blocks.2.attentions.{i}", 10) for i in range(2)]
    places += [("mid_block.attentions.0", 10)]
    places += [(f"up_blocks.0.attentions.{i}", 10) for i in range(3)]
    places += [(f"up_blocks.1.attentions.{i}", 2) for i in range(3)]
    return [
        f"{place}.transformer_blocks.{block}.{attention}.{projection}"
        for place, depth in places
        for block in range(depth)
        for attention in ("attn1", "attn2")
        for projection in ("to_q", "to_k", "to_v", "to_out.0")
    ]


def test_all_names_of_sdxl_go_to_kohya_and_back():
    targets = sdxl_targets()
    assert len(set(targets)) == 560
    assert [canonical_name(kohya_name(name)) for name in targets] == targets
    assert kohya_name(targets[0]) == "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    assert kohya_name(targets[3]).endswith("_attn1_to_out_0")


@pytest.mark.parametrize(
    "name",
    [
        "lora_te1_text_model_encoder_layers_0_mlp_fc1",
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_ff_net_2",
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn3_to_q",
        "down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q",
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(HyperLoRAError, match="names no attention projection"):
        canonical_name(name)


def test_it_is_a_dict_of_kohya_keys():
    lora = lora_of(f"{ATTENTION}.to_q")
    key = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    assert list(lora) == [f"{key}.lora_down.weight", f"{key}.lora_up.weight", f"{key}.alpha"]
    assert type(lora.kohya_state_dict()) is dict
    assert lora[f"{key}.lora_down.weight"].shape == (8, 32)
    assert lora[f"{key}.lora_up.weight"].shape == (48, 8)
    assert lora[f"{key}.alpha"] == 4


def test_a_combined_lora_does_what_its_parts_do():
    first = lora_of(seed=1)
    second = lora_of(f"{ATTENTION}.to_q", f"{ATTENTION}.to_k", rank=4, alpha=3.0, seed=2)
    combined = combine([(first, 0.8), (second, -0.4)])
    expected = {name: 0.8 * delta for name, delta in deltas(first).items()}
    for name, delta in deltas(second).items():
        expected[name] = expected.get(name, 0) - 0.4 * delta
    found = deltas(combined)
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-5)
    assert combined.rank == 12


def test_a_part_of_weight_zero_is_left_out():
    lora, other = lora_of(), lora_of(rank=4)
    assert combine([(lora, 1.0), (other, 0.0)]) is lora
    assert combine([(lora, 0.0)]) == {}
    assert combine([(lora, 0.5)]).rank == 8


def test_a_file_comes_back_as_it_was(tmp_path):
    lora = lora_of()
    path = lora.save(tmp_path / "new folder" / "person.safetensors")
    loaded = LoRA.load(path)
    assert list(loaded) and loaded.keys() == lora.keys()
    assert all(torch.equal(loaded[key], lora[key]) for key in lora)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {
            "ss_network_module": "networks.lora",
            "ss_network_dim": "8",
            "ss_network_alpha": "4",
            "maker": "test",
        }
    assert [file.name for file in path.parent.iterdir()] == ["person.safetensors"]


def test_a_lora_of_several_ranks_says_dynamic():
    mixed = combine([(lora_of(f"{ATTENTION}.to_q"), 1.0), (lora_of(f"{ATTENTION}.to_k", rank=4), 1.0)])
    assert mixed.file_metadata()["ss_network_dim"] == "Dynamic"


def test_rounding_leaves_alpha_alone():
    rounded = lora_of(alpha=0.1234567).to(torch.float16)
    assert {tensor.dtype for key, tensor in rounded.items() if key.endswith("weight")} == {torch.float16}
    assert {tensor.dtype for key, tensor in rounded.items() if key.endswith("alpha")} == {torch.float32}
    assert rounded.metadata == {"maker": "test"}


def test_a_failed_save_keeps_the_file_that_was_there(tmp_path):
    path = lora_of().save(tmp_path / "person.safetensors")
    before = path.read_bytes()
    broken = lora_of()
    broken["not a tensor"] = "text"  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        broken.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_other_users_may_read_a_file_as_they_may_any_other(tmp_path):
    (tmp_path / "other").touch()
    path = lora_of().save(tmp_path / "person.safetensors")
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_an_empty_lora_is_not_saved(tmp_path):
    with pytest.raises(HyperLoRAError, match="nothing to save"):
        LoRA().save(tmp_path / "empty.safetensors")
    assert not list(tmp_path.iterdir())


def test_another_kind_of_file_is_no_lora(tmp_path):
    from safetensors.torch import save_file

    save_file({"unet.attn.to_q.lora_A.weight": torch.ones(2, 2)}, tmp_path / "peft.safetensors")
    with pytest.raises(HyperLoRAError, match=r"no kohya LoRA.*lora_A"):
        LoRA.load(tmp_path / "peft.safetensors")


def test_matrices_are_brought_to_a_device_together(tmp_path):
    tensors = [torch.randn(3, 4).mT, torch.randn(2), torch.tensor(5.0)]
    moved = in_one_copy(tensors, "cpu")
    assert len({tensor.untyped_storage().data_ptr() for tensor in moved}) == 1
    assert all(map(torch.equal, moved, tensors))
    matrices = [("mid_block.attentions.0.transformer_blocks.0.attn1.to_q", *in_one_copy(tensors[:1] * 2, "cpu"))]
    saved = LoRA.from_matrices(matrices, 4.0).save(tmp_path / "one_storage.safetensors")
    ((_, factors),) = LoRA.load(saved).factors()
    assert torch.equal(factors.down, tensors[0]) and torch.equal(factors.up, tensors[0])


def test_one_number_that_is_not_finite_is_seen():
    lora = LoRA({"a": torch.full((8,), 6e4, dtype=torch.float16), "b": torch.zeros(3, 2)})
    assert lora.is_finite and lora.cpu() is lora and LoRA().is_finite
    for wrong in (float("nan"), float("inf"), -float("inf")):
        lora["b"][1, 1] = wrong
        assert not lora.is_finite
