"""The signal baseline: scores from audio statistics, without weights or training.

It answers two questions about a benchmark: how much of the human labels plain statistics explain, and whether the
whole way from files to tables works, on any machine, in seconds.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import cmi_bench
from cmi_bench.audio.decode import decode
from cmi_bench.content import content_key
from cmi_bench.models.contract import AudioInput, BenchmarkBatchInput, BenchmarkModelABC, Score
from cmi_bench.models.signal.frames import SAMPLING_RATE
from cmi_bench.models.signal.musicality import musicality
from cmi_bench.models.signal.prompt_words import prompt_agreements
from cmi_bench.models.signal.properties import Properties, describe
from cmi_bench.models.signal.similarity import similarity

if TYPE_CHECKING:
    from torch import Tensor

NEUTRAL = 0.5
"""Alignment where the prompt holds no word that is known and there is no reference."""
REFERENCE_WEIGHT = 5.0
"""A reference counts as much as this many words."""


class SignalBaseline(BenchmarkModelABC):
    """Judges clips by what can be measured; both scores lie between 0 and 1, higher is better.

    Musicality is a fixed weighted sum of seven merits (`musicality.MERITS`): noise, highs, clipping, gaps, tuning,
    key, pulse. Alignment is the mean agreement of the clip with the prompt's known words (`prompt_words.CUES`, tempo
    numbers, named keys) and with the reference audio; lyrics are not understood. A clip's score depends on
    nothing but that clip and its instruction.
    """

    audio_input: AudioInput = "waveform"

    @property
    def sr(self) -> int:
        """Sampling rate in Hz of the waveforms the model takes."""
        return SAMPLING_RATE

    @property
    def identity(self) -> str:
        """What settles a score besides the clip and `max_dur`: there is nothing but the code."""
        return content_key(model="signal", code=cmi_bench.__version__)

    def score_batch(
        self,
        inputs: Sequence[BenchmarkBatchInput],
        batch_size: int,
        max_dur: float,
        **_kwargs: Any,
    ) -> npt.NDArray[np.float64]:
        """Score clips; see `RewardModel.score_batch`. Silence and clips of a few samples give finite scores."""
        return np.array([self._score(item, max_dur) for item in inputs], dtype=np.float64).reshape(-1, 2)

    def _score(self, item: BenchmarkBatchInput, max_dur: float) -> Score:
        clip = _listen(item.audio, max_dur)
        agreements, weights = [NEUTRAL], [0.0]
        words = prompt_agreements(item.text, clip)
        agreements += words
        weights += [1.0] * len(words)
        if item.ref_audio is not None:
            agreements.append(similarity(clip, _listen(item.ref_audio, max_dur)))
            weights.append(REFERENCE_WEIGHT)
        alignment = float(np.average(agreements, weights=weights)) if any(weights) else NEUTRAL
        return Score(alignment=alignment, musicality=musicality(clip))


def _listen(audio: "str | Tensor", max_dur: float) -> Properties:
    waveform = decode(audio, SAMPLING_RATE, max_dur) if isinstance(audio, str) else audio
    return describe(np.asarray(waveform)[: int(max_dur * SAMPLING_RATE)])
