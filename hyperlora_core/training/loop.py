"""The loop: a run, on one process or many, that goes on where it was stopped.

A run is the samples 0, 1, 2, ... in order, so many an optimizer step. Each process takes its part of every step, and
what a sample draws is its own (``counter``): one process or several, resumed or not, the run is the same.
"""

import logging
import math
import os
import signal
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

import torch
from accelerate import Accelerator, DistributedType, PartialState
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ..doors.diffusers.unet import LoRAInjection
from ..errors import HyperLoRAError
from . import states
from .config import RunConfig
from .forward import Conditions, Learner, Matrices
from .objective import Objective
from .optimizer import average_of, learning_rate_share, optimizer_for

DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""What ``RunConfig.mixed_precision`` is in torch."""

_SHARING = (DistributedType.DEEPSPEED, DistributedType.FSDP)  # what trains, or its gradients, among the processes
_PATIENCE = timedelta(hours=2)  # processes wait for the main one, which alone writes states, longer than torch would
_PACE = 20  # steps by whose median a run's pace is told

log = logging.getLogger(__name__)

L = TypeVar("L", bound=Learner)


@dataclass(frozen=True)
class Batch:
    """What a pass needs.

    Attributes:
        samples: their numbers in the run.
        latents: ``(B, C, H, W)`` without noise.
        conditions: what the hypernetwork reads.
        unet_inputs: by name, what the UNet is given beside noised latents and timesteps.
        weights: ``(B, 1, H, W)``, of each place in the loss; None where all weigh the same.
        keypoints: ``(B, 5, 2)``, of the face on each picture, shares of its side; None where nobody knows them.
    """

    samples: range
    latents: Tensor
    conditions: Conditions
    unet_inputs: Mapping[str, Any]
    weights: Tensor | None = None
    keypoints: Tensor | None = None


@dataclass(frozen=True)
class Guess:
    """What a UNet, with whatever LoRAs act, makes of a batch whose latents were noised.

    Attributes:
        timesteps: ``(B,)`` int64.
        noised: ``(B, C, H, W)``, what it was shown.
        predicted: its answer, likewise.
        target: what that should have been, likewise.
    """

    timesteps: Tensor
    noised: Tensor
    predicted: Tensor
    target: Tensor


class MoreLoss(Protocol):
    """A loss beside that of the noise."""

    def __call__(self, matrices: Matrices, batch: Batch, injection: LoRAInjection, guess: Guess) -> Tensor:
        """Of a pass: a number.

        Args:
            matrices: the LoRAs of the pass.
            batch: the pass.
            injection: into the base model's UNet; none acts outside of its context.
            guess: what that UNet made of the batch, with these LoRAs.
        """
        ...


class Task(Protocol):
    """What is learned on.

    Attributes:
        unet: frozen, on the device.
        objective: the loss.
    """

    unet: nn.Module
    objective: Objective

    def batches(self, passes: Iterator[range]) -> Iterator[Batch]:
        """The samples of each pass, by their numbers in the run, on the device."""
        ...


@dataclass
class Progress:
    """How far a run is; kept with its state."""

    step: int = 0

    def state_dict(self) -> dict[str, int]:
        return {"step": self.step}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.step = state["step"]


def accelerator_for(config: RunConfig, folder: Path, cpu: bool = False) -> Accelerator:
    """Accelerate as a run needs it; devices and processes are its launcher's to choose.

    Of half precisions it is told fp16 alone, which needs its gradient scaler: DeepSpeed and FSDP would turn what trains
    into bf16, its average and what is exported of it too. See ``Run.half``.

    Raises:
        HyperLoRAError: a step's samples cannot be shared out among the processes, the precision is a GPU's alone, or
            what the run is told does not go with DeepSpeed or FSDP.
    """
    state = PartialState(cpu=cpu, timeout=_PATIENCE)
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
    if fp16 and kind in _SHARING:
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


class Run(Generic[L]):
    """A run, from its newest state.

    Args:
        config: of the run.
        task: what is learned on.
        loras: trained in place, what of it requires gradients.
        folder: of the run's states; one of a run that was told otherwise is refused.
        accelerator: see ``accelerator_for``.
        more: a further loss, and its weight.
        begun: what it begins with, as ``states.compare`` takes it.

    Attributes:
        progress: how far it is.
        injection: the hooks on the UNet.
        stopping: whether this process was told to stop.

    Raises:
        HyperLoRAError: the folder is another run's, or another process trains in it, or its newest state cannot be
            loaded.
    """

    def __init__(
        self,
        config: RunConfig,
        task: Task,
        loras: L,
        folder: Path,
        accelerator: Accelerator,
        more: tuple[MoreLoss, float] | None = None,
        begun: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.config, self.task, self.loras, self.more = config, task, loras, more
        self.folder, self.accelerator = folder, accelerator
        self._lock = None
        if accelerator.is_main_process:
            self._lock = states.claim(folder, config, begun)
        accelerator.wait_for_everyone()
        self.injection = LoRAInjection(task.unet, loras.targets)
        if config.gradient_checkpointing:
            task.unet.enable_gradient_checkpointing(self.injection.checkpoint)  # type: ignore[operator]
        self._unet = torch.compile(task.unet) if config.compile else task.unet
        self._unet_dtype = next(task.unet.parameters()).dtype
        self._model, self._optimizer = accelerator.prepare(loras, optimizer_for(config, loras))
        self.trained = [value for value in self._model.parameters() if value.requires_grad]
        # emptied, DDP's buckets would stay, and the gradients of the passes before the last would lie beside them
        self._in_buckets = isinstance(self._model, nn.parallel.DistributedDataParallel)
        self.progress = Progress()
        self.stopping = False
        self._seconds: deque[float] = deque(maxlen=_PACE)
        accelerator.register_for_checkpointing(self.progress)
        self._average = average_of(config, self.trained)
        if self._average is not None:
            accelerator.register_for_checkpointing(self._average)
        if state := states.resume(accelerator, folder):
            log.info("The run goes on from %s", state)
            accelerator.step = 0  # of passes: a state is that of whole steps, which may be cut otherwise now
        if self._average is not None:
            self._average.to(accelerator.device)
        accelerator.init_trackers("log")

    def train(self, on_step: Callable[["Run[L]", float], None] = lambda run, loss: None) -> bool:
        """Train until the run's end, or until it is told to stop (SIGTERM, SIGINT); its state is saved in both cases.

        Args:
            on_step: told the run, after each optimizer step, and the step's mean loss.

        Returns:
            Whether the run is at its end.

        Raises:
            HyperLoRAError: the loss or its gradient is not a number.
        """
        config, progress = self.config, self.progress
        mine = passes(config, progress.step, self.accelerator.process_index, self.accelerator.num_processes)
        batches = self.task.batches(mine)
        saved = progress.step
        with self._told_to_stop():
            while progress.step < config.steps and not self._any(self.stopping):
                began = time.perf_counter()
                loss, numbers = self._step(batches)
                self._seconds.append(time.perf_counter() - began)
                progress.step += 1
                numbers |= {"loss": loss, "samples_per_second": self.samples_per_second} | self.loras.numbers()
                self.accelerator.log(numbers, step=progress.step)
                if progress.step % config.save_every == 0:
                    states.save(self.accelerator, self.folder, progress.step)
                    saved = progress.step
                on_step(self, loss)
            if saved != progress.step:
                states.save(self.accelerator, self.folder, progress.step)
        return progress.step == config.steps

    @property
    def samples_per_second(self) -> float:
        """Over all processes, by the last steps, without what lies between steps."""
        return self.config.samples_per_step / statistics.median(self._seconds)

    def account(self, loss: float) -> str:
        """Where the run is after a step with this loss, how fast it goes and when it will be there, in a line."""
        config, step, pace = self.config, self.progress.step, self.samples_per_second
        left = timedelta(seconds=round((config.steps - step) * config.samples_per_step / pace))
        return f"step {step} of {config.steps}: loss {loss:.5f}, {pace:.3g} samples a second, {left} left"

    def _step(self, batches: Iterator[Batch]) -> tuple[float, dict[str, float]]:
        """One optimizer step; the mean loss of its samples over all processes, and numbers for the log."""
        config, accelerator = self.config, self.accelerator
        self.loras.at((self.progress.step + 1) / config.steps)
        share = learning_rate_share(config, self.progress.step)
        numbers = {"learning_rate": share * config.optimization.learning_rate}
        for group in self._optimizer.param_groups:
            group["lr"] = group["full_lr"] * share
        count = config.accumulation(accelerator.num_processes)
        total = torch.zeros((), device=accelerator.device)
        for _ in range(count):
            with accelerator.accumulate(self._model):
                loss = self._loss(next(batches))
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(self.trained, config.optimization.max_grad_norm)
                    if isinstance(norm, DTensor):  # of FSDP: one number of all its shards
                        norm = norm.full_tensor()
                    if norm is not None and accelerator.scaler is None:  # a scaler passes over such steps itself
                        numbers["gradient_norm"] = float(norm)
                        self._check("length of the gradient", float(norm))
                self._optimizer.step()
                self._optimizer.zero_grad(set_to_none=not self._in_buckets)
                total += loss.detach() / count
        if self._average is not None:
            self._average.step(self.trained)
        mean = float(accelerator.reduce(total, "mean"))
        self._check("loss", mean)
        return mean, numbers

    def _check(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise HyperLoRAError(
                f"the {what} of step {self.progress.step + 1} is {value}: begin anew in another folder with a lower "
                "--optimization.learning-rate, or in bf16 or float32; this run's last state is untouched"
            )

    def _loss(self, batch: Batch) -> Tensor:
        with self.half():
            matrices = self._model(batch.conditions)
        objective = self.task.objective
        with self.injection.active(matrices):
            guess = guessed(objective, self._unet, self._unet_dtype, batch, self.config.seed)
        loss = objective.losses(guess.predicted, guess.target, guess.timesteps, batch.weights).mean()
        if self.more is not None:
            further, weight = self.more
            loss = loss + weight * further(matrices, batch, self.injection, guess)
        return loss

    def half(self) -> torch.autocast:
        """Within this context the hypernetwork computes in the run's precision; its weights stay in float32.

        The UNet has weights of that precision, and is called outside of it, as where pictures are drawn.
        """
        precision = self.config.mixed_precision
        kind = self.accelerator.device.type
        return torch.autocast(kind, DTYPES[precision], enabled=precision != "no")

    @contextmanager
    def _told_to_stop(self) -> Iterator[None]:
        """Within this context SIGTERM and SIGINT are noted instead of obeyed."""

        def note(number: int, frame: object) -> None:
            if not self.stopping and self.accelerator.is_main_process:
                os.write(2, b"Told to stop: the step at work is ended first, and its state saved\n")
            self.stopping = True

        self.stopping = False
        before = {each: signal.signal(each, note) for each in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _any(self, here: bool) -> bool:
        """Whether any process says so."""
        said = torch.tensor(float(here), device=self.accelerator.device)
        return bool(self.accelerator.reduce(said, "sum") > 0)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within this context the network has the moving average of its weights, where one is kept."""
        if self._average is None:
            yield
            return
        self._average.store(self.trained)
        self._average.copy_to(self.trained)
        try:
            yield
        finally:
            self._average.restore(self.trained)

    def weights(self) -> dict[str, Tensor]:
        """What is trained and what stands beside it, by name; called on every process, empty but on the main one."""
        main, kind = self.accelerator.is_main_process, self.accelerator.distributed_type
        if not main and kind not in _SHARING:  # these gather from all
            return {}
        with self.averaged():
            state = self.accelerator.get_state_dict(self._model)
            if not main:
                return {}
            return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}

    def close(self) -> None:
        """Let go of the UNet, of the log and of the folder."""
        self.accelerator.end_training()
        if self._lock is not None:
            self._lock.release()
        self.injection.remove()
        if self.config.gradient_checkpointing:
            self.task.unet.disable_gradient_checkpointing()  # type: ignore[operator]


def guessed(objective: Objective, unet: Callable[..., Any], dtype: torch.dtype, batch: Batch, seed: int) -> Guess:
    """Noise a batch, and show it to a UNet.

    Args:
        objective: noises the samples.
        unet: of the base model, with whatever LoRAs act.
        dtype: of its weights.
        batch: what it is shown.
        seed: of the run; with the samples' numbers it settles timesteps and noise.
    """
    timesteps = objective.timesteps(seed, batch.samples)
    noise = objective.noise(seed, batch.samples, batch.latents)
    noised = objective.noised(batch.latents, noise, timesteps)
    predicted = unet(noised.to(dtype), timesteps.to(batch.latents.device), **batch.unet_inputs).sample
    return Guess(timesteps, noised, predicted, objective.target(batch.latents, noise, timesteps))


def passes(config: RunConfig, step: int, process: int, processes: int) -> Iterator[range]:
    """The numbers of the samples that a process takes from a step on, a range a pass, up to the run's end.

    A step's samples are shared out in blocks, one a process; together the processes take each once.
    """
    share = config.samples_per_step // processes
    for each in range(step, config.steps):
        first = each * config.samples_per_step + process * share
        for start in range(first, first + share, config.batch):
            yield range(start, start + config.batch)
