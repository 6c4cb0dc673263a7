"""Everything the baseline knows of one clip."""

from dataclasses import dataclass

import numpy.typing as npt

from cmi_bench.models.signal.clipping import WaveformFeatures, waveform_features
from cmi_bench.models.signal.frames import prepare, spectrogram
from cmi_bench.models.signal.rhythm import RhythmFeatures, rhythm_features
from cmi_bench.models.signal.spectral import SpectralFeatures, spectral_features
from cmi_bench.models.signal.tonal import TonalFeatures, tonal_features

TIME_FRAME, TIME_HOP = 1024, 240
"""Samples: 10 ms from frame to frame for what happens when."""
PITCH_FRAME, PITCH_HOP = 4096, 1200
"""Samples: 6 Hz from bin to bin for which pitch sounds."""


@dataclass(frozen=True)
class Properties:
    """Measured properties of one clip."""

    spectral: SpectralFeatures
    rhythm: RhythmFeatures
    tonal: TonalFeatures
    waveform: WaveformFeatures


def describe(waveform: npt.ArrayLike) -> Properties:
    """Measure a mono waveform [samples] at `SAMPLING_RATE`; any length, silence included."""
    wave = prepare(waveform)
    pitches = spectrogram(wave, PITCH_FRAME, PITCH_HOP)
    return Properties(
        spectral=spectral_features(pitches),
        rhythm=rhythm_features(spectrogram(wave, TIME_FRAME, TIME_HOP)),
        tonal=tonal_features(pitches),
        waveform=waveform_features(wave),
    )
