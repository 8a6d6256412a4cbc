"""A small run on a small world: what a sample is follows from its number alone. As a command, a run under torchrun."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from hyperlora_core.doors.diffusers.unet import attention_modules
from hyperlora_core.training import counter
from hyperlora_core.training.acceleration import accelerator_for
from hyperlora_core.training.config import Optimization, TrainConfig
from hyperlora_core.training.forward import Conditions, GeneratedLoRAs
from hyperlora_core.training.fresh import fresh
from hyperlora_core.training.loop import Run
from hyperlora_core.training.losses import Batch, ExtraLoss
from hyperlora_core.training.objective import Objective
from hyperlora_core.training.shape import NetworkShape
from tests.support.unets import sdxl_style

SHAPE = NetworkShape(
    bases=6, id_rank=4, base_rank=2, dim=32, heads=2, head_dim=8, depth=2, id_tokens=4, id_embed_dim=24, clip_width=16
)
CONFIG = TrainConfig(
    "id_clip",
    steps=4,
    shape=SHAPE,
    samples_per_step=4,
    batch=2,
    optimization=Optimization(learning_rate=1e-3, bases_learning_rate=5e-3, warmup=0, decay=0.5, ema=0.9),
    gradient_checkpointing=False,
    mixed_precision="no",
    save_every=100,
)


class SmallTask:
    """Latents of one of two patterns, which the face embedding tells."""

    def __init__(self) -> None:
        self.unet = sdxl_style(widths=(32, 64), depths=(1, 1), heads=(2, 4))
        self.objective = Objective(torch.linspace(0.99, 0.01, 100))

    def batches(self, passes: Iterator[range]) -> Iterator[Batch]:
        return map(self.batch, passes)

    @staticmethod
    def batch(samples: range) -> Batch:
        def drawn(purpose: str, *shape: int) -> torch.Tensor:
            return counter.normal(1, samples, purpose, shape)

        kinds = counter.integers(1, samples, "kind", 2)
        embeds = torch.nn.functional.one_hot(kinds, SHAPE.id_embed_dim).float()
        latents = (kinds * 2.0 - 1)[:, None, None, None] + 0.1 * drawn("latents", 4, 8, 8)
        return Batch(
            samples,
            latents,
            Conditions(
                id_on=torch.ones(len(samples)),
                base_on=torch.ones(len(samples)),
                present=torch.ones(len(samples), 1),
                id_embeds=embeds[:, None],
                clip_tokens=drawn("tokens", 1, 5, SHAPE.clip_width),
                base_tokens=drawn("base", 5, SHAPE.clip_width),
            ),
            {
                "encoder_hidden_states": drawn("text", 7, 48),
                "added_cond_kwargs": {
                    "text_embeds": drawn("pooled", 16),
                    "time_ids": torch.zeros(len(samples), 6),
                },
            },
        )


def run(
    folder: Path, config: TrainConfig = CONFIG, task: SmallTask | None = None, losses: Sequence[ExtraLoss] = ()
) -> Run:
    """A run that has not begun, or stands at its newest state."""
    task = task or SmallTask()
    network = fresh(config.shape.config(attention_modules(task.unet)), config.seed)
    loras = GeneratedLoRAs.of_run(network, config)
    return Run(config, task, loras, folder, accelerator_for(config, folder, cpu=True), losses)


def outcome(done: Run) -> dict[str, torch.Tensor]:
    """All that a run has made: weights, and their average."""
    found = {name: value.detach().clone() for name, value in done.loras.network.state_dict().items()}
    with done.averaged():
        found |= {f"average.{name}": value.clone() for name, value in done.loras.network.state_dict().items()}
    return found


if __name__ == "__main__":
    _folder, _batch, _stop = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    _run = run(_folder / "run", replace(CONFIG, batch=_batch))

    def _told(at: Run, loss: float) -> None:
        """The second process alone is told to stop, after a step."""
        if at.progress.step == _stop and at.accelerator.process_index == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    _run.train(_told)
    if _run.accelerator.is_main_process:
        save_file(outcome(_run), _folder / "outcome.safetensors")
    _run.close()
