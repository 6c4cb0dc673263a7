"""The engine of one process: part after part through the benchmark's own stages, stores and caches.

While the model works on songs, threads fetch and look at the audio of those that come next.
"""

import logging
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cmi_bench.api.songs import alignment_note
from cmi_bench.catalogue.audio import AudioAtHand, SongFiles
from cmi_bench.catalogue.parts import Answer, AskedSong, CataloguePart, ScoredWith
from cmi_bench.data.audio_info import read_facts
from cmi_bench.types import Clip, Score
from cmi_bench.utils.addresses import Place
from cmi_bench.utils.console import spinner
from cmi_bench.utils.workspace import workspace

if TYPE_CHECKING:
    from cmi_bench.config import Config
    from cmi_bench.models.base import BenchmarkModelABC
    from cmi_bench.scoring.batching import Runner

log = logging.getLogger(__name__)

READERS = 8
"""Threads that fetch audio and read digests ahead of the model."""
REMOTE_SONGS = 256
"""Songs that are scored together where audio has to be fetched; as many more are fetched meanwhile."""
KNOWN_FILES = 65_536
"""Files whose digests and lengths are remembered; of more, those that were not asked for longest are read again."""
PRUNE_SECONDS = 60.0
"""How often the cache of embeddings is brought within its bound."""


class LocalEngine:
    """Scores parts in this process, one after the other."""

    def __init__(self, config: "Config", device: str, *, heard: Callable[[int], None] = lambda songs: None) -> None:
        """Take what to score with.

        Args:
            config: From `compose_config`; `on_error` is "record".
            device: As for `load_model`.
            heard: Told how many songs of the part that is worked on were listened to.
        """
        self.config = config
        self.device = device
        self.heard = heard
        self._pruned = time.monotonic()

    @cached_property
    def model(self) -> "BenchmarkModelABC":
        """The model, built when it is first asked for."""
        log.info("Loading %s", self.config.model["name"])
        with spinner("loading torch"):
            from cmi_bench.api.load import build_judge
            from cmi_bench.scoring import score  # noqa: F401 # takes two seconds, which are spent here

        return build_judge(self.config, self.device)

    @cached_property
    def scored_with(self) -> ScoredWith:
        """What parts are scored with."""
        return ScoredWith.of(self.model, self.config)

    def score(self, parts: Iterator[CataloguePart]) -> Generator[tuple[CataloguePart, list[Answer]], None, None]:
        """Yield each part with its answers, in the order of the parts."""
        answers: list[Answer] = []
        with workspace() as folder:
            pool = ThreadPoolExecutor(READERS)
            try:
                for block in self._prepared(parts, folder, pool):
                    with block.files:
                        block.files.check_reachable()
                        answers += self._score(block, after=len(answers), folder=folder / "run")
                    if block.is_last:
                        yield block.part, answers
                        answers = []
                        self._prune(every=PRUNE_SECONDS)
                self._prune()
            finally:  # of a stopped run, what nobody waits for
                pool.shutdown(cancel_futures=True)

    def _prepared(self, parts: Iterator[CataloguePart], folder: Path, pool: Executor) -> Iterator["_Block"]:
        """Yield blocks whose audio is at hand, or on its way; one more than is asked for is on its way."""
        facts = lru_cache(KNOWN_FILES)(read_facts)
        ahead: _Block | None = None
        for number, (part, songs, is_last) in enumerate(_blocks(parts)):
            files = SongFiles(self._places(songs), folder / f"audio{number}", pool, facts)
            if ahead is not None:
                yield ahead
            ahead = _Block(part, songs, files, is_last)
        if ahead is not None:
            yield ahead

    def _places(self, songs: Sequence[AskedSong]) -> Iterator[Place]:
        for song in songs:
            if song.audio is None:
                continue
            yield song.audio
            if song.ref_audio is not None and "ref_audio" not in self.model.unused_inputs:
                yield song.ref_audio

    def _score(self, block: "_Block", *, after: int, folder: Path) -> list[Answer]:
        runner = self._runner(block.files, lambda done: self.heard(after + min(done, len(block.songs))))
        try:
            return score_songs(block.songs, self.model, runner, config=self.config, audio=block.files, folder=folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _runner(self, files: SongFiles, on_batch: Callable[[int], None]) -> "Runner":
        from cmi_bench.scoring.batching import BatchLimits
        from cmi_bench.scoring.local import LocalRunner

        return LocalRunner(
            BatchLimits(self.config.batch_size, self.config.batch_seconds),
            workers=self.config.workers,
            show_progress=False,
            on_batch=on_batch,
        )

    def _prune(self, *, every: float = 0.0) -> None:
        """Keep the embeddings within their bound: a catalogue's would fill any disk."""
        from cmi_bench.scoring.embedding_cache import prune_after_run

        if time.monotonic() - self._pruned >= every:
            prune_after_run(self.config.cache)
            self._pruned = time.monotonic()


class _Block(NamedTuple):
    """Songs of a part that are scored together."""

    part: CataloguePart
    songs: Sequence[AskedSong]
    files: SongFiles
    is_last: bool
    """Whether the part ends with it."""


def _blocks(parts: Iterator[CataloguePart]) -> Iterator[tuple[CataloguePart, Sequence[AskedSong], bool]]:
    for part in parts:
        songs = part.songs()
        is_remote = any(isinstance(place, str) for song in songs for place in (song.audio, song.ref_audio))
        size = REMOTE_SONGS if is_remote else len(songs)
        for start in range(0, len(songs), size):
            yield part, songs[start : start + size], start + size >= len(songs)


def score_songs(
    songs: Sequence[AskedSong],
    model: "BenchmarkModelABC",
    runner: "Runner",
    *,
    config: "Config",
    audio: AudioAtHand,
    folder: Path,
) -> list[Answer]:
    """Return an answer for each song, in their order; one that cannot be scored costs no other its score.

    Args:
        songs: What is asked.
        model: The model, on this process's device.
        runner: Runs the stages; says where audio is decoded.
        config: As for `LocalEngine`.
        audio: Has the songs' audio, and that of references if the model looks at them.
        folder: For what is needed meanwhile.

    Raises:
        UserError: Something is no single song's fault; see `score_clips`.
    """
    from cmi_bench.scoring.score import score_clips

    clips = {song.number: _clip(song, audio, model) for song in songs if song.audio is not None}
    found = score_clips(
        list(clips.values()), model, runner, config=config, index=audio, folder=folder, with_batch_check=False
    ).scores
    return [
        _answer(song, clips[song.number], found[clips[song.number].clip_id], model, config.max_dur, audio)
        if song.number in clips
        else Answer(Score.failed(NO_AUDIO))
        for song in songs
    ]


NO_AUDIO = "The request names no audio."


def _clip(song: AskedSong, audio: AudioAtHand, model: "BenchmarkModelABC") -> Clip:
    reference = None if song.ref_audio is None or "ref_audio" in model.unused_inputs else audio.path(song.ref_audio)
    assert song.audio is not None
    return Clip(f"{song.number}:a", audio.path(song.audio), song.text, song.lyrics, reference)


def _answer(
    song: AskedSong, clip: Clip, score: Score, model: "BenchmarkModelABC", max_dur: float, audio: AudioAtHand
) -> Answer:
    note = alignment_note(clip, score, model.unused_inputs)
    if score.error:  # a part tells what the request calls its audio, and nothing of this machine
        error = score.error.replace(str(clip.audio), song.name)
        if clip.ref_audio is not None:
            error = error.replace(str(clip.ref_audio), song.ref_name)
        score = Score.failed(error)
    try:
        facts = audio.facts(clip.audio)
    except OSError:
        return Answer(score, None, note)
    return Answer(score, facts.digest, note, min(facts.seconds or 0.0, max_dur))
