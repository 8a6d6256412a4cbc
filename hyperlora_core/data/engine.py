"""Work on many units by Ray Data: actors that each hold their models, on one machine or a cluster.

Ray is imported here alone. What flows through it are numbers of units and what became of them; pictures stay within a
worker, which reads a unit's and writes its shard. https://docs.ray.io/en/latest/data/data.html
"""

import logging
import math
import os
import pickle
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import HyperLoRAError, MissingPackageError

log = logging.getLogger(__name__)

_OBJECT_STORE = 512 << 20  # bytes; numbers alone lie there
_FOLDER = "hyperlora-"
_OLD = 24 * 3600  # seconds
_PATIENCE = 20  # seconds that a cluster is waited for
_WORKERS_A_GPU = 4  # whose models share its memory
_DEATHS = 3  # of a worker that is being made
_SPARE_CPUS = 1  # for Ray Data's own tasks beside the actors


@dataclass(frozen=True)
class Cluster:
    """What works.

    Attributes:
        workers: processes; 0 takes one a core of this machine, and four a GPU at most.
        gpus: that they share; with 0 none is set aside for them, and models may use what they see.
        address: of a Ray cluster, "auto" for the one that this machine is of; None starts one here.
    """

    workers: int = 0
    gpus: int = 0
    address: str | None = None

    def __post_init__(self) -> None:
        if self.workers < 0 or self.gpus < 0:
            raise HyperLoRAError(f"{self.workers} workers and {self.gpus} GPUs: numbers from 0 were expected")

    @property
    def processes(self) -> int:
        """How many workers there are."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return self.workers or (min(cores, _WORKERS_A_GPU * self.gpus) if self.gpus else cores)

    def share(self, workers: int) -> float:
        """Of a GPU, that each of so many workers takes, so that all of them can work; 0 without GPUs."""
        return 1 / math.ceil(workers / self.gpus) if self.gpus else 0.0


class _Worker:
    """What a process does: tasks, and says what a user can mend in a word instead of Ray's many."""

    def __init__(self, worker: Callable[..., Callable[[Mapping[str, Any]], Any]], arguments: Mapping[str, Any]) -> None:
        self._cannot = ""
        try:
            with _few_deaths():
                self._made = worker(**arguments)
        except HyperLoRAError as error:  # raised here, Ray would tell it with its own stack
            self._cannot = str(error)

    def __call__(self, task: Mapping[str, Any]) -> dict[str, Any]:
        if self._cannot:
            return {"result": b"", "error": self._cannot}
        try:
            return {"result": pickle.dumps(self._made(task)), "error": ""}
        except HyperLoRAError as error:
            return {"result": b"", "error": str(error)}


@contextmanager
def _few_deaths() -> Iterator[None]:
    """Where a worker is made: Ray begins one that dies anew, without end and by the same name.

    Raises:
        HyperLoRAError: it died here again and again.
    """
    import ray

    note = Path(tempfile.gettempdir()) / f"{_FOLDER}made-{ray.get_runtime_context().get_actor_id()}"
    try:
        with note.open("ab") as file:
            file.write(b".")
        if note.stat().st_size > _DEATHS:
            raise HyperLoRAError(
                f"a worker ended {_DEATHS} times while it loaded its models: most often there is too little memory for "
                "as many of them as there are workers; try fewer --workers"
            )
        yield
    finally:
        note.unlink(missing_ok=True)


class Engine:
    """Ray, from the first task on for as long as this is entered; one that runs in this process is used.

    Args:
        cluster: what works.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._ends = ExitStack()
        self._begun = False

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def each(
        self,
        worker: type,
        arguments: Mapping[str, Any],
        tasks: Sequence[Mapping[str, Any]],
        processes: int | None = None,
        gpus: float = 0,
    ) -> Iterator[Any]:
        """Have tasks done by workers, in any order; what a worker gives is passed on as it comes.

        A worker that dies at a task is begun again, and so is the task, without end: whoever does the tasks has to see
        to it that one of them does not end its worker again and again. Workers that die while they are made, as where
        there is too little memory for their models, end it all.

        Args:
            worker: made once a process; takes a task, gives anything that can be pickled.
            arguments: it is made with.
            tasks: mappings of plain values.
            processes: how many workers there are at most; the cluster's where it is None.
            gpus: share of a GPU that each takes.

        Raises:
            MissingPackageError: Ray is not installed.
            HyperLoRAError: a worker raised it, workers die while they are made, or there is no cluster at the address.
        """
        if not tasks:
            return
        self.begin()
        import ray
        from ray.data import ActorPoolStrategy
        from ray.exceptions import RayError

        worker_class: Any = _Worker
        size = min(processes or self.cluster.processes, len(tasks))
        if self.cluster.address:
            _see_what_there_is(ray.cluster_resources(), size, gpus)
        done = ray.data.from_items([dict(task) for task in tasks], override_num_blocks=len(tasks)).map(
            worker_class,
            fn_constructor_args=(worker, dict(arguments)),
            compute=ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
            num_cpus=1,
            num_gpus=gpus or None,
        )
        try:
            for row in done.iter_rows():
                if row["error"]:
                    raise HyperLoRAError(row["error"])
                yield pickle.loads(row["result"])
        except RayError as error:
            raise HyperLoRAError(f"a worker failed: {error}") from error

    def begin(self) -> None:
        """Connect to Ray, or start it; ``each`` does that too.

        Raises:
            MissingPackageError: Ray is not installed.
            HyperLoRAError: there is no cluster at the address.
        """
        if self._begun:
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else it warns of what Ray Data does with restarts
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise MissingPackageError(
                f"preparing a training set needs Ray, which cannot be imported ({error}): pip install -e .[train]"
            ) from error
        if not ray.is_initialized():
            self._connect()
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        self._begun = True

    def _connect(self) -> None:
        import ray

        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        address = self.cluster.address
        if address:
            try:
                _knock(address)
                ray.init(address=address, **quiet)
            except (OSError, ValueError, RuntimeError) as error:
                raise HyperLoRAError(
                    f"no Ray cluster answers at {address} ({error}): ray start --head begins one"
                ) from error
            self._ends.callback(ray.shutdown)
            return
        folder = _folder()
        self._ends.callback(shutil.rmtree, folder, ignore_errors=True)
        ray.init(
            address="local",
            num_cpus=self.cluster.processes + _SPARE_CPUS,
            num_gpus=self.cluster.gpus,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE,
            _temp_dir=folder,
            **quiet,
        )
        self._ends.callback(ray.shutdown)


def _see_what_there_is(there: Mapping[str, float], workers: int, gpus: float) -> None:
    """Say that workers will have to wait: a cluster may grow, or may never have what is asked for."""
    cpus, has = int(there.get("CPU", 0)), int(there.get("GPU", 0))
    log.info("The cluster has %d CPUs and %d GPUs for %d workers", cpus, has, workers)
    if gpus and not has:
        log.warning("It has no GPU, without which no worker can begin: waiting for one. --gpus 0 asks for none")
    elif cpus < workers + _SPARE_CPUS or (gpus and int(has / gpus) < workers):
        log.warning("Not all workers can begin, each of which takes a CPU%s", f" and {gpus:g} of a GPU" if gpus else "")


def _folder() -> str:
    """For Ray's sockets, whose names may have some hundred letters; old ones of processes that died are removed."""
    parent = Path("/tmp") if sys.platform == "linux" else Path(tempfile.gettempdir())
    for left in parent.glob(f"{_FOLDER}*"):
        pid = left.name.removeprefix(_FOLDER).partition("-")[0]
        dead = sys.platform == "linux" and pid.isdigit() and not Path(f"/proc/{pid}").exists()
        if dead and time.time() - left.stat().st_mtime > _OLD:
            shutil.rmtree(left, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-", dir=parent)


def _knock(address: str) -> None:
    """See whether anybody listens there; Ray itself would ask for many minutes.

    Raises:
        OSError, ValueError: nobody does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), _PATIENCE).close()
