"""The training loop, for one process or several; a run that was stopped resumes from its newest state.

A run takes the samples 0, 1, 2, ... in order, ``samples_per_step`` an optimizer step, divided among the processes.
A sample's random numbers follow from the run's seed and its own number (``counter``), so the run is the same on one
process or several, and whether or not it was stopped in between.
"""

import logging
import math
import os
import signal
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ..doors.diffusers.unet import LoRAInjection
from ..errors import HyperLoRAError
from . import states
from .acceleration import DTYPES, SHARDING
from .config import RunConfig
from .forward import Learner
from .losses import Batch, ExtraLoss, Progress, predict
from .objective import Objective
from .optimizer import average_of, learning_rate_share, optimizer_for

_PACE = 20  # the speed of a run is the median of so many steps

log = logging.getLogger(__name__)

L = TypeVar("L", bound=Learner)


class Task(Protocol):
    """The samples of a run, and the frozen UNet and the objective that they are learned with.

    Attributes:
        unet: frozen, on the device.
        objective: the noise loss.
    """

    unet: nn.Module
    objective: Objective

    def batches(self, passes: Iterator[range]) -> Iterator[Batch]:
        """The batch of each forward pass, given its samples' numbers in the run, on the device."""
        ...


class Run(Generic[L]):
    """A run, from its newest state.

    Args:
        config: of the run.
        task: its samples, UNet and noise loss.
        loras: the module that makes the LoRAs; its parameters that require gradients are trained in place.
        folder: holds the run's states; the folder of a run with another config is refused.
        accelerator: see ``accelerator_for``.
        losses: those beside the noise loss.
        input_hashes: of the files that the run begins with, as ``states.compare`` takes them.

    Attributes:
        progress: the steps that are done.
        injection: the hooks on the UNet.
        stopping: whether this process got a signal to stop.

    Raises:
        HyperLoRAError: the folder belongs to another run, another process trains in it, or its newest state cannot be
            loaded.
        ValueError: two losses have the same name; the noise loss's is "noise".
    """

    def __init__(
        self,
        config: RunConfig,
        task: Task,
        loras: L,
        folder: Path,
        accelerator: Accelerator,
        losses: Sequence[ExtraLoss] = (),
        input_hashes: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.config, self.task, self.loras, self.losses = config, task, loras, tuple(losses)
        names = [loss.name for loss in self.losses]
        if repeated := {name for name in names if names.count(name) > 1 or name == "noise"}:
            raise ValueError(f"two losses are named {sorted(repeated)[0]}: each needs a name of its own")
        self.folder, self.accelerator = folder, accelerator
        self._lock = None
        if accelerator.is_main_process:
            self._lock = states.claim(folder, config, input_hashes)
        accelerator.wait_for_everyone()
        self.injection = LoRAInjection(task.unet, loras.targets)
        if config.gradient_checkpointing:
            task.unet.enable_gradient_checkpointing(self.injection.checkpoint)  # type: ignore[operator]
        self._unet = torch.compile(task.unet) if config.compile else task.unet
        self._unet_dtype = next(task.unet.parameters()).dtype
        self._model, self._optimizer = accelerator.prepare(loras, optimizer_for(config, loras))
        self.trained = [value for value in self._model.parameters() if value.requires_grad]
        # with set_to_none DDP would keep its buckets, and gradients accumulated before the last pass would take as much
        # memory again beside them
        self._in_buckets = isinstance(self._model, nn.parallel.DistributedDataParallel)
        self.progress = Progress(losses=self.losses)
        self.stopping = False
        self._seconds: deque[float] = deque(maxlen=_PACE)
        accelerator.register_for_checkpointing(self.progress)
        self._average = average_of(config, self.trained)
        if self._average is not None:
            accelerator.register_for_checkpointing(self._average)
        if state := states.resume(accelerator, folder):
            log.info("The run goes on from %s", state)
            accelerator.step = (
                0  # it counts passes: a step may be divided into another number of them than when it was saved
            )
        if self._average is not None:
            self._average.to(accelerator.device)
        accelerator.init_trackers("log")

    def train(self, on_step: Callable[["Run[L]", float], None] = lambda run, loss: None) -> bool:
        """Train to the run's last step, or until SIGTERM or SIGINT; the state is saved in both cases.

        Args:
            on_step: called after each optimizer step with the run and the step's mean loss.

        Returns:
            Whether the last step is done.

        Raises:
            HyperLoRAError: the loss or its gradient is not a number.
        """
        config, progress = self.config, self.progress
        mine = passes(config, progress.step, self.accelerator.process_index, self.accelerator.num_processes)
        batches = self.task.batches(mine)
        saved = progress.step
        with self._catching_signals():
            while progress.step < config.steps and not self._any(self.stopping):
                start = time.perf_counter()
                loss, numbers = self._step(batches)
                self._seconds.append(time.perf_counter() - start)
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
        """The median of the last steps, over all processes; the time between steps does not count."""
        return self.config.samples_per_step / statistics.median(self._seconds)

    def account(self, loss: float) -> str:
        """A line for the console: step, its loss, samples a second, time to the end."""
        config, step, pace = self.config, self.progress.step, self.samples_per_second
        remaining = timedelta(seconds=round((config.steps - step) * config.samples_per_step / pace))
        return f"step {step} of {config.steps}: loss {loss:.5f}, {pace:.3g} samples a second, {remaining} left"

    def _step(self, batches: Iterator[Batch]) -> tuple[float, dict[str, float]]:
        """Make one optimizer step; return the mean loss over all processes, and further values to log."""
        config, accelerator = self.config, self.accelerator
        self.loras.at((self.progress.step + 1) / config.steps)
        share = learning_rate_share(config, self.progress.step)
        numbers = {"learning_rate": share * config.optimization.learning_rate}
        for group in self._optimizer.param_groups:
            group["lr"] = group["full_lr"] * share
        count = config.accumulation(accelerator.num_processes)
        due = [loss for loss in self.losses if loss.due(self.progress.step)]
        totals = torch.zeros(2 + len(due), device=accelerator.device)  # the sum, the noise loss, the losses due
        for _ in range(count):
            with accelerator.accumulate(self._model):
                parts = self._losses(next(batches), due)
                loss = parts[0]
                for extra, value in zip(due, parts[1:], strict=True):
                    loss = loss + extra.weight * value
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
                totals += torch.stack([part.detach().to(totals) for part in (loss, *parts)]) / count
        if self._average is not None:
            self._average.step(self.trained)
        mean, *values = accelerator.reduce(totals, "mean").tolist()
        self._check("loss", mean)
        if self.losses:
            numbers |= dict(zip(("loss/noise", *(f"loss/{loss.name}" for loss in due)), values, strict=True))
        return mean, numbers

    def _check(self, quantity: str, value: float) -> None:
        if not math.isfinite(value):
            raise HyperLoRAError(
                f"the {quantity} of step {self.progress.step + 1} is {value}: begin anew in another folder with a "
                "lower --optimization.learning-rate, or in bf16 or float32; this run's last state is untouched"
            )

    def _losses(self, batch: Batch, due: Sequence[ExtraLoss]) -> list[Tensor]:
        """The noise loss of a forward pass, then each extra loss that is due, unweighted."""
        with self.half():
            matrices = self._model(batch.conditions)
        objective = self.task.objective
        with self.injection.active(matrices):
            prediction = predict(objective, self._unet, self._unet_dtype, batch, self.config.seed)
        noise_loss = objective.losses(
            prediction.predicted, prediction.target, prediction.timesteps, batch.weights
        ).mean()
        return [noise_loss, *(loss(matrices, batch, self.injection, prediction) for loss in due)]

    def half(self) -> torch.autocast:
        """A context in which the hypernetwork computes in the run's precision; its weights stay in float32.

        The UNet's weights have that precision already, so it is called outside this context, here as for grids.
        """
        precision = self.config.mixed_precision
        kind = self.accelerator.device.type
        return torch.autocast(kind, DTYPES[precision], enabled=precision != "no")

    @contextmanager
    def _catching_signals(self) -> Iterator[None]:
        """A context in which SIGTERM and SIGINT set ``stopping`` instead of ending the process."""

        def note(number: int, frame: object) -> None:
            if not self.stopping and self.accelerator.is_main_process:
                os.write(2, b"Told to stop: the step at work is ended first, and its state saved\n")
            self.stopping = True

        self.stopping = False
        handlers = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _any(self, flag: bool) -> bool:
        """Whether the flag is set on any process."""
        flags = torch.tensor(float(flag), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flags, "sum") > 0)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """A context in which the network has the moving average of its weights, if the run keeps one."""
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
        """The state dict of ``loras``, averaged, on the CPU; call it on every process: all but the main one get {}."""
        main, kind = self.accelerator.is_main_process, self.accelerator.distributed_type
        if not main and kind not in SHARDING:  # under sharding every process takes part in gathering
            return {}
        with self.averaged():
            state = self.accelerator.get_state_dict(self._model)
            if not main:
                return {}
            return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}

    def close(self) -> None:
        """Close the log, unlock the folder and take the hooks off the UNet."""
        self.accelerator.end_training()
        if self._lock is not None:
            self._lock.release()
        self.injection.remove()
        if self.config.gradient_checkpointing:
            self.task.unet.disable_gradient_checkpointing()  # type: ignore[operator]


def passes(config: RunConfig, step: int, process: int, processes: int) -> Iterator[range]:
    """The sample numbers of each forward pass of a process, from a step to the run's end.

    A step's samples are divided into one block for each process, so that together they take every sample once.
    """
    share = config.samples_per_step // processes
    for number in range(step, config.steps):
        first = number * config.samples_per_step + process * share
        for start in range(first, first + share, config.batch):
            yield range(start, start + config.batch)
