"""The signal baseline: scores from audio statistics, without weights or training.

It shows how much of the human labels plain statistics explain, and whether the whole way from files to tables works, on
any machine, in seconds.

Musicality is the absence of audible faults, a fixed weighted sum of seven merits. Neither ranges nor weights were
fitted to labels of any data set. The ranges go from plainly broken audio to produced recordings and clean synthesis;
faults of the sound, which everyone notices, weigh more than faults of playing, and statistics of key and pulse weigh
least.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

import cmi_bench
from cmi_bench.audio.decode import decode
from cmi_bench.models.base import AudioInput, BenchmarkBatchInput, BenchmarkModelABC
from cmi_bench.models.signal.features import SAMPLING_RATE, TINY, Array, Properties, describe
from cmi_bench.models.signal.prompt import (
    brightness,
    drumming,
    fastness,
    prompt_agreements,
    sustaining,
    tempo_agreement,
)
from cmi_bench.types import Score
from cmi_bench.utils.files import content_key

if TYPE_CHECKING:
    from torch import Tensor


class Merit(NamedTuple):
    """One measured property, turned into a merit from 0 to 1."""

    name: str
    measure: Callable[[Properties], float]
    worst: float
    """Value of the property with merit 0; in between, the merit is linear."""
    best: float
    """Value with merit 1."""
    weight: float


MERITS = (
    Merit("little noise between the partials", lambda p: p.spectral.noise_floor, -10.0, -45.0, 0.20),
    Merit("highs are there", lambda p: p.spectral.highs, -50.0, -20.0, 0.15),
    Merit("no flat tops", lambda p: p.waveform.flat_tops, 0.25, 0.0, 0.15),
    Merit("no gaps", lambda p: p.waveform.gaps, 2.5, 0.0, 0.15),
    Merit("in tune", lambda p: p.tonal.tuning, 0.1, 0.8, 0.15),
    Merit("in a key", lambda p: p.tonal.key_clarity, 0.4, 0.8, 0.10),
    Merit("with a pulse", lambda p: p.rhythm.pulse, 0.1, 0.7, 0.10),
)


def musicality(properties: Properties) -> float:
    """Return a clip's musicality from 0 to 1."""
    return float(sum(merit.weight * _merit(merit, properties) for merit in MERITS))


def _merit(merit: Merit, properties: Properties) -> float:
    return float(np.clip((merit.measure(properties) - merit.worst) / (merit.best - merit.worst), 0.0, 1.0))


ENVELOPE_DB = 10.0
"""Spectral envelopes this far apart (RMS) share a third of their similarity."""


def similarity(clip: Properties, reference: Properties) -> float:
    """Return 0 to 1: the mean agreement in key, tempo, speed, drums, timbre and brightness."""
    envelope = clip.spectral.envelope - reference.spectral.envelope
    parts = (
        0.5 + 0.5 * _correlation(clip.tonal.chroma, reference.tonal.chroma),
        tempo_agreement(clip.rhythm.tempo, reference.rhythm.tempo),
        float(np.exp(-np.sqrt(np.mean(envelope**2)) / ENVELOPE_DB)),
        *(1 - abs(measure(clip) - measure(reference)) for measure in (fastness, drumming, brightness, sustaining)),
    )
    return float(np.mean(parts))


def _correlation(chroma: Array, other: Array) -> float:
    if min(np.ptp(chroma), np.ptp(other)) < TINY:
        return 0.0
    return float(np.corrcoef(chroma, other)[0, 1])


NEUTRAL = 0.5
"""Alignment where the prompt holds no word that is known and there is no reference."""
REFERENCE_WEIGHT = 5.0
"""A reference counts as much as this many words."""


class SignalBaseline(BenchmarkModelABC):
    """Judges clips by what can be measured; both scores lie between 0 and 1, higher is better.

    Musicality is a fixed weighted sum of seven merits (`MERITS`): noise, highs, clipping, gaps, tuning,
    key, pulse. Alignment is the mean agreement of the clip with the prompt's known words (`prompt.CUES`, tempo
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
        """Score clips; see `BenchmarkModelABC.score_batch`. Silence and clips of a few samples give finite scores."""
        return np.array([self._score(item, max_dur).columns for item in inputs], dtype=np.float64).reshape(-1, 2)

    def _score(self, item: BenchmarkBatchInput, max_dur: float) -> Score:
        clip = _properties(item.audio, max_dur)
        agreements, weights = [NEUTRAL], [0.0]
        words = prompt_agreements(item.text, clip)
        agreements += words
        weights += [1.0] * len(words)
        if item.ref_audio is not None:
            agreements.append(similarity(clip, _properties(item.ref_audio, max_dur)))
            weights.append(REFERENCE_WEIGHT)
        alignment = float(np.average(agreements, weights=weights)) if any(weights) else NEUTRAL
        return Score(alignment=alignment, musicality=musicality(clip))


def _properties(audio: "str | Tensor", max_dur: float) -> Properties:
    waveform = decode(audio, SAMPLING_RATE, max_dur) if isinstance(audio, str) else audio
    return describe(np.asarray(waveform)[: int(max_dur * SAMPLING_RATE)])
