"""Accelerate as a run needs it, and what the processes of a run share out among them."""

from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedType, PartialState
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin

from ..errors import HyperLoRAError
from .config import RunConfig

DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""``RunConfig.mixed_precision`` -> torch's dtype."""

SHARDING = (DistributedType.DEEPSPEED, DistributedType.FSDP)
"""They shard the trained weights, or their gradients, over the processes."""

_TIMEOUT = timedelta(hours=2)  # only the main process writes states, and the others wait longer than torch's default


def accelerator_for(config: RunConfig, folder: Path, cpu: bool = False) -> Accelerator:
    """The accelerator of a run; the launcher chooses devices and the number of processes.

    It gets ``mixed_precision`` for fp16 only, which needs its gradient scaler. For bf16, DeepSpeed and FSDP would turn
    the trained weights into bf16, and with them their average and the export; ``Run.half`` does autocast instead.

    Args:
        config: of the run.
        folder: of the run; the log goes into it.
        cpu: compute on the CPU even where there is a GPU.

    Raises:
        HyperLoRAError: a step's samples cannot be divided among the processes, the precision needs a GPU, or a setting
            does not work with DeepSpeed or FSDP.
    """
    state = PartialState(cpu=cpu, timeout=_TIMEOUT)
    fp16 = config.mixed_precision == "fp16"
    if fp16 and state.device.type == "cpu":
        raise HyperLoRAError("fp16 needs a GPU: on the CPU, train with --mixed-precision no, or bf16")
    passes_a_step = config.accumulation(state.num_processes)
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision="fp16" if fp16 else "no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=passes_a_step, sync_with_dataloader=False),
        log_with="tensorboard",
        project_dir=str(folder),
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],  # else gradients lie there twice
    )
    kind = accelerator.distributed_type
    if fp16 and kind in SHARDING:
        raise HyperLoRAError(f"fp16 does not go with {kind.value}: train with --mixed-precision bf16, or under DDP")
    if kind == DistributedType.FSDP and (config.optimization.ema or config.optimization.eight_bit):
        raise HyperLoRAError(
            "FSDP shares out what trains, of which --optimization.ema and --optimization.eight-bit know nothing: leave "
            "them out, or train under DDP"
        )
    if plugin := accelerator.state.deepspeed_plugin:  # it would read this off a data loader, and none is prepared
        plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = config.batch
        plugin.deepspeed_config["gradient_accumulation_steps"] = passes_a_step
        plugin.deepspeed_config["gradient_clipping"] = config.optimization.max_grad_norm
    return accelerator
