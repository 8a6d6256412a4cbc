"""The LoRA value: names, combination, files."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hyperlora_core import HyperLoRAError, LoRA
from hyperlora_core.lora.names import canonical_attention_name, canonical_name, flat_name, kohya_names
from hyperlora_core.lora.value import combine, in_one_copy

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


def kohya_table() -> set[str]:
    """The modules of SDXL's UNet that kohya's sd-scripts train LoRAs of: what its own code lists, ``LoRANetwork``."""
    return set((Path(__file__).parent / "golden" / "kohya_sdxl_unet.txt").read_text().split())


def test_all_names_of_sdxl_are_kohyas_own():
    """By diffusers' names, sd-scripts find no module, and train or merge nothing without a word."""
    targets, table = sdxl_targets(), kohya_table()
    names = kohya_names(targets)
    assert len(set(names.values())) == 560 and list(names) == targets
    attentions = {name for name in table if "_attn" in name}
    assert len(table) == 722 and set(names.values()) == attentions
    assert names[targets[0]] == "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
    assert names[targets[3]].endswith("_attn1_to_out_0")


def test_both_ways_of_naming_are_read():
    targets = sdxl_targets()
    assert [canonical_name(name) for name in kohya_names(targets).values()] == targets
    assert [canonical_name(flat_name(name)) for name in targets] == targets
    assert canonical_attention_name(flat_name(ATTENTION)) == ATTENTION
    assert flat_name(targets[0]) == "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"


def test_stable_diffusion_1_keeps_diffusers_names_in_whole():
    """So has kohya it; a file with some of each would lose half in diffusers."""
    targets = [f"{place}.transformer_blocks.0.attn1.to_q" for place in ("down_blocks.0.attentions.1", ATTENTION[:26])]
    assert list(kohya_names(targets).values()) == [flat_name(name) for name in targets]


@pytest.mark.parametrize(
    "name",
    [
        "lora_te1_text_model_encoder_layers_0_mlp_fc1",
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_ff_net_2",
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn3_to_q",
        "down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q",
        "lora_unet_input_blocks_0_1_transformer_blocks_0_attn1_to_q",
        "lora_unet_input_blocks_3_1_transformer_blocks_0_attn1_to_q",
        "lora_unet_input_blocks_4_0_transformer_blocks_0_attn1_to_q",
        f"lora_unet_input_blocks_{'4' * 5000}_1_transformer_blocks_0_attn1_to_q",
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(HyperLoRAError, match="names no attention projection"):
        canonical_name(name)


def test_it_is_a_dict_of_kohya_keys():
    lora = lora_of(f"{ATTENTION}.to_q")
    key = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
    assert list(lora) == [f"{key}.lora_down.weight", f"{key}.lora_up.weight", f"{key}.alpha"]
    assert lora[f"{key}.lora_down.weight"].shape == (8, 32)
    assert lora[f"{key}.lora_up.weight"].shape == (48, 8)
    assert lora[f"{key}.alpha"] == 4


@pytest.mark.parametrize("alphas", [True, False])
def test_a_file_by_diffusers_names_is_read(tmp_path, alphas):
    """As earlier versions wrote it; without alphas a LoRA counts whole."""
    lora = lora_of(alpha=None if alphas else 8.0)
    state = {}
    for name, factors in lora.factors():
        state |= {f"{flat_name(name)}.lora_down.weight": factors.down, f"{flat_name(name)}.lora_up.weight": factors.up}
        state |= {f"{flat_name(name)}.alpha": torch.tensor(factors.alpha)} if alphas else {}
    save_file(state, tmp_path / "old.safetensors", lora.file_metadata())
    loaded = LoRA.load(tmp_path / "old.safetensors")
    assert loaded.keys() == lora.keys() and all(torch.equal(loaded[key], lora[key]) for key in lora)
    assert loaded.metadata == lora.file_metadata()


def test_a_file_with_one_target_under_both_names_is_refused(tmp_path):
    name = f"{ATTENTION}.to_q"
    keys = [
        f"{key}.lora_{way}.weight" for key in (flat_name(name), *kohya_names([name]).values()) for way in ("up", "down")
    ]
    save_file({key: torch.ones(2, 2) for key in keys}, tmp_path / "twice.safetensors")
    with pytest.raises(HyperLoRAError, match="changes the same projections twice"):
        LoRA.load(tmp_path / "twice.safetensors")


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
