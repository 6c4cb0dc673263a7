"""A backbone without weights: statistics of audio and words as embeddings, for heads that are trained on them.

By itself it judges nothing. It is there to train a small head in seconds, anywhere, and to show what plain statistics
can be taught; `model=signal` weighs some of the same measurements by hand.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import cmi_bench
from cmi_bench.models.audio_statistics.statistics import WIDTH, Sound, measure, standardized
from cmi_bench.models.audio_statistics.words import HASHED, SHARED, hashed_words, said, shown
from cmi_bench.models.base import AudioInput, AudioView, BenchmarkBatchInput, EmbeddedInput, EmbeddingModel, UnusedInput
from cmi_bench.models.signal.features import SAMPLING_RATE, Array, prepare
from cmi_bench.utils.files import content_key

WINDOW_SECONDS = 5.0
"""About how long a window is: a clip is cut into equal ones, so that statistics of long and short clips compare."""
DIM = WIDTH + SHARED + HASHED
"""Of each embedding: statistics, which texts leave 0; what both can say or show; hashed words, which audio leaves 0."""
WEIGHT = 0.3
"""Of statistics and hashed words beside what is shared, in cosines."""


class AudioStatistics(EmbeddingModel):
    """Statistics of windows of about 5 s, and of the prompt's words; both scores are NaN, "not applicable".

    Each window of a clip has one vector; reference audio has one for each of its windows. Lyrics are not looked at.
    Vectors of audio and texts are of one space: their cosine says how far a clip keeps what a prompt promises.
    """

    audio_input: AudioInput = "waveform"
    unused_inputs: frozenset[UnusedInput] = frozenset({"lyrics"})
    is_common_space = True

    @property
    def sr(self) -> int:
        """Sampling rate in Hz of the waveforms the model takes."""
        return SAMPLING_RATE

    @property
    def identity(self) -> str:
        """What settles a score besides the clip and `max_dur`: there is nothing but the code."""
        return content_key(model="audio_statistics", code=cmi_bench.__version__)

    @property
    def audio_identity(self) -> str:
        """What settles an audio embedding besides the audio and its view."""
        return content_key(model="audio_statistics audio", code=cmi_bench.__version__)

    @property
    def text_identity(self) -> str:
        """What settles a text embedding besides the text."""
        return content_key(model="audio_statistics text", code=cmi_bench.__version__)

    def audio_view(self, max_dur: float, *, is_reference: bool) -> AudioView:
        """Return which part of a clip is used under `max_dur` seconds; a reference is cut like any other clip."""
        form = "one embedding" if is_reference else "apart"
        return AudioView(f"the first {max_dur:g} s, in windows of about {WINDOW_SECONDS:g} s, {form}", max_dur)

    def embed_audio(self, waveforms: Sequence[Tensor], max_dur: float, *, is_reference: bool) -> list[list[Tensor]]:
        """Describe waveforms: of each its windows [1, dim], of a reference all of its windows in one [windows, dim].

        Any waveform will do: one that is short is filled up with silence, NaN and infinity become silence.
        """
        windows = [self._describe(waveform[: int(max_dur * self.sr)]) for waveform in waveforms]
        return [[found] if is_reference else list(found.split(1)) for found in windows]

    def _describe(self, waveform: Tensor) -> Tensor:
        samples = waveform.detach().cpu().numpy()
        count = max(1, round(len(samples) / (WINDOW_SECONDS * self.sr)))
        found = [_describe_window(prepare(window)) for window in np.array_split(samples, count)]
        return torch.from_numpy(np.stack(found).astype(np.float32))

    def embed_texts(self, texts: Sequence[str]) -> list[Tensor]:
        """Describe texts: of each one token [1, dim]; none [0, dim] of an empty one."""
        return [
            torch.from_numpy(_describe_text(text)[None].astype(np.float32)) if text.strip() else torch.zeros(0, DIM)
            for text in texts
        ]

    def score_embedded(self, clips: Sequence[EmbeddedInput]) -> npt.NDArray[np.float32]:
        """Judge nothing: float32 [N, 2] of NaN."""
        return np.full((len(clips), 2), np.nan, dtype=np.float32)

    def score_batch(
        self, inputs: Sequence[BenchmarkBatchInput], batch_size: int, max_dur: float, **_kwargs: Any
    ) -> npt.NDArray[np.float32]:
        """Judge nothing: float32 [N, 2] of NaN."""
        return np.full((len(inputs), 2), np.nan, dtype=np.float32)


def _describe_window(wave: Array) -> Array:
    sound = Sound(wave)
    return np.concatenate([WEIGHT * standardized(measure(sound)), shown(sound.properties), np.zeros(HASHED)])


def _describe_text(text: str) -> Array:
    return np.concatenate([np.zeros(WIDTH), said(text), WEIGHT * hashed_words(text)])
