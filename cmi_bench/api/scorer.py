"""A reward model for use outside of the benchmark: songs from files or from memory, scored in this process."""

import math
import uuid
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.io import wavfile
from torch import Tensor

from cmi_bench.api.on_device import DeviceScorer
from cmi_bench.api.ranking import RankedSong, criterion, ranked
from cmi_bench.api.songs import (
    Audio,
    NumberedSong,
    Song,
    alignment_note,
    as_song,
    checked_on_error,
    name_of,
    samples_of,
    seconds_of_array,
)
from cmi_bench.audio.decode import RESAMPLER_CONTEXT, decode, to_mono
from cmi_bench.audio.readers import DecodedAudio, Start
from cmi_bench.config import Config, OnError
from cmi_bench.data.audio_info import read_seconds
from cmi_bench.errors import UserError
from cmi_bench.models.adapter import adapt
from cmi_bench.models.base import BenchmarkBatchInput, BenchmarkModelABC, EmbeddingModel, RewardModel
from cmi_bench.scoring.batching import BatchLimits, ScoreWriter
from cmi_bench.scoring.local import LocalRunner
from cmi_bench.scoring.model_call import ModelCall, mark_partial_nan
from cmi_bench.scoring.run_stats import RunStats
from cmi_bench.scoring.stages import LoadedBatch, WholeStage, load_items
from cmi_bench.scoring.store import MemoryScoreWriter
from cmi_bench.types import Score
from cmi_bench.utils.workspace import workspace


@dataclass(frozen=True)
class SongLoader:
    """Loads songs for a model."""

    call: ModelCall[BenchmarkModelABC]
    folder: Path
    """For files, where a model takes nothing else."""

    def __call__(self, items: Sequence[NumberedSong]) -> LoadedBatch[NumberedSong, BenchmarkBatchInput]:
        """Decode, convert, or hand over the paths."""
        return load_items(items, self._input, reason=str)

    def _input(self, item: NumberedSong) -> BenchmarkBatchInput:
        song, unused = item.song, self.call.model.unused_inputs
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
        takes_paths = self.call.model.audio_input == "path"
        path = name_of(audio)
        if path is not None:
            return path if takes_paths else decode(path, int(self.call.model.sr), self.call.max_dur)
        samples = samples_of(audio, sample_rate, name=name)  # type: ignore[arg-type]
        if takes_paths:
            return self._written(samples)
        needed = Start(self.call.max_dur, RESAMPLER_CONTEXT).samples(samples.sr)
        return to_mono(
            samples._replace(values=samples.values[:needed]), int(self.call.model.sr), self.call.max_dur, name=name
        )

    def _written(self, samples: DecodedAudio) -> str:
        path = self.folder / f"{uuid.uuid4().hex}.wav"
        # Not libsndfile, which writes the time into such a file: equal songs have to be equal files.
        wavfile.write(path, samples.sr, samples.values)
        return str(path)


class SongStage:
    """Scores songs as `WholeStage` scores the clips of a run."""

    title = "scoring"
    start = 0.0
    decodes = True

    def __init__(self, songs: Sequence[NumberedSong], call: ModelCall[BenchmarkModelABC], folder: Path) -> None:
        self.songs = songs
        self.load = SongLoader(call, folder)
        self.stats = RunStats()
        self._whole = WholeStage([], call, self.stats)

    def pending(self) -> list[NumberedSong]:
        """Return the songs."""
        return list(self.songs)

    def length(self, item: NumberedSong) -> float:
        """Return the seconds of audio that are decoded, as far as known."""
        song = item.song
        audio = [song.audio] if song.ref_audio is None else [song.audio, song.ref_audio]
        return sum(self._seconds(one, song.sample_rate) for one in audio)

    def _seconds(self, audio: Audio, sample_rate: int | None) -> float:
        path = name_of(audio)
        known = seconds_of_array(audio, sample_rate) if path is None else read_seconds(Path(path))  # type: ignore[arg-type]
        return self.load.call.seconds_of(known)

    def work(self, loaded: LoadedBatch[NumberedSong, BenchmarkBatchInput], writer: ScoreWriter) -> None:
        """Score."""
        self._whole.work(loaded, writer)


HINT = "\n  -> "
"""Where a message goes on to say what to do."""


class SongScorer:
    """Scores songs with a reward model, in this process; nothing is kept on disk.

    A song's scores are those that the benchmark gives the same clip: they do not depend on what else is scored.
    `load_model` makes one of a model's name; of a model object of your own, make it directly.

    Audio is a path, an array or tensor with its sampling rate, or a tuple (array, sampling rate). Arrays are
    [samples], [channels, samples] or [samples, channels] with at most 8 channels; the channels are averaged, and what
    is beyond `max_dur` seconds is not looked at. Floating-point samples have full scale 1, integers that of their type.
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
            max_dur: Seconds of each song that are looked at, from its start.
            score_kwargs: Passed on to `score_batch`.
            batch_size: Songs that are scored together, at most.
            batch_seconds: Seconds of audio that are scored together, at most.
            workers: Threads that decode ahead of the model.
        """
        self.model = adapt(model)
        self._call = ModelCall(self.model, max_dur, dict(score_kwargs or {}))
        self._has_warned = False
        self._limits = BatchLimits(batch_size, batch_seconds)
        self._runner = LocalRunner(self._limits, workers=workers, show_progress=False)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model.class_name}, max_dur={self.max_dur:g}>"

    @property
    def max_dur(self) -> float:
        """Seconds of each song that are looked at, from its start."""
        return self._call.max_dur

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
            `alignment` and `musicality`, on the model's own scale; NaN for what it does not judge. An alignment
            without text, lyrics or reference means nothing, which is warned of once. Of an ensemble, `members` has
            what each member says, and `spread(aspect)` by how much they differ.

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
        return self._score([NumberedSong(0, song)], OnError.fail)[0]

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
        return self._score(numbered, checked_on_error(on_error))

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
        scores = self._score(numbered, checked_on_error(on_error))
        rule.check(scores, self.model.class_name)
        spreads = [rule.spread(score) for score in scores]
        return ranked([one.song for one in numbered], scores, spreads, rule, top_k)

    def _score(self, songs: Sequence[NumberedSong], on_error: OnError) -> list[Score]:
        writer = MemoryScoreWriter()
        with workspace() as folder:
            stage = SongStage(songs, self._call, folder)
            # One that asks a service waits rather than to compute here: seconds of audio are no bound.
            most = self.model.clips_at_once
            limits = None if most is None else BatchLimits(most, math.inf)
            self._runner.run(stage, writer, limits=limits)
        return self._answer(songs, writer.scores, on_error)

    def score_on_device(self, songs: Sequence[Song], *, on_error: str = "fail") -> list[Score]:
        """Score songs that are tensors, where they are, for `TensorReward`.

        A model that embeds is given waveforms that were resampled on the tensors' device. Of any other model, and
        where there are `score_kwargs`, it is `score_batch`, which copies the songs to the CPU.

        Args:
            songs: Audio is a tensor [samples] or [channels, samples], with its sampling rate.
            on_error: As for `score_batch`.

        Raises:
            UserError: As `score_batch`.
        """
        numbered = [NumberedSong(index, song) for index, song in enumerate(songs)]
        if not isinstance(self.model, EmbeddingModel) or self._call.score_kwargs:
            return self._score(numbered, checked_on_error(on_error))
        found = DeviceScorer(self.model, self._call.max_dur, self._limits).scores(numbered)
        return self._answer(numbered, found, checked_on_error(on_error))

    def _answer(self, songs: Sequence[NumberedSong], scores: Mapping[str, Score], on_error: OnError) -> list[Score]:
        """Return the songs' scores in order, or raise for the first failure."""
        found = mark_partial_nan(scores)
        if on_error is OnError.fail:
            _raise_first_failure(songs, found)
        answer = [found[song.key] for song in songs]
        self._warn_of_alignment(songs, answer)
        return answer

    def _warn_of_alignment(self, songs: Sequence[NumberedSong], scores: Sequence[Score]) -> None:
        """Say once that an alignment without an instruction means nothing."""
        for song, score in zip(songs, scores, strict=True):
            note = alignment_note(song.song, score, self.model.unused_inputs)
            if note and not self._has_warned:
                self._has_warned = True
                warnings.warn(f"{song.name}: {note}.", stacklevel=5)  # at the caller of `score`, `rank`, ...


def _raise_first_failure(songs: Sequence[NumberedSong], scores: Mapping[str, Score]) -> None:
    for song in songs:
        error = scores[song.key].error
        if error:
            raise UserError(
                error if song.name in error else f"{song.name}: {error}",
                "" if len(songs) == 1 or HINT in error else 'on_error="record" goes on without such songs.',
            )
