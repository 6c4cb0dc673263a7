"""Models on devices, and the way of a song through the server: looked up, else decoded, batched, scored, and kept."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from cmi_bench.api.load import torch_device
from cmi_bench.api.songs import alignment_note
from cmi_bench.data.audio_info import FileFacts, read_seconds
from cmi_bench.errors import UserError
from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.embedding_cache import GIGABYTE, open_embeddings
from cmi_bench.scoring.model_call import ModelCall
from cmi_bench.scoring.requests import Request, request_of
from cmi_bench.scoring.stages import GpuLostError
from cmi_bench.serving.batch_scorer import BatchScorer
from cmi_bench.serving.loaded_model import LoadedModel, ModelToServe
from cmi_bench.serving.metrics import ServerMetrics
from cmi_bench.serving.queue import QueueBounds, QueuedSong, SongAnswer, SongQueue
from cmi_bench.serving.receive import DOCS, Received
from cmi_bench.serving.refused import RefusedError
from cmi_bench.serving.spool import RequestFolder, SpooledAudio, SpoolFolder
from cmi_bench.serving.wire import (
    AudioPart,
    ErrorCode,
    Limits,
    Problem,
    Receipt,
    ServerState,
    WireSong,
)
from cmi_bench.types import Clip, Score
from cmi_bench.utils.addresses import below, place_of

log = logging.getLogger(__name__)

T = TypeVar("T")

AHEAD = 4
"""Batches that are decoded ahead of each device, in seconds of audio: among them those of near lengths are found."""
PRUNED_EVERY = 0.05
"""Share of the cache's bound that may be added before it is pruned again."""
UNCACHED_GB = 1.0
"""Embeddings kept for a while by a server that keeps none: those of the batches that are at work."""


@dataclass(frozen=True)
class ServiceSettings:
    """What a server takes, and where it reads."""

    limits: Limits
    queue_songs: int = 512
    """Songs that are on their way at once."""
    queue_seconds: float = 36_000.0
    """Seconds of audio that are on their way at once."""
    patience: float = 0.005
    """Seconds that a batch which is not full waits for more."""
    audio_root: Path | None = None
    """The folder below which requests may name audio by its path."""


class PreparedSong(NamedTuple):
    """A song whose files are in the spool, and what is asked of the model."""

    request: Request
    audio: SpooledAudio
    ref_audio: SpooledAudio | None
    stored: Score | None
    """What was scored before."""


@dataclass
class TakenSongs:
    """Songs of a request that are on their way."""

    model: LoadedModel
    songs: Sequence[PreparedSong | Problem]
    answers: dict[int, "Future[SongAnswer]"] = field(default_factory=dict)
    """By place; of those that are on their way."""


class RewardService:
    """Scores songs with models on devices."""

    def __init__(
        self, models: Sequence[ModelToServe], devices: Sequence[str], spool: SpoolFolder, settings: ServiceSettings
    ) -> None:
        """Say what is served; nothing is loaded yet.

        Args:
            models: Each with a name of its own.
            devices: By torch's names, or "auto"; each has a thread, and all models.
            spool: For temporary files.
            settings: What is taken.
        """
        self.specs = models
        self.devices = list(devices)
        self.spool = spool
        self.settings = settings
        self.workers = max(spec.config.workers for spec in models)
        ahead = AHEAD * len(devices) * max(spec.config.batch_seconds for spec in models)
        self.queue = SongQueue(
            QueueBounds(settings.queue_songs, settings.queue_seconds, ahead=ahead, patience=settings.patience)
        )
        self.metrics = ServerMetrics(self.queue, self._times_out_of_memory)
        self.state = ServerState.LOADING
        self.started = time.monotonic()
        self.models: dict[str, LoadedModel] = {}
        self._pool = ThreadPoolExecutor(max(2, self.workers), thread_name_prefix="look-up")
        self._threads: list[threading.Thread] = []
        self._pruned: dict[str, int] = {}
        self._failed: Callable[[BaseException], None] = lambda error: None

    def start(self, failed: Callable[[BaseException], None]) -> None:
        """Load the models in the background, and go to work.

        Args:
            failed: Called, in another thread, where they cannot be loaded, or a GPU computes nothing more.
        """
        self._failed = failed

        def load() -> None:
            try:
                self._load()
            except BaseException as error:
                failed(error)

        self._run("loading", load)

    def stop(self) -> None:
        """Take no more songs; those that were taken are still answered."""
        self.state = ServerState.STOPPING
        self.queue.close()

    def close(self) -> None:
        """Return when all threads have ended."""
        self.stop()
        for thread in self._threads:
            thread.join()
        self._pool.shutdown(cancel_futures=True)
        for model in self.models.values():
            model.close()

    def check_ready(self) -> None:
        """Make sure that songs are taken.

        Raises:
            RefusedError: The models are being loaded.
        """
        if self.state is ServerState.LOADING:
            what = "The models are being loaded."
            raise RefusedError(ErrorCode.NOT_READY, what, "GET /health tells when they are there.", retry_after=2)

    def named(self, name: str | None) -> LoadedModel:
        """Return the model that a request asks for.

        Raises:
            RefusedError: There is none of this name, or several and none is named.
        """
        if name is None and len(self.models) == 1:
            return next(iter(self.models.values()))
        known = f"This server has: {', '.join(self.models)}."
        if name is None:
            raise RefusedError(ErrorCode.INVALID, "The request names no model.", known)
        if name not in self.models:
            raise RefusedError(ErrorCode.NOT_FOUND, f"There is no model {name!r}.", known)
        return self.models[name]

    async def take(self, received: Received, folder: RequestFolder) -> TakenSongs:
        """Look songs up, and put those that are not known into the queue.

        Args:
            received: What is asked for.
            folder: Where its files are.

        Raises:
            RefusedError: There is no such model.
            QueueFullError: There is no room.
            QueueClosedError: The server is about to end.
        """
        model, start = self.named(received.model), time.monotonic()
        prepared = await self._in_thread(partial(self._prepare, received, model, folder), folder)
        self.metrics.stage("look_up", time.monotonic() - start)
        taken = TakenSongs(model, prepared)
        asked = [
            (place, song)
            for place, song in enumerate(prepared)
            if isinstance(song, PreparedSong) and song.stored is None
        ]
        queued = [QueuedSong(model.card.name, song.request, folder.hold().release) for _, song in asked]
        try:
            answers = self.queue.join(queued)
        except BaseException:
            for one in queued:
                one.release()
            raise
        taken.answers = {place: answer for (place, _), answer in zip(asked, answers, strict=True)}
        return taken

    async def receipts(self, taken: TakenSongs) -> list[Receipt]:
        """Return what came of songs, when all are there; who is cancelled here needs them no more."""
        try:
            await asyncio.gather(*map(asyncio.wrap_future, taken.answers.values()))
        except asyncio.CancelledError:
            self.metrics.song(taken.model.card.name, "dropped", count=self.queue.leave(list(taken.answers.values())))
            raise
        return [self._receipt(taken, place) for place in range(len(taken.songs))]

    def _receipt(self, taken: TakenSongs, place: int) -> Receipt:
        model, song = taken.model, taken.songs[place]
        told: dict[str, Any] = {"model": model.card, "settings": model.settings}
        if isinstance(song, Problem):
            self._count(model, "failed", song.code)
            return Receipt(error=song, **told)
        told |= {
            "audio_sha256": song.audio.sha256,
            "ref_audio_sha256": song.ref_audio.sha256 if song.ref_audio else None,
        }
        answer = taken.answers[place].result() if song.stored is None else SongAnswer(song.stored)
        answer = model.judge(answer)
        if answer.code is not None:
            self._count(model, "failed", answer.code)
            return Receipt(error=Problem(code=answer.code, what=self._named(answer.score.error, song)), **told)
        self._count(model, "scored" if song.stored is None else "from_store")
        told |= Receipt.scores_of(answer.score)
        told["alignment_note"] = alignment_note(song.request.clip, answer.score, model.call.model.unused_inputs)
        return Receipt(from_store=song.stored is not None, **told)

    def _count(self, model: LoadedModel, result: str, code: ErrorCode | None = None) -> None:
        self.metrics.song(model.card.name, result)
        if code is not None:
            self.metrics.failure(code)

    def _named(self, error: str, song: PreparedSong) -> str:
        """Return an error with the client's names in place of the spool's."""
        for file in (song.audio, song.ref_audio):
            if file is not None:
                error = error.replace(str(file.path), file.name)
        return error.replace(str(self.spool.folder), "")

    async def _in_thread(self, work: Callable[[], T], folder: RequestFolder) -> T:
        """Do work beside the event loop; the files are there for as long as it takes, also where nobody waits."""
        folder.hold()
        future = self._pool.submit(work)
        future.add_done_callback(lambda _: folder.release())
        return await asyncio.wrap_future(future)

    def _prepare(self, received: Received, model: LoadedModel, folder: RequestFolder) -> list[PreparedSong | Problem]:
        """Look at each song's audio, and look up what was scored before."""
        prepared = [self._prepared(song, received, model, folder) for song in received.songs]
        known = model.lookup([song.request.key for song in prepared if isinstance(song, PreparedSong)])
        return [
            song._replace(stored=known.get(song.request.key)) if isinstance(song, PreparedSong) else song
            for song in prepared
        ]

    def _prepared(
        self, song: WireSong, received: Received, model: LoadedModel, folder: RequestFolder
    ) -> PreparedSong | Problem:
        unused = model.call.model.unused_inputs
        try:
            audio = self._file(song.audio, received.files, folder)
            wanted = song.ref_audio if "ref_audio" not in unused else None
            reference = None if wanted is None else self._file(wanted, received.files, folder)
            facts = {file.path: self._facts(file) for file in (audio, reference) if file is not None}
        except RefusedError as error:
            return error.problem
        clip = Clip(
            clip_id=audio.path.stem,  # no other song has it
            audio=audio.path,
            text=song.text,
            lyrics=song.lyrics,
            ref_audio=None if reference is None else reference.path,
        )
        request = request_of(clip, model.call, model.card.code, _SpooledFacts(facts))
        return PreparedSong(request, audio, reference, None)

    def _file(self, part: AudioPart, files: Mapping[str, SpooledAudio], folder: RequestFolder) -> SpooledAudio:
        if part.path is not None:
            if self.settings.audio_root is None:
                what = "This server reads no audio by its path."
                raise RefusedError(ErrorCode.INVALID, what, "Send the audio itself, or have --audio-root set.")
            return folder.copy_below(self.settings.audio_root, part.path, max_bytes=self.settings.limits.max_bytes)
        if part.part is None or part.part not in files:
            raise RefusedError(ErrorCode.INVALID, f"There is no file {part.part!r} in the form.", DOCS)
        file = files[part.part]
        if part.sample_rate is None:
            return file
        return folder.as_wav(file, sample_rate=part.sample_rate, channels=part.channels)

    def _facts(self, file: SpooledAudio) -> FileFacts:
        seconds, most = read_seconds(file.path), self.settings.limits.max_seconds
        if seconds is not None and seconds > most:
            what = f"{file.name} has {seconds:,.0f} s of audio; {most:,.0f} s are taken."
            raise RefusedError(ErrorCode.TOO_LARGE, what, "Cut it.")
        return FileFacts(file.digest, seconds)

    def _load(self) -> None:
        """Load all models onto all devices, and start the threads that work with them."""
        devices = [torch_device(name) for name in self.devices]
        for spec in self.specs:
            scorers = {device: self._scorer(spec, device) for device in devices}
            self.models[spec.name] = LoadedModel(spec, scorers)
        for number in range(self.workers * len(devices)):
            self._run(f"decoding-{number}", self._decode)
        for device in devices:
            self._run(f"scoring-{device}", partial(self._work, device))
        if self.state is ServerState.LOADING:
            self.state = ServerState.READY
            log.info("Ready: %s on %s", ", ".join(self.models), ", ".join(devices))

    def _scorer(self, spec: ModelToServe, device: str) -> BatchScorer:
        config = spec.config
        model = spec.build(config, device)
        if model.is_remote:
            raise UserError(
                f"The model {spec.name} asks a service itself, and is not served.",
                "Use it where its scores are needed.",
            )
        call = ModelCall(model, config.max_dur, config.model.get("score_kwargs") or {}, config.model_timeout)
        place = place_of(config.cache.dir) if config.cache.dir else self.spool.folder
        limits = BatchLimits(config.batch_size, config.batch_seconds)
        return BatchScorer(call, limits, name=spec.name, embeddings=open_embeddings(below(place, "embeddings")))

    def _run(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _decode(self) -> None:
        """Decode songs until no more come."""
        while (song := self.queue.next_to_decode()) is not None:
            start = time.monotonic()
            scorer = next(iter(self.models[song.model].scorers.values()))
            try:
                loaded = scorer.load(song.request)
            except UserError as error:
                self.queue.answer(song, SongAnswer.failed(ErrorCode.UNREADABLE_AUDIO, error.what))
            except Exception as error:
                log.exception("A song could not be decoded.")
                reason = f"{type(error).__name__}: {error}"
                self.queue.answer(song, SongAnswer.failed(ErrorCode.UNREADABLE_AUDIO, reason))
            else:
                self.metrics.stage("decode", time.monotonic() - start)
                self.queue.decoded(song, loaded)

    def _work(self, device: str) -> None:
        """Score batches on a device until no more come."""
        scorers = {name: model.scorers[device] for name, model in self.models.items()}
        idle_since = time.monotonic()
        while (batch := self.queue.next_batch({name: one.limits for name, one in scorers.items()})) is not None:
            start = time.monotonic()
            # What the device waited for while there was nothing to do says nothing of how fast it is.
            began = max(idle_since, min(song.arrived for song in batch))
            self._score(batch, scorers[batch[0].model])
            idle_since = time.monotonic()
            self.metrics.stage("score", idle_since - start)
            self.queue.worked(device, len(batch), idle_since - began)

    def _score(self, batch: Sequence[QueuedSong], scorer: BatchScorer) -> None:
        name, songs = batch[0].model, {song.request.key: song for song in batch}
        self.metrics.batch(name, len(batch), sum(song.seconds for song in batch))
        for song in batch:
            self.metrics.stage("queue", time.monotonic() - song.ready)

        def tell(answers: Mapping[str, SongAnswer]) -> None:
            self.models[name].keep({key: answer.score for key, answer in answers.items()})
            for key, answer in answers.items():
                self.queue.answer(songs[key], answer)

        try:
            scorer.score([(song.request, song.loaded) for song in batch], tell)
            self._prune(scorer)
        except Exception as error:  # the thread goes on; songs that have their answer keep it
            log.exception("A batch of %s failed.", name)
            failure = SongAnswer.failed(ErrorCode.FAILED, f"{type(error).__name__}: {error}")
            for song in batch:
                self.queue.answer(song, failure)
            if isinstance(error, GpuLostError):  # whoever has started the server may start it again
                self._failed(error)

    def _prune(self, scorer: BatchScorer) -> None:
        """Keep the embeddings within their bound."""
        spec = next(spec for spec in self.specs if spec.name == scorer.name)
        most = spec.config.cache.max_gb if spec.config.cache.dir else UNCACHED_GB
        if scorer.bytes_stored - self._pruned.get(scorer.name, 0) > PRUNED_EVERY * most * GIGABYTE:
            self._pruned[scorer.name] = scorer.bytes_stored
            scorer.prune(most)

    def _times_out_of_memory(self) -> float:
        return sum(scorer.times_out_of_memory for model in self.models.values() for scorer in model.scorers.values())


@dataclass(frozen=True)
class _SpooledFacts:
    """Knows the files of one song."""

    by_path: Mapping[Path, FileFacts]

    def facts(self, path: Path) -> FileFacts:
        """Return a file's facts."""
        return self.by_path[path]
