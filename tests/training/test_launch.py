"""The launch configurations that ship: Accelerate reads them, and they say what their comments do."""

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

import hyperlora_core.training

LAUNCH = Path(hyperlora_core.training.__file__).parent / "launch"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("one_gpu", "NO"), ("multi_gpu", "MULTI_GPU"), ("deepspeed_zero2", "DEEPSPEED"), ("fsdp2", "FSDP")],
)
def test_accelerate_reads_them(name, kind):
    config = load_config_from_file(str(LAUNCH / f"{name}.yaml"))
    assert config.distributed_type.value == kind
    parsed = launch_command_parser().parse_args(
        ["--config_file", str(LAUNCH / f"{name}.yaml"), "-m", "hyperlora_core.training", "id_clip"]
    )
    told, _, _ = _validate_launch_command(parsed)
    assert told.mixed_precision == "no" and told.module, "the command says which precision"
    assert (told.use_deepspeed, told.use_fsdp, told.multi_gpu) == (
        kind == "DEEPSPEED",
        kind == "FSDP",
        kind == "MULTI_GPU",
    )
    if kind == "DEEPSPEED":
        assert told.zero_stage == 2
    if kind == "FSDP":
        assert int(told.fsdp_version) == 2


def test_all_that_ship_are_looked_at():
    assert {path.stem for path in LAUNCH.glob("*.yaml")} == {"one_gpu", "multi_gpu", "deepspeed_zero2", "fsdp2"}
