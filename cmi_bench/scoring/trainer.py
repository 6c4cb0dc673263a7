"""Stages in Lightning's predict loop: batches planned on rank 0, loaded in workers, worked on in every rank.

The only module of the package that needs Lightning to score.
"""

import contextlib
import errno
import gc
import logging
import math
import pickle
import shutil
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import hydra
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader, Dataset

from cmi_bench.scoring.batching import BatchLimits, ScoreWriter, Stage, plan_batches
from cmi_bench.scoring.run_stats import RunStats
from cmi_bench.utils.command import without_collection
from cmi_bench.utils.console import ProgressBar
from cmi_bench.utils.distributed import Devices, end_without, this_process

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")


class _Batches(Dataset[tuple[int, Loaded | bytes]], Generic[Item, Loaded]):
    """Item i is batch i of the plan, loaded, with its number of items."""

    def __init__(
        self, plan: Sequence[Sequence[Item]], load: Callable[[Sequence[Item]], Loaded], *, shares_memory: bool
    ) -> None:
        self.plan = plan
        self.load = load
        self.shares_memory = shares_memory

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> tuple[int, Loaded | bytes]:
        loaded = self.load(self.plan[index])
        # Torch hands tensors over in shared memory, and bytes through a pipe.
        return len(self.plan[index]), loaded if self.shares_memory else pickle.dumps(loaded, pickle.HIGHEST_PROTOCOL)


SHARED_MEMORY = Path("/dev/shm")
"""Where Linux keeps shared memory; in a container it may be small (Docker's default is 64 MB)."""
BYTES_PER_SECOND = 4 * 48_000
"""Of decoded audio, at the most."""
WORKER_DIED = "DataLoader worker (pid"
"""Torch's words, in which it says of a worker that it was killed."""


def free_shared_memory() -> float:
    """Return the bytes of shared memory that are free; infinity where that cannot be told."""
    try:
        return float(shutil.disk_usage(SHARED_MEMORY).free)
    except OSError:
        return math.inf


class BatchLoader(Generic[Item, Loaded]):
    """Loads planned batches in worker processes, ahead of the model; without them if they die.

    A worker that was killed (for memory, as a rule) costs no batch: the rest is loaded in this process.
    """

    def __init__(
        self,
        plan: Sequence[Sequence[Item]],
        load: Callable[[Sequence[Item]], Loaded],
        *,
        workers: int,
        shares_memory: bool,
        stats: RunStats,
    ) -> None:
        """Take the batches.

        Args:
            plan: What to load, in this process's share of the run.
            load: Loads a batch.
            workers: Processes; 0 loads in this one.
            shares_memory: Whether workers hand over what they have loaded in shared memory, or through pipes.
            stats: Takes the time that is waited for batches.
        """
        self.plan = plan
        self.load = load
        self.workers = min(workers, sum(map(bool, plan)))
        self.workers_died = False
        self.shares_memory = shares_memory
        self.stats = stats

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[tuple[int, Loaded]]:
        """Yield each batch's number of items, and the batch."""
        return self.stats.waiting(self._loaded())

    def _loaded(self) -> Iterator[tuple[int, Loaded]]:
        done = 0
        if self.workers:
            try:
                for batch in self._from_workers():
                    yield batch
                    done += 1
            except (RuntimeError, OSError) as error:
                if not _is_workers_end(error):
                    raise
                log.warning(
                    "A decoding process could not go on (%s). The rest is decoded in the main process, which is slower;"
                    " workers=0 does so from the start.",
                    str(error).splitlines()[0],
                )
                self.workers_died = True
        for items in self.plan[done:]:
            yield len(items), self.load(items)

    def _from_workers(self) -> Iterator[tuple[int, Loaded]]:
        batches = _Batches(self.plan, self.load, shares_memory=self.shares_memory)
        on_child = signal.getsignal(signal.SIGCHLD)
        loaded = start_workers(DataLoader(batches, batch_size=None, num_workers=self.workers))
        if threading.current_thread() is threading.main_thread():
            # Torch raises from its own handler wherever the main thread is, in the middle of a model's work too. It
            # also looks after its workers while it waits for one, and raises here.
            signal.signal(signal.SIGCHLD, on_child)
        for count, content in loaded:
            yield count, pickle.loads(content) if isinstance(content, bytes) else content


def _is_workers_end(error: RuntimeError | OSError) -> bool:
    return error.errno == errno.ENOSPC if isinstance(error, OSError) else WORKER_DIED in str(error)


def start_workers(loader: DataLoader[Loaded]) -> Iterator[Loaded]:
    """Begin to load in a loader's processes, which end with this one, and collect nothing of what was there before.

    An error that was handled may have left tensors of a GPU in a cycle. A process without that GPU which collects it
    is killed by CUDA.
    """
    loader.worker_init_fn = partial(_begin_worker, this_process(), gc.isenabled())
    with without_collection():  # nor do they until they have begun
        return iter(loader)


def _begin_worker(parent: str, collects: bool, worker: int) -> None:
    end_without(parent)
    gc.freeze()
    if collects:
        gc.enable()


class StageModule(LightningModule, Generic[Item, Loaded]):
    """Runs a stage in Lightning's predict loop.

    The model is no submodule: adapters may be anything (a network, an API client), and were built on
    this process's device already.
    """

    loader: BatchLoader[Item, Loaded]
    """Set when the loop begins."""

    def __init__(self, stage: Stage[Item, Loaded], writer: ScoreWriter, limits: BatchLimits, *, workers: int) -> None:
        super().__init__()
        self.stage = stage
        self.writer = writer
        self.limits = limits
        self.workers = workers
        self.total = 0

    def predict_dataloader(self) -> BatchLoader[Item, Loaded]:
        """Plan the batches: on rank 0, which tells the others, as stores may change while ranks start."""
        planned = self._plan() if self.trainer.is_global_zero else ([], True)
        plan, shares_memory = self.trainer.strategy.broadcast(planned)
        self.total = sum(map(len, plan))
        own = plan[self.trainer.global_rank :: self.trainer.world_size]
        # To start a process takes as long as to read a batch of embeddings.
        workers = self.workers if self.stage.decodes or len(own) > self.workers else 0
        self.loader = BatchLoader(
            own, self.stage.load, workers=workers, shares_memory=shares_memory, stats=self.stage.stats
        )
        return self.loader

    def _plan(self) -> tuple[list[list[Item]], bool]:
        pending, ranks = self.stage.pending(), self.trainer.world_size
        length = self.stage.length
        plan = plan_batches(pending, self.limits, length=length, start=self.stage.start, at_least=ranks)
        longest = max(sum(map(length, batch)) for batch in plan)
        return plan, self._shares_memory(longest)

    def _shares_memory(self, longest: float) -> bool:
        """Whether batches of at most `longest` seconds, as many as are loaded ahead, fit into shared memory."""
        ahead = (2 * self.workers + 2) * self.trainer.world_size
        needed, free = ahead * longest * BYTES_PER_SECOND, free_shared_memory()
        if self.workers and needed > free:
            log.warning(
                "%s has %.0f MB free, and what is decoded ahead may need %.0f: it goes through pipes, a little slower."
                " Containers get more with docker run --shm-size=2g.", SHARED_MEMORY, free / 1e6, needed / 1e6
            )  # fmt: skip
        return needed <= free

    def predict_step(self, batch: tuple[int, Loaded], batch_idx: int) -> int:
        """Work on one batch, and return its number of items."""
        items, loaded = batch
        self.stage.work(loaded, self.writer)
        return items

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Leave the batch where it is: what goes to the device, and when, is the model's business."""
        return batch

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """End the loop of every rank once the writer says so.

        It ends in good order (Lightning's predict loop does on StopIteration from any of its hooks) rather than by an
        exception: a rank that dies would make Lightning kill the others, and with them the message that says which
        clip it was.
        """
        if self.writer.stopped:
            raise StopIteration


class StageProgress(Callback):
    """Counts in clips, not batches, on rank 0: the number a user waits for."""

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show an empty bar."""
        assert isinstance(pl_module, StageModule)
        total = pl_module.total if trainer.is_global_zero else 0
        self.bar = ProgressBar(pl_module.stage.title, total, unit="clip", patience=0)  # a first batch can take a minute

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: int,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Advance by this batch on every rank: they run at about the same pace."""
        self.bar.advance(outputs * trainer.world_size)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the finished bar on the screen."""
        self.bar.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the terminal back before the message is printed."""
        if hasattr(self, "bar"):
            self.bar.close()


NOISE = (
    ".*does not have many workers.*",  # more than `workers` are not wanted: the model, or training, takes the time
    ".*LeafSpec.*is deprecated.*",  # between Lightning and torch
    "This DataLoader will create .* worker processes",  # more than there are cores: `workers` is the user's choice
)
"""Beginnings, as regular expressions, of warnings by Lightning and torch that say nothing to a user."""


@contextlib.contextmanager
def without_noise() -> Iterator[None]:
    """Leave these warnings out."""
    with warnings.catch_warnings():
        for message in NOISE:
            warnings.filterwarnings("ignore", message)
        yield


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C in one of Lightning's loops be Ctrl-C outside of it.

    Lightning turns it into an exit of its own, and ignores any other from then on; the run's message is ours to give,
    and a notebook or a second Ctrl-C is to find the handler that was there.
    """
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt from None


def configured_trainer(settings: Mapping[str, Any], devices: Devices, **options: Any) -> Trainer:
    """Return Lightning's Trainer on the devices of a run.

    Args:
        settings: `trainer.*` of the configuration, with its `_target_`.
        devices: Where.
        options: Further arguments, which come before those.
    """
    chosen = {"accelerator": devices.accelerator, "devices": devices.selected}
    for name in ("lightning.pytorch", "lightning.fabric"):  # the metadata has the devices
        logging.getLogger(name).setLevel(logging.WARNING)
    trainer: Trainer = hydra.utils.instantiate(dict(settings) | chosen | options)
    return trainer


class LightningRunner:
    """Runs stages one after the other, on all devices of the run."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        devices: Devices,
        *,
        limits: BatchLimits,
        workers: int,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Build Lightning's Trainer.

        Args:
            settings: `trainer.*` of the configuration, with its `_target_`.
            devices: Where.
            limits: How large batches may get.
            workers: Decoding processes per device.
            callbacks: Further Lightning callbacks (tracking).
        """
        self.limits = limits
        self.workers = workers
        self.trainer = configured_trainer(settings, devices, callbacks=[StageProgress(), *callbacks])

    @property
    def processes(self) -> int:
        """How many share the work, one a device."""
        return self.trainer.world_size

    def run(self, stage: Stage[Any, Any], writer: ScoreWriter, *, limits: BatchLimits | None = None) -> None:
        """Do all of a stage's work; returns on all ranks when it is done on all.

        Args:
            stage: The work.
            writer: Takes scores and failures.
            limits: How large this stage's batches may get, where that is not the run's to say.

        Raises:
            KeyboardInterrupt: The user stopped the run.
        """
        module = StageModule(stage, writer, limits or self.limits, workers=self.workers)
        with interruptible(), without_noise():
            self.trainer.predict(module, return_predictions=False)
        if module.loader.workers_died:
            self.workers = 0
        self.wait(stage.title)

    def wait(self, reason: str) -> None:
        """Return when all ranks have come here."""
        self.trainer.strategy.barrier(reason)
