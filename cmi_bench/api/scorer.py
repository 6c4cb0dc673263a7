"""A reward model for use outside of the benchmark.

Songs, from files or from memory, in the form in which a model wants them.
"""

import math
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scipy.io import wavfile
from torch import Tensor

from cmi_bench.api.ranking import RankedSong, criterion, places
from cmi_bench.api.songs import Audio, Song, as_song, name_of, samples_of, seconds_of_array
from cmi_bench.audio.decode import RESAMPLER_CONTEXT, decode, to_mono
from cmi_bench.audio.readers import Samples, Start
from cmi_bench.config import Config, OnError
from cmi_bench.data.audio_index import seconds_of
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.models.base import BenchmarkBatchInput, RemoteModel, RewardModel
from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.local import PlainRunner
from cmi_bench.scoring.requests import mark_partial_nan
from cmi_bench.scoring.stages import LoadedRequests, WholeStage
from cmi_bench.scoring.store import MemoryScoreWriter, RunStats, ScoreWriter
from cmi_bench.types import Score


@dataclass(frozen=True)
class NumberedSong:
    """A song and its place in what was given, from 0."""

    index: int
    song: Song

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return name_of(self.song.audio) or f"Song {self.index + 1}"


@dataclass(frozen=True)
class SongLoader:
    """Loads songs for a model."""

    model: RewardModel
    max_dur: float
    """Seconds of each that are heard."""
    folder: Path
    """For files, where a model takes nothing else."""

    def __call__(self, items: Sequence[NumberedSong]) -> LoadedRequests:
        """Decode, convert, or hand over the paths."""
        start = time.perf_counter()
        loaded = LoadedRequests([], {}, 0.0)
        for item in items:
            try:
                loaded.inputs.append((str(item.index), self._input(item)))
            except UserError as error:
                loaded.errors[str(item.index)] = str(error)
        loaded.seconds = time.perf_counter() - start
        return loaded

    def _input(self, item: NumberedSong) -> BenchmarkBatchInput:
        song, unused = item.song, frozenset(getattr(self.model, "unused_inputs", ()))
        reference = None if "ref_audio" in unused else song.ref_audio
        return BenchmarkBatchInput(
            audio=self._audio(song.audio, song.sample_rate, item.name),
            text="" if "text" in unused else song.text,
            lyrics="" if "lyrics" in unused else song.lyrics,
            ref_audio=None
            if reference is None
            else self._audio(reference, song.sample_rate, f"The reference of {item.name}"),
            clip_id=f"{item.index + 1}:a",
        )

    def _audio(self, audio: Audio, sample_rate: int | None, name: str) -> str | Tensor:
        takes_paths = getattr(self.model, "audio_input", "path") == "path"
        path = name_of(audio)
        if path is not None:
            return path if takes_paths else decode(path, int(self.model.sr), self.max_dur)
        samples = samples_of(audio, sample_rate, name=name)  # type: ignore[arg-type]
        if takes_paths:
            return self._written(samples)
        needed = Start(self.max_dur, RESAMPLER_CONTEXT).samples(samples.sr)
        return to_mono(samples._replace(values=samples.values[:needed]), int(self.model.sr), self.max_dur, name=name)

    def _written(self, samples: Samples) -> str:
        path = self.folder / f"{uuid.uuid4().hex}.wav"
        # Not libsndfile, which writes the time into such a file: equal songs have to be equal files.
        wavfile.write(path, samples.sr, samples.values)
        return str(path)


class SongStage:
    """Scores songs as `WholeStage` scores the clips of a run."""

    title = "scoring"
    start = 0.0

    def __init__(
        self,
        songs: Sequence[NumberedSong],
        model: RewardModel,
        *,
        max_dur: float,
        score_kwargs: Mapping[str, Any],
        writer: ScoreWriter,
        folder: Path,
    ) -> None:
        self.songs = songs
        self.load = SongLoader(model, max_dur, folder)
        self._whole = WholeStage([], model, max_dur=max_dur, score_kwargs=score_kwargs, writer=writer, stats=RunStats())

    def pending(self) -> list[NumberedSong]:
        """Return the songs."""
        return list(self.songs)

    def length(self, item: NumberedSong) -> float:
        """Return the seconds of audio that have to be heard, as far as known."""
        song = item.song
        audio = [song.audio] if song.ref_audio is None else [song.audio, song.ref_audio]
        return sum(self._seconds(one, song.sample_rate) for one in audio)

    def _seconds(self, audio: Audio, sample_rate: int | None) -> float:
        path = name_of(audio)
        known = seconds_of_array(audio, sample_rate) if path is None else seconds_of(Path(path))  # type: ignore[arg-type]
        return self.load.max_dur if known is None else min(known, self.load.max_dur)

    def work(self, loaded: LoadedRequests) -> int:
        """Score, and keep what comes back."""
        return self._whole.work(loaded)


HINT = "\n  -> "
"""Where a message goes on to say what to do."""


class SongScorer:
    """Scores songs with a reward model, in this process; nothing is kept on disk.

    A song's scores are those that the benchmark gives the same clip: they do not depend on what else is scored.
    `load_model` makes one of a model's name; of a model object of your own, make it directly.

    Audio is a path, an array or tensor with its sampling rate, or a tuple (array, sampling rate). Arrays are
    [samples], [channels, samples] or [samples, channels] with at most 8 channels; the channels are averaged, and what
    is beyond `max_dur` seconds is not heard. Floating-point samples have full scale 1, integers that of their type.
    """

    def __init__(
        self,
        model: RewardModel,
        *,
        max_dur: float = Config.max_dur,
        score_kwargs: Mapping[str, Any] | None = None,
        batch_size: int = Config.batch_size,
        batch_seconds: float = Config.batch_seconds,
        workers: int = Config.workers,
    ) -> None:
        """Take a model.

        Args:
            model: An object with `sr` and `score_batch`; see `cmi_bench.models.base.RewardModel`.
            max_dur: Seconds of each song that are heard, from its start.
            score_kwargs: Passed on to `score_batch`.
            batch_size: Songs that are scored together, at most.
            batch_seconds: Seconds of audio that are scored together, at most.
            workers: Threads that decode ahead of the model.
        """
        self.model = model
        self.max_dur = max_dur
        self.score_kwargs = dict(score_kwargs or {})
        self._runner = PlainRunner(BatchLimits(batch_size, batch_seconds), workers=workers, show_progress=False)

    def score(
        self,
        audio: Audio,
        *,
        text: str = "",
        lyrics: str = "",
        ref_audio: "Audio | None" = None,
        sample_rate: int | None = None,
    ) -> Score:
        """Score one song.

        Args:
            audio: The song.
            text: The prompt it was made from.
            lyrics: The lyrics it was to have.
            ref_audio: The reference audio it was made from.
            sample_rate: Hz, of `audio` and `ref_audio` where they are arrays that come without.

        Returns:
            `alignment` and `musicality`, on the model's own scale; NaN for what it does not judge.

        Raises:
            UserError: The audio cannot be used, or the model failed on it.

        >>> import numpy as np
        >>> from cmi_bench import load_model
        >>> tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * 16000) / 16000)
        >>> score = load_model("signal").score(tone, sample_rate=16000, text="a calm song")
        >>> 0 < score.musicality < 1
        True
        """
        song = Song(audio, text, lyrics, ref_audio, sample_rate)
        return self.score_batch([song])[0]

    def score_batch(
        self,
        songs: "Iterable[Song | Mapping[str, Any] | Audio]",
        *,
        text: str = "",
        lyrics: str = "",
        ref_audio: "Audio | None" = None,
        sample_rate: int | None = None,
        on_error: str = "fail",
    ) -> list[Score]:
        """Score songs, in batches.

        Args:
            songs: Each a `Song`, a mapping with a `Song`'s fields, or audio alone, for which the rest of the
                arguments hold.
            text: The prompt.
            lyrics: The lyrics.
            ref_audio: The reference audio.
            sample_rate: Hz, of arrays that come without.
            on_error: "fail" raises for the first song that cannot be scored; "record" gives it NaN and says in
                `error` why.

        Returns:
            A score for each song, in their order.

        Raises:
            UserError: A song is not in one of these forms, or cannot be scored.

        >>> import numpy as np
        >>> from cmi_bench import Song, load_model
        >>> tone = np.sin(2 * np.pi * 440 * np.arange(2 * 16000) / 16000)
        >>> noise = np.random.default_rng(0).standard_normal(2 * 16000)
        >>> model = load_model("signal")
        >>> both = model.score_batch([0.3 * tone, 0.3 * noise], sample_rate=16000)
        >>> both[0].musicality > both[1].musicality
        True
        >>> mixed = model.score_batch([Song((tone, 16000), text="slow"), {"audio": "no.wav"}], on_error="record")
        >>> [bool(score.error) for score in mixed]
        [False, True]
        """
        given = Song("", text, lyrics, ref_audio, sample_rate)
        numbered = [NumberedSong(index, as_song(one, given, index)) for index, one in enumerate(songs)]
        return self._score(numbered, _on_error(on_error))

    def rank(
        self,
        songs: "Sequence[Song | Mapping[str, Any] | Audio]",
        *,
        text: str = "",
        lyrics: str = "",
        ref_audio: "Audio | None" = None,
        sample_rate: int | None = None,
        by: str = "musicality",
        weight: float = 0.5,
        top_k: int | None = None,
        on_error: str = "fail",
    ) -> list[RankedSong]:
        """Score songs and put the best first.

        Args:
            songs: As for `score_batch`, as are the arguments up to `sample_rate`.
            text: The prompt.
            lyrics: The lyrics.
            ref_audio: The reference audio.
            sample_rate: Hz, of arrays that come without.
            by: "musicality", "alignment", or "mean".
            weight: Of musicality in the mean, 0 to 1; alignment has the rest.
            top_k: How many of the best; None for all.
            on_error: "fail" raises for the first song that cannot be scored; "record" leaves it out.

        Returns:
            The songs, the best first; of equal ones the one given first.

        Raises:
            UserError: As for `score_batch`; or the model does not judge what is to be ranked by.

        >>> import numpy as np
        >>> from cmi_bench import load_model
        >>> time = np.arange(2 * 16000) / 16000
        >>> noise = np.random.default_rng(0).standard_normal(len(time))
        >>> songs = [0.3 * np.sin(2 * np.pi * 440 * time) + loudness * noise for loudness in (0.1, 0.0, 0.01)]
        >>> best = load_model("signal").rank(songs, sample_rate=16000, top_k=1)
        >>> [(song.rank, song.index) for song in best]
        [(1, 1)]
        """
        rule = criterion(by, weight)
        given = Song("", text, lyrics, ref_audio, sample_rate)
        numbered = [NumberedSong(index, as_song(one, given, index)) for index, one in enumerate(songs)]
        scores = self._score(numbered, _on_error(on_error))
        rule.check(scores, type(self.model).__name__)
        return [
            RankedSong(place.rank, place.index, numbered[place.index].song, place.value, *scores[place.index].columns)
            for place in places([rule.value(score) for score in scores], top_k)
        ]

    def _score(self, songs: Sequence[NumberedSong], on_error: OnError) -> list[Score]:
        writer = MemoryScoreWriter()
        with TemporaryDirectory(prefix="cmi-bench-") as folder:
            stage = SongStage(
                songs,
                self.model,
                max_dur=self.max_dur,
                score_kwargs=self.score_kwargs,
                writer=writer,
                folder=Path(folder),
            )
            # One that asks a service waits rather than to compute here: seconds of audio are no bound.
            model = self.model
            limits = BatchLimits(model.clips_at_once, math.inf) if isinstance(model, RemoteModel) else None
            self._runner.run(stage, limits=limits)
        found = mark_partial_nan({str(song.index): _clip_score(str(song.index), writer) for song in songs})
        if on_error is OnError.fail:
            _raise_first_failure(songs, found)
        return [found[str(song.index)] for song in songs]


def _on_error(name: str) -> OnError:
    try:
        return OnError(name)
    except ValueError:
        names = [one.value for one in OnError]
        raise UserError(f"on_error={name!r} is none of {', '.join(names)}.", did_you_mean(name, names)) from None


def _clip_score(key: str, writer: MemoryScoreWriter) -> Score:
    if key in writer.reasons:
        return Score.failed(writer.reasons[key])
    return writer.scores[key]


def _raise_first_failure(songs: Sequence[NumberedSong], scores: Mapping[str, Score]) -> None:
    for song in songs:
        error = scores[str(song.index)].error
        if error:
            raise UserError(
                error if song.name in error else f"{song.name}: {error}",
                "" if len(songs) == 1 or HINT in error else 'on_error="record" goes on without such songs.',
            )
