"""The engine of a Ray cluster: workers hold the model, on a GPU each, and the cluster's processors decode for them.

Ray places the workers and the tasks, carries decoded audio to the workers within a bound, and starts tasks again where
a process dies. A part whose worker dies is given to the next one; its scores that were stored are looked up there.
Parts are read and written by this process alone, so that nothing but audio, model and cache has to be reached by all.

Built on Ray's actors and tasks. Its data sets (Ray Data) would decode in a stage of their own, for which a model with
embeddings would have to be batched in other ways than by the other engine, and bound neither how often a batch is
tried that ends its process nor, but by bytes, how far requests are read ahead. Their checkpoints hold the ids of rows
that were written, in files of any size and order; parts are checkpoints already, and the same for every engine.
"""

import logging
import os
import socket
import sys
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from cmi_bench.catalogue.parts import Answer, CataloguePart, ScoredWith
from cmi_bench.config import Config
from cmi_bench.errors import RunError, UserError
from cmi_bench.utils.console import spinner
from cmi_bench.utils.installation import install_command

# Zero GPUs asked for hides none; Ray would announce that this is to change.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# A cluster that is started here tells nobody outside of it.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
try:
    import ray
    from ray.exceptions import GetTimeoutError, ObjectLostError, RayActorError, RayError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise UserError(f"--engine ray needs the package ray: {error}.", install_command("ray")) from error

from cmi_bench.catalogue.ray_worker import RayWorker, Room, Started, decoding_identity

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""How many workers may die of one part, or while they load the model."""
LOCAL = "local"
"""The address of a cluster of this machine alone, which lives as long as the engine."""
SHARE_OF_STORE = 0.5
"""How much of the cluster's object store decoded audio may fill."""
PATIENCE = 30.0
"""Seconds without a worker after which people are told what is waited for, once."""
ANSWER_WITHIN = 300.0
"""Seconds in which each machine has to say what it decodes with; it may have to start a process for that first."""
CONNECT_WITHIN = 10.0
"""Seconds in which a cluster has to answer at all."""
LOGS = "Ray's logs on that machine (/tmp/ray/session_latest/logs) say more."


class WorkerPlan(NamedTuple):
    """How many workers there are, and what each of them takes of the cluster."""

    workers: int
    device: str
    """As `load_model` takes it, in the worker's process."""
    gpus: int
    """Each worker's: one, or none."""
    processors: int
    """Each worker's, for the model's own work."""
    room: Room

    @classmethod
    def of(cls, device: str, workers: int | None) -> Self:
        """Return a plan for the cluster as it is.

        Half of the processors stay free of workers without a GPU: tasks that decode, for which workers wait, need
        some. Workers with a GPU take none.

        Args:
            device: "auto", "cuda" or "cpu".
            workers: How many; None: one for each GPU, else for each machine.

        Raises:
            UserError: Nothing can be decoded there.
        """
        resources = ray.cluster_resources()
        processors, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        if not processors:
            raise UserError("The cluster has no processors that could decode.", "Start a machine with --num-cpus.")
        with_gpus = device == "cuda" or (device == "auto" and gpus > 0)
        count = workers or (gpus if with_gpus else len(machines())) or 1
        own = 0 if with_gpus else processors // (2 * count)
        room = Room(
            processors=(processors - own * count) / count,
            memory=resources.get("object_store_memory", 0) * SHARE_OF_STORE / count,
        )
        return cls(count, device if with_gpus else "cpu", int(with_gpus), own, room)

    def describe(self) -> str:
        """Return it in a few words."""
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        decoders = f"{self.room.processors:.3g} processor{'s' if self.room.processors > 1 else ''}"
        return f"{workers} with {self.needs} each; {decoders} to decode for each"

    @property
    def needs(self) -> str:
        """What each worker takes of the cluster, in words."""
        if self.gpus:
            return "a GPU"
        return f"{self.processors or 'no'} processor{'s' if self.processors > 1 else ''}"


@dataclass
class _Worker:
    """A process that holds the model."""

    actor: Any
    machine: str = "a machine"
    """Where it is, when that is known."""


@dataclass
class _Job:
    """What a worker is to do: score a part, or to begin with load the model."""

    part: CataloguePart | None = None
    deaths: int = 0
    """Workers that died of it."""

    @property
    def name(self) -> str:
        return "loaded the model" if self.part is None else f"scored part {self.part.number}"


class RayEngine:
    """Scores parts on a cluster; a context manager, which lets go of the cluster at its end."""

    def __init__(
        self, config: Config, device: str = "auto", *, address: str = "auto", workers: int | None = None
    ) -> None:
        """Connect to a cluster, and have workers load the model.

        Args:
            config: From `compose_config`; `on_error` is "record".
            device: "auto" (GPUs where the cluster has some), "cuda" or "cpu"; which GPU is Ray's to say.
            address: Of the cluster: host:port, "auto" for the one that this machine belongs to, or `LOCAL`.
            workers: How many processes hold the model; None: one for each GPU, else for each machine.

        Raises:
            UserError: There is no such cluster, or a machine of it cannot take part.
        """
        if device not in ("auto", "cuda", "cpu"):
            raise UserError(f"--device {device} has no meaning on a cluster.", "Give auto, cuda or cpu: Ray chooses.")
        self._config = config
        self._idle: list[_Worker] = []
        self._busy: dict[Any, tuple[_Worker, _Job]] = {}
        self._again: deque[_Job] = deque()
        self._scored_with: ScoredWith | None = None
        self._told = False
        """Whether people know that nothing works yet."""
        self._owns_connection = connect(address)
        try:
            check_machines()
            self._plan = WorkerPlan.of(device, workers)
            log.info("Ray: %s.", self._plan.describe())
            for _ in range(self._plan.workers):
                self._start_worker(_Job())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, and the connection if it was made here."""
        if ray.is_initialized():
            for worker in [*self._idle, *(worker for worker, _ in self._busy.values())]:
                ray.kill(worker.actor)
        self._idle, self._busy = [], {}
        if self._owns_connection:
            ray.shutdown()

    @property
    def scored_with(self) -> ScoredWith:
        """What parts are scored with; waits for the first worker."""
        with spinner("starting workers"):
            while self._scored_with is None:
                self._wait()
        return self._scored_with

    def score(self, parts: Iterator[CataloguePart]) -> Generator[tuple[CataloguePart, list[Answer]], None, None]:
        """Yield each part with its answers, as workers are done with them; takes a part as a worker gets free.

        Raises:
            UserError: What a worker meets that is no single song's fault.
            RunError: A part, or the model, has ended `ATTEMPTS` workers.
        """
        are_more = True
        while are_more or self._again or any(job.part is not None for _, job in self._busy.values()):
            while self._idle and (self._again or are_more):
                job = self._again.popleft() if self._again else _Job(next(parts, None))
                if job.part is None:
                    are_more = False
                else:
                    self._hand_out(job.part, job)
            if self._busy and (done := self._wait()) is not None:
                yield done

    def _start_worker(self, job: _Job) -> None:
        plan = self._plan
        place = {"num_cpus": plan.processors, "num_gpus": plan.gpus, "scheduling_strategy": "SPREAD"}
        actor = ray.remote(**place)(RayWorker).remote(
            self._config, plan.device, plan.room, folder=str(Path.cwd()), modules=sys.path
        )
        self._busy[actor.start.remote()] = _Worker(actor), job

    def _hand_out(self, part: CataloguePart, job: _Job) -> None:
        worker = self._idle.pop(0)
        if isinstance(part.root, Path):  # of another process, the current folder may be another
            part = replace(part, root=part.root.absolute())
        self._busy[worker.actor.score.remote(part)] = worker, job

    def _wait(self) -> tuple[CataloguePart, list[Answer]] | None:
        """Wait until a worker has done its job; return what it has scored, None where it has begun or ended."""
        is_known = self._told or any(job.part is not None for _, job in self._busy.values())
        done, _ = ray.wait(list(self._busy), timeout=None if is_known else PATIENCE)
        if not done:
            self._told = True
            log.warning(
                "No worker has started yet; each takes %s. The cluster has %g processors and %g GPUs.",
                *(self._plan.needs, *(ray.cluster_resources().get(kind, 0) for kind in ("CPU", "GPU"))),
            )
            return None
        worker, job = self._busy.pop(done[0])
        try:
            found = ray.get(done[0])
        except (RayActorError, ObjectLostError):  # it died, or its machine did before the answers were here
            self._replace(worker, job)
            return None
        except RayTaskError as error:
            raise _cause(error) from None
        self._idle.append(worker)
        if job.part is not None:
            return job.part, found
        worker.machine = found.machine
        self._check_same(found)
        return None

    def _check_same(self, started: Started) -> None:
        """Make sure that all workers score with the same."""
        self._scored_with = self._scored_with or started.scored_with
        if differences := started.scored_with.differences(self._scored_with):
            raise UserError(
                f"The workers differ: on {started.machine}, {'; '.join(differences)}.",
                "Install the same on all machines, and give them the same weights.",
            )

    def _replace(self, worker: _Worker, job: _Job) -> None:
        """Give the job of a worker that died to another.

        Raises:
            RunError: Too many died of it.
        """
        ray.kill(worker.actor)
        job.deaths += 1
        if job.deaths >= ATTEMPTS:
            raise RunError(
                f"{ATTEMPTS} workers died while they {job.name}, the last one on {worker.machine}.",
                "A process that is killed has mostly run out of memory: --set batch_seconds=60 takes less. " + LOGS,
            )
        log.warning("A worker on %s died while it %s, which is begun again.", worker.machine, job.name)
        if job.part is None:
            self._start_worker(job)
        else:
            self._again.append(job)
            self._start_worker(_Job())


def _cause(error: RayTaskError) -> BaseException:
    """Return what was raised in another process, or the error that shows its traceback if that is not for users."""
    cause: BaseException = error
    while isinstance(cause, RayTaskError) and isinstance(cause.cause, BaseException):
        cause = cause.cause
    return cause if isinstance(cause, UserError) else error


def connect(address: str) -> bool:
    """Connect this process to a cluster, and let Ray print nothing but errors.

    Args:
        address: See `RayEngine`.

    Returns:
        Whether there was no connection yet.

    Raises:
        UserError: There is no such cluster, or it cannot be used from here.
    """
    if ray.is_initialized():
        return False
    check_address(os.environ.get("RAY_ADDRESS", address) if address == "auto" else address)
    own = {"include_dashboard": False} if address == LOCAL else {}
    # What Ray prints of a machine that is lost is pages long, and goes to stdout. Its debugger stops it like this.
    ray._private.worker._worker_logs_enabled = False
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        ray.shutdown()
        raise _no_cluster(address, str(error).strip().partition("\n")[0]) from error
    return True


def check_address(address: str) -> None:
    """Make sure that something listens at host:port: Ray would try for minutes, and print what it tries.

    Raises:
        UserError: Nothing does; or it is an address of Ray's client.
    """
    if address.startswith("ray://"):
        raise UserError(
            f"{address} is an address of Ray's client, which the engine does not work through.",
            "Run the command on a machine of the cluster with --address auto, or send it there by ray job submit.",
        )
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_WITHIN):
            pass
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error)) from error


def _no_cluster(address: str, reason: str) -> UserError:
    return UserError(
        f"There is no Ray cluster at --address {address} that this process can use: {reason}",
        "ray start --head starts one, which other machines join with ray start --address HOST:6379; or --address"
        f" {LOCAL} uses this machine alone.",
    )


def machines() -> list[tuple[str, str]]:
    """Return the id and the name of each machine of the cluster that has something to work with."""
    return [
        (node["NodeID"], node["NodeManagerHostname"])
        for node in ray.nodes()
        if node["Alive"] and any(node["Resources"].get(kind) for kind in ("CPU", "GPU"))
    ]


def check_machines() -> None:
    """Make sure that all machines decode as this one does.

    Raises:
        UserError: One has not the same cmi-bench and libraries, or none.
    """
    here, asked = decoding_identity(), []
    for node, name in machines():
        place = NodeAffinitySchedulingStrategy(node, soft=False)
        asked.append((name, ray.remote(num_cpus=0, scheduling_strategy=place)(decoding_identity).remote()))
    for name, ref in asked:
        hint = f"Install the same cmi-bench there and here, with the same libraries ({install_command()})."
        try:
            there = ray.get(ref, timeout=ANSWER_WITHIN)
        except GetTimeoutError:
            raise UserError(f"The machine {name} does not answer.", f"Look at it by ray status. {LOGS}") from None
        except RayError as error:
            last = str(error).strip().rpartition("\n")[2]
            raise UserError(f"cmi-bench cannot be used on the machine {name}: {last}", hint) from error
        different = [what for what, value in here.items() if there.get(what) != value]
        if different:
            raise UserError(f"The machine {name} differs from this one in {' and '.join(different)}.", hint)
