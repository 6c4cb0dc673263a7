"""What runs on the machines of a Ray cluster: processes that hold the model, and tasks that decode for them.

A worker scores a part as `LocalEngine` does, with the same stages, batches and stores. Only the threads that decode
ahead of the model there are tasks here, which Ray places where a processor is free and starts again where one dies.
"""

import os
import platform
import sys
from collections import deque
from collections.abc import Callable, Container, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy.typing as npt
import ray
import torch
from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, WorkerCrashedError
from ray.util import register_serializer

import cmi_bench
from cmi_bench.audio import decode
from cmi_bench.catalogue.audio import SongFiles
from cmi_bench.catalogue.local import LocalEngine
from cmi_bench.catalogue.parts import Answer, CataloguePart, ScoredWith
from cmi_bench.config import Config
from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.code_identity import code_of
from cmi_bench.scoring.embedding_items import AudioItem
from cmi_bench.scoring.local import LocalRunner
from cmi_bench.scoring.requests import Request
from cmi_bench.scoring.stages import AudioLoader, InputLoader, LoadedBatch
from cmi_bench.types import Score
from cmi_bench.utils.workspace import workspace

RETRIES = 2
"""How often a task is started again whose process died."""

DEATHS = (WorkerCrashedError, OutOfMemoryError, NodeDiedError, ObjectLostError)
"""What Ray says of a task whose process died, whose machine did, or whose result was there."""

Given = TypeVar("Given")
Result = TypeVar("Result")


class Room(NamedTuple):
    """What each of the workers may take of the cluster for its audio."""

    processors: float
    """That decode for it."""
    memory: float
    """Bytes of Ray's object store, where decoded audio waits for the model."""

    def batches(self, config: Config, sr: int) -> int:
        """Return how many batches may be decoded, or being decoded, while the model works on another.

        Args:
            config: Says how large batches get.
            sr: Hz; of the decoded audio.
        """
        batch = max(config.batch_seconds, config.max_dur) * sr * torch.float32.itemsize
        return max(1, min(round(2 * self.processors), int(self.memory / batch)))


class Started(NamedTuple):
    """What a worker says when it has loaded the model."""

    scored_with: ScoredWith
    machine: str
    """Its name."""


class RayWorker:
    """A process of the cluster that holds the model, on a GPU of its own where there are some; to Ray, an actor."""

    def __init__(self, config: Config, device: str, room: Room, *, folder: str, modules: Sequence[str]) -> None:
        """Take what is needed to load the model.

        Args:
            config: See `LocalEngine`.
            device: As for `load_model`.
            room: What it may take of the cluster.
            folder: What paths are relative to, where this machine has it too.
            modules: Folders in which the model's own modules may be, where this machine has them too.
        """
        if Path(folder).is_dir():
            os.chdir(folder)
        sys.path += [folder for folder in modules if folder not in sys.path]
        self._engine = _WorkerEngine(config, device, room)

    def start(self) -> Started:
        """Load the model.

        Raises:
            UserError: As `build_judge`.
        """
        return Started(self._engine.scored_with, platform.node())

    def score(self, part: CataloguePart) -> list[Answer]:
        """Return an answer for each request of a part; see `LocalEngine`."""
        ((_, answers),) = self._engine.score(iter([part]))
        return answers


class _WorkerEngine(LocalEngine):
    """The local engine, whose audio the cluster decodes."""

    def __init__(self, config: Config, device: str, room: Room) -> None:
        super().__init__(config, device)
        self._room = room

    def _runner(self, files: SongFiles, on_batch: Callable[[int], None]) -> "ClusterRunner":
        limits = BatchLimits(self.config.batch_size, self.config.batch_seconds)
        ahead = self._room.batches(self.config, int(self.model.sr))
        return ClusterRunner(limits, workers=self.config.workers, ahead=ahead, own_files=files.fetched)


class ClusterRunner(LocalRunner):
    """Runs stages in this process, batch for batch as `LocalRunner` does; tasks of the cluster decode ahead of it."""

    def __init__(
        self, limits: BatchLimits, *, workers: int, ahead: int, own_files: Container[Path] = frozenset()
    ) -> None:
        """Say how.

        Args:
            limits: How large batches may get.
            workers: Threads that read what is no audio.
            ahead: Batches of audio that may be decoded before the model has room for them.
            own_files: Audio that only this machine has, and sends along; all machines have the rest.
        """
        super().__init__(limits, workers=workers, show_progress=False)
        self.ahead = ahead
        self.own_files = own_files

    def _loaded(
        self, plan: Sequence[Sequence[Any]], load: Callable[[Sequence[Any]], Any]
    ) -> Generator[Any, None, None]:
        """Yield the plan's batches, loaded, in its order."""
        if not (isinstance(load, AudioLoader) or (isinstance(load, InputLoader) and load.form == "waveform")):
            yield from super()._loaded(plan, load)
            return
        ahead: deque[Task[Any, _Loaded]] = deque()
        try:
            for batch in plan:
                ahead.append(self._decoding(batch, load))
                if len(ahead) > self.ahead:
                    yield _joined(ahead.popleft().results())
            while ahead:
                yield _joined(ahead.popleft().results())
        finally:  # of a stopped run, what nobody waits for
            for task in ahead:
                task.cancel()

    def _decoding(self, batch: Sequence[Any], load: AudioLoader | InputLoader) -> "Task[_SentItem, _Loaded]":
        if isinstance(load, AudioLoader):
            # What another process has embedded meanwhile is looked up here: tasks may run where the cache is not.
            batch, load = load.lacking(batch), replace(load, cache=None)
        sent = [
            _SentItem(item, {path: path.read_bytes() for path in _paths(item) if path in self.own_files})
            for item in batch
        ]
        return Task(partial(_load_one, load), sent, blame=_blamed, name="decode")


_Item = AudioItem | Request
_Loaded = LoadedBatch[Any, Any]


@dataclass(frozen=True)
class _SentItem:
    """What a task is to load, on whatever machine."""

    item: _Item
    contents: Mapping[Path, bytes]
    """Of its files that only the sender has."""


def _paths(item: _Item) -> list[Path]:
    if isinstance(item, AudioItem):
        return [item.path]
    return [path for path in (item.clip.audio, item.clip.ref_audio) if path is not None]


def _moved(item: _Item, places: Mapping[Path, Path]) -> _Item:
    if isinstance(item, AudioItem):
        return replace(item, path=places.get(item.path, item.path))
    clip = item.clip
    reference = None if clip.ref_audio is None else places.get(clip.ref_audio, clip.ref_audio)
    return replace(item, clip=replace(clip, audio=places.get(clip.audio, clip.audio), ref_audio=reference))


def _load_one(load: Callable[[Sequence[Any]], _Loaded], sent: _SentItem) -> _Loaded:
    if not sent.contents:
        return load([sent.item])
    with workspace() as folder:
        places = {path: folder / f"{number}{path.suffix}" for number, path in enumerate(sent.contents)}
        for path, content in sent.contents.items():
            places[path].write_bytes(content)
        loaded = load([_moved(sent.item, places)])
        # Nothing that is kept may tell where a file was for a moment.
        errors = {key: score.error for key, score in loaded.errors.items()}
        for path, place in places.items():
            errors = {key: error.replace(str(place), str(path)) for key, error in errors.items()}
        return LoadedBatch(
            [(sent.item, value) for _, value in loaded.items],
            {key: Score.failed(error) for key, error in errors.items()},
            loaded.seconds,
        )


def _blamed(sent: _SentItem) -> _Loaded:
    reason = f"{sent.item.name}: the process that decodes it died {RETRIES + 1} times"
    return LoadedBatch([], {sent.item.key: Score.failed(reason)}, 0.0)


def _joined(loaded: Iterable[_Loaded]) -> _Loaded:
    whole: _Loaded = LoadedBatch([], {}, 0.0)
    for one in loaded:
        whole.items += one.items
        whole.errors |= one.errors
        whole.seconds += one.seconds
    return whole


class Task(Generic[Given, Result]):
    """A function called with each of some values, by one process of the cluster."""

    def __init__(
        self,
        function: Callable[[Given], Result],
        values: Sequence[Given],
        *,
        blame: Callable[[Given], Result],
        name: str,
    ) -> None:
        """Have it done, while this process goes on.

        Args:
            function: Must be safe to repeat; goes to another machine, as do the values and what it returns.
            values: What to call it with.
            blame: What stands for the result of a value that ends each process it is given to.
            name: How Ray calls it.
        """
        self._function = function
        self._values = values
        self._blame = blame
        self._name = name
        call = ray.remote(num_cpus=1, max_retries=RETRIES)(_call_with_each)
        self._ref = call.options(name=name).remote(function, values)

    def results(self) -> list[Result]:
        """Wait for what it returns of each value; where the process dies time and again, each value is tried alone."""
        try:
            found: list[Result] = ray.get(self._ref)
        except DEATHS:
            if len(self._values) == 1:
                return [self._blame(self._values[0])]
            alone = [Task(self._function, [value], blame=self._blame, name=self._name) for value in self._values]
            return [result for task in alone for result in task.results()]
        return found

    def cancel(self) -> None:
        """Do not wait for it any more."""
        ray.cancel(self._ref)


def _call_with_each(function: Callable[[Given], Result], values: Sequence[Given]) -> list[Result]:
    # As an array, audio is not copied on its way through the object store.
    register_serializer(torch.Tensor, serializer=torch.Tensor.numpy, deserializer=_own_tensor)
    return [function(value) for value in values]


def _own_tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    """Return a tensor that may be written to, which memory shared with other processes may not."""
    return torch.from_numpy(array.copy())


def decoding_identity() -> dict[str, str]:
    """Return what has to be the same on all machines, for those that decode: by what it is of."""
    code = code_of(decode.__name__, Path(decode.__file__), decodes=True).identity()
    return {"cmi-bench": cmi_bench.__version__, "its code and libraries for audio": code}
