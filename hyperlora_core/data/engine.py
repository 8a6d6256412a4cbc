"""Spreads work over processes with Ray Data: actors that each hold their own models, on one machine or a cluster.

Ray is imported in this module only. Only the numbers of units and small results travel through it: a worker reads its
unit's pictures and writes their shard itself. https://docs.ray.io/en/latest/data/data.html
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
from typing import Any, TypeVar

from ..errors import HyperLoRAError, MissingPackageError

Task = TypeVar("Task")
Result = TypeVar("Result")

log = logging.getLogger(__name__)

_OBJECT_STORE = 512 << 20  # bytes; numbers alone lie there
_FOLDER = "hyperlora-"
_FOLDER_LIFETIME = 24 * 3600  # seconds, after which the folder of a dead process is removed
_CONNECT_TIMEOUT = 20  # seconds
_WORKERS_PER_GPU = 4  # whose models share its memory
_MAX_DEATHS = 3  # of a worker while it is made
_SPARE_CPUS = 1  # for Ray Data's own tasks beside the actors


@dataclass(frozen=True)
class Cluster:
    """Which processes do the work.

    Attributes:
        workers: how many processes; 0 takes one per core of this machine, and at most four per GPU.
        gpus: how many GPUs they share; with 0 Ray reserves none, and models may use what they see.
        address: of a Ray cluster, "auto" for the one this machine belongs to; None starts one here.
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
        return self.workers or (min(cores, _WORKERS_PER_GPU * self.gpus) if self.gpus else cores)

    def share(self, workers: int) -> float:
        """The share of a GPU for each of so many workers, so that all of them can run; 0 without GPUs."""
        return 1 / math.ceil(workers / self.gpus) if self.gpus else 0.0


class _Worker:
    """Runs in a process of its own, and does tasks. Tasks and results travel as pickles.

    A ``HyperLoRAError`` travels as text: raised here, Ray would print it with its own stack around it.
    """

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self._error = ""
        try:
            with _few_deaths():
                self._do = make()
        except HyperLoRAError as error:
            self._error = str(error)

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        if self._error:
            return {"result": b"", "error": self._error}
        try:
            return {"result": pickle.dumps(self._do(pickle.loads(row["task"]))), "error": ""}
        except HyperLoRAError as error:
            return {"result": b"", "error": str(error)}


@contextmanager
def _few_deaths() -> Iterator[None]:
    """Count how often a worker dies in this block: Ray restarts it without end, under the same actor id.

    Raises:
        HyperLoRAError: it died here several times.
    """
    import ray

    note = Path(tempfile.gettempdir()) / f"{_FOLDER}made-{ray.get_runtime_context().get_actor_id()}"
    try:
        with note.open("ab") as file:
            file.write(b".")
        if note.stat().st_size > _MAX_DEATHS:
            raise HyperLoRAError(
                f"a worker ended {_MAX_DEATHS} times while it loaded its models: most often there is too little memory "
                "for as many of them as there are workers; try fewer --workers"
            )
        yield
    finally:
        note.unlink(missing_ok=True)


class Engine:
    """Ray, from the first task until the context ends. A Ray that this process is connected to already is used.

    Args:
        cluster: which processes do the work.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._stack = ExitStack()
        self._connected = False

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def each(
        self,
        make_worker: Callable[[], Callable[[Task], Result]],
        tasks: Sequence[Task],
        processes: int | None = None,
        gpus: float = 0,
    ) -> Iterator[Result]:
        """Have tasks done by workers, and yield the results as they come, in any order.

        Ray restarts a worker that dies in a task, and repeats the task, without end: the worker itself has to see to it
        that one task does not kill it again and again. Workers that die while they are made, as where there is too
        little memory for their models, end it all.

        Args:
            make_worker: called once in each process; gives what does a task. It, tasks and results can be pickled.
            tasks: what to do.
            processes: how many workers there are at most; None takes the cluster's number.
            gpus: which share of a GPU each worker takes.

        Raises:
            MissingPackageError: Ray is not installed.
            HyperLoRAError: a worker raised it, workers die while they are made, or no cluster is at the address.
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
            _warn_of_lacking(ray.cluster_resources(), size, gpus)
        rows = [{"task": pickle.dumps(task)} for task in tasks]
        results = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            worker_class,
            fn_constructor_args=(make_worker,),
            compute=ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
            num_cpus=1,
            num_gpus=gpus or None,
        )
        try:
            for row in results.iter_rows():
                if row["error"]:
                    raise HyperLoRAError(row["error"])
                yield pickle.loads(row["result"])
        except RayError as error:
            raise HyperLoRAError(f"a worker failed: {error}") from error

    def begin(self) -> None:
        """Connect to Ray, or start it; ``each`` does so too.

        Raises:
            MissingPackageError: Ray is not installed.
            HyperLoRAError: no cluster is at the address.
        """
        if self._connected:
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
        self._connected = True

    def _connect(self) -> None:
        import ray

        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        address = self.cluster.address
        if address:
            try:
                _check_address(address)
                ray.init(address=address, **quiet)
            except (OSError, ValueError, RuntimeError) as error:
                raise HyperLoRAError(
                    f"no Ray cluster answers at {address} ({error}): ray start --head begins one"
                ) from error
            self._stack.callback(ray.shutdown)
            return
        folder = _folder()
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        ray.init(
            address="local",
            num_cpus=self.cluster.processes + _SPARE_CPUS,
            num_gpus=self.cluster.gpus,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE,
            _temp_dir=folder,
            **quiet,
        )
        self._stack.callback(ray.shutdown)


def _warn_of_lacking(resources: Mapping[str, float], workers: int, gpus: float) -> None:
    """Warn where workers will have to wait: a cluster may grow, or may never have what they need."""
    cpus, cluster_gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    log.info("The cluster has %d CPUs and %d GPUs for %d workers", cpus, cluster_gpus, workers)
    if gpus and not cluster_gpus:
        log.warning("It has no GPU, without which no worker can begin: waiting for one. --gpus 0 asks for none")
    elif cpus < workers + _SPARE_CPUS or (gpus and int(cluster_gpus / gpus) < workers):
        log.warning("Not all workers can begin, each of which takes a CPU%s", f" and {gpus:g} of a GPU" if gpus else "")


def _folder() -> str:
    """Make a folder for Ray, and remove old ones; the path is short, for a socket allows about 100 letters."""
    parent = Path("/tmp") if sys.platform == "linux" else Path(tempfile.gettempdir())
    for folder in parent.glob(f"{_FOLDER}*"):
        pid = folder.name.removeprefix(_FOLDER).partition("-")[0]
        dead = sys.platform == "linux" and pid.isdigit() and not Path(f"/proc/{pid}").exists()
        if dead and time.time() - folder.stat().st_mtime > _FOLDER_LIFETIME:
            shutil.rmtree(folder, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-", dir=parent)


def _check_address(address: str) -> None:
    """Connect to an address once, for Ray itself would try for many minutes.

    Raises:
        OSError, ValueError: nothing listens there.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), _CONNECT_TIMEOUT).close()
