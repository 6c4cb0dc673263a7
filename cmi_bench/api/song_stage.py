"""Songs, from files or from memory, in the form in which a model wants them."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.io import wavfile
from torch import Tensor

from cmi_bench.api.song import Audio, Song, name_of
from cmi_bench.api.waveform import samples_of, seconds_of_array
from cmi_bench.audio.decode import RESAMPLER_CONTEXT, decode, heard
from cmi_bench.audio.samples import Samples, Start
from cmi_bench.errors import UserError
from cmi_bench.inference.audio_index import seconds_of
from cmi_bench.inference.keeper import Keeper
from cmi_bench.inference.tally import Tally
from cmi_bench.inference.whole_stage import LoadedRequests, WholeStage
from cmi_bench.models.contract import BenchmarkBatchInput, RewardModel


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
        return heard(samples._replace(values=samples.values[:needed]), int(self.model.sr), self.max_dur, name=name)

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
        keeper: Keeper,
        folder: Path,
    ) -> None:
        self.songs = songs
        self.load = SongLoader(model, max_dur, folder)
        self._whole = WholeStage([], model, max_dur=max_dur, score_kwargs=score_kwargs, keeper=keeper, tally=Tally())

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
