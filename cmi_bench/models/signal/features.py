"""Properties of one clip that the signal baseline measures.

Spectral (noise between the partials, brightness, highs), tonal (tuning, key, major or minor), rhythmic (onsets, pulse,
tempo), and of the waveform itself (flat tops, gaps, dynamics).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

SAMPLING_RATE = 24000
"""Hz, of all waveforms the signal baseline looks at."""
MIN_SAMPLES = 2 * SAMPLING_RATE // 5
"""Shorter clips are filled up with silence to this, so that each feature has a few frames."""
TINY = 1e-12


@dataclass(frozen=True)
class Spectrogram:
    """Short-time spectra of one clip."""

    power: Array
    """[frames, bins], squared magnitudes."""
    hertz: Array
    """[bins], centre frequencies."""
    frame_rate: float
    """Frames per second."""

    def band(self, low: float, high: float) -> Array:
        """Return the power [frames, bins] of the bins with low <= frequency < high (Hz)."""
        first, last = np.searchsorted(self.hertz, (low, high))
        return self.power[:, first:last]


def spectrogram(wave: Array, size: int, hop: int) -> Spectrogram:
    """Return the spectra of Hann-windowed frames.

    Args:
        wave: [samples] at `SAMPLING_RATE`, at least `size` samples.
        size: Samples of a frame.
        hop: Samples from frame to frame.
    """
    frames = np.lib.stride_tricks.sliding_window_view(wave, size)[::hop]
    # Single precision halves the time of the transform, the longest step of the whole baseline.
    spectra = np.fft.rfft((frames * np.hanning(size)).astype(np.float32))
    power = spectra.real.astype(np.float64) ** 2 + spectra.imag.astype(np.float64) ** 2
    hertz = np.asarray(np.fft.rfftfreq(size, 1 / SAMPLING_RATE), dtype=np.float64)
    return Spectrogram(power, hertz, SAMPLING_RATE / hop)


def prepare(waveform: npt.ArrayLike) -> Array:
    """Return a finite waveform of at least `MIN_SAMPLES` samples; NaN and infinity become silence."""
    wave = np.nan_to_num(np.asarray(waveform, dtype=np.float64).reshape(-1), posinf=0.0, neginf=0.0)
    return np.pad(wave, (0, max(0, MIN_SAMPLES - len(wave))))


def decibels(power: npt.ArrayLike) -> Array:
    """Return 10 log10 of a power, finite for silence."""
    return np.asarray(10 * np.log10(np.maximum(power, TINY)), dtype=np.float64)


BAND_EDGES = np.geomspace(60.0, 10000.0, 25)
"""Edges in Hz of the 24 bands of the spectral envelope, about three to the octave."""
AUDIBLE_GAPS = (400.0, 5000.0)
"""Hz between which partials stand apart enough that noise shows between them."""
HIGHS_FROM = 2000.0
"""Hz. Low enough for clips that were stored at 16 kHz."""


class SpectralFeatures(NamedTuple):
    """Spectral properties of one clip."""

    noise_floor: float
    """dB: level between the partials relative to the partials; near 0 for noise."""
    flatness: float
    """0 (tones) to 1 (white noise): geometric over arithmetic mean of the power, median of the frames."""
    highs: float
    """dB: power above `HIGHS_FROM` relative to all."""
    centroid: float
    """Hz: the spectrum's centre of gravity, by magnitude."""
    envelope: Array
    """[24] dB: mean level in the bands, without the overall level."""


def spectral_features(spectra: Spectrogram) -> SpectralFeatures:
    """Measure one clip's spectrum; a silent clip gives finite values."""
    gaps = spectra.band(*AUDIBLE_GAPS)
    level = decibels(gaps)
    # Few bins hold partials and most hold what lies between, so a high and a low percentile tell them apart.
    contrast = np.percentile(level, 25, axis=1) - np.percentile(level, 97, axis=1)
    flatness = np.exp(np.mean(np.log(gaps + TINY), axis=1)) / (np.mean(gaps, axis=1) + TINY)
    mean_power = spectra.power.mean(axis=0)
    total = float(mean_power.sum()) + TINY
    magnitude = np.sqrt(mean_power)
    edges = np.searchsorted(spectra.hertz, BAND_EDGES)
    bands = decibels([mean_power[low : max(high, low + 1)].mean() for low, high in pairwise(edges)])
    return SpectralFeatures(
        # Strokes of a drum fill the gaps for a moment; noise fills them in the quietest frames too.
        noise_floor=float(np.percentile(contrast, 10)),
        flatness=float(np.median(flatness)),
        highs=float(decibels(mean_power[spectra.hertz >= HIGHS_FROM].sum() / total)),
        centroid=float(np.sum(spectra.hertz * magnitude) / (magnitude.sum() + TINY)),
        envelope=bands - bands.mean(),
    )


PITCH_RANGE = (110.0, 2000.0)
"""Hz: below, a semitone is too narrow for the transform; above, overtones of no key prevail."""
PEAK_DB = 40.0
"""Peaks further below the frame's loudest are left out."""
C_BELOW_A4 = 9
"""Semitones from C up to A: chroma bin 0 is C."""

# Krumhansl and Kessler (1982): how well each scale step fits, as listeners judged it.
MAJOR_PROFILE = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR_PROFILE = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])


class TonalFeatures(NamedTuple):
    """Tonal properties of one clip."""

    tuning: float
    """0 to 1: how well the partials keep to one grid of semitones, wherever it lies."""
    key_clarity: float
    """-1 to 1: correlation of the pitch classes with the best of the 24 key profiles."""
    major: float
    """-2 to 2: best major correlation less best minor correlation."""
    chroma: Array
    """[12] shares of the pitch classes from C, sum 1."""


class Partials(NamedTuple):
    """The spectral peaks of all frames of a clip, frame by frame."""

    frame: "np.ndarray[tuple[int], np.dtype[np.intp]]"
    """[partials] number of the frame."""
    semitones: Array
    """[partials] above A at 440 Hz."""
    weight: Array
    """[partials] magnitude."""

    @property
    def tuning(self) -> complex:
        """How well the partials keep to one grid of semitones (magnitude, 0 to 1), and where it lies (angle)."""
        total = float(self.weight.sum())
        return complex(np.sum(self.weight * np.exp(2j * np.pi * self.semitones)) / total) if total > TINY else 0j

    @property
    def tuned(self) -> Array:
        """[partials] semitones above the A of the clip's own tuning: a piece at 432 Hz is not out of tune."""
        return self.semitones - float(np.angle(self.tuning)) / (2 * np.pi)

    @property
    def pitch_class(self) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
        """[partials] nearest pitch class, 0 is C."""
        return (np.rint(self.tuned).astype(np.intp) + C_BELOW_A4) % 12


def find_partials(spectra: Spectrogram) -> Partials:
    """Return the spectral peaks of all frames, their frequency interpolated between the bins."""
    low, high = np.searchsorted(spectra.hertz, PITCH_RANGE)
    level = decibels(spectra.power[:, low - 1 : high + 1])
    left, middle, right = level[:, :-2], level[:, 1:-1], level[:, 2:]
    is_peak = (middle > left) & (middle >= right) & (middle > middle.max(axis=1, keepdims=True) - PEAK_DB)
    # Silent frames have no peaks worth the name.
    is_peak &= middle > middle.max() - 2 * PEAK_DB
    frames, bins = np.nonzero(is_peak)
    left, middle, right = left[is_peak], middle[is_peak], right[is_peak]
    offset = 0.5 * (left - right) / (left - 2 * middle + right - TINY)
    hertz = (bins + low + offset) * spectra.hertz[1]
    return Partials(frames, 12 * np.log2(hertz / 440.0), 10 ** (middle / 20))


def key_correlations(chroma: Array) -> tuple[Array, Array]:
    """Return the correlations [12] of a chroma with the major and the minor key on each pitch class."""
    if np.ptp(chroma) < TINY:
        return np.zeros(12), np.zeros(12)
    return (
        np.array([np.corrcoef(np.roll(MAJOR_PROFILE, tonic), chroma)[0, 1] for tonic in range(12)]),
        np.array([np.corrcoef(np.roll(MINOR_PROFILE, tonic), chroma)[0, 1] for tonic in range(12)]),
    )


def tonal_features(spectra: Spectrogram) -> TonalFeatures:
    """Measure one clip's pitches; a clip without partials has tuning 0 and a flat chroma."""
    return tonality(find_partials(spectra))


def tonality(partials: Partials) -> TonalFeatures:
    """Measure the pitches of one clip's partials, as `tonal_features` does."""
    total = float(partials.weight.sum())
    if total < TINY:
        return TonalFeatures(0.0, 0.0, 0.0, np.full(12, 1 / 12))
    chroma = np.bincount(partials.pitch_class, weights=partials.weight, minlength=12) / total
    major, minor = key_correlations(chroma)
    return TonalFeatures(
        tuning=abs(partials.tuning),
        key_clarity=float(max(major.max(), minor.max())),
        major=float(major.max() - minor.max()),
        chroma=chroma,
    )


TEMPO_RANGE = (50.0, 200.0)
"""Beats per minute."""
USUAL_TEMPO, TEMPO_OCTAVES = 105.0, 0.9
"""People tap near the usual tempo: centre and width (octaves) of a log-normal preference."""
FLOOR_DB = 50.0
"""Levels further than this below the clip's loudest are treated as silence."""
ONSET_DB = 1.25
"""Mean rise over the bands that counts as an onset."""
PERCUSSION_BAND = (2000.0, 7500.0)
"""Hz: here strokes of drums fill the spaces between the partials, which notes leave free."""


class RhythmFeatures(NamedTuple):
    """Rhythmic properties of one clip."""

    pulse: float
    """0 to 1: autocorrelation of the onsets at the clearest beat; 1 repeats exactly."""
    tempo: float
    """Beats per minute; may be half or double of what a person taps."""
    onset_rate: float
    """Onsets per second."""
    percussion: float
    """dB: how far the level between the partials rises for moments; large with drums, small with steady noise."""


def band_power(spectra: Spectrogram, edges: Array = BAND_EDGES) -> Array:
    """Return the power [frames, bands] between neighbouring edges in Hz."""
    bins = np.searchsorted(spectra.hertz, edges)
    cumulative = np.concatenate([np.zeros((len(spectra.power), 1)), np.cumsum(spectra.power, axis=1)], axis=1)
    return np.asarray(cumulative[:, bins[1:]] - cumulative[:, bins[:-1]])


def onset_strength(spectra: Spectrogram) -> Array:
    """Return the mean rise in dB over the bands from each frame to the next, [frames - 1]."""
    return np.asarray(rises(band_power(spectra)).mean(axis=1))


def rises(power: Array) -> Array:
    """Return the rises in dB [frames - 1, bands] of a power, over a floor that is set by each band's loudest frame."""
    level = decibels(power)
    level = np.maximum(level, level.max(axis=0, keepdims=True) - FLOOR_DB)
    return np.asarray(np.maximum(np.diff(level, axis=0), 0.0))


def rhythm_features(spectra: Spectrogram) -> RhythmFeatures:
    """Measure one clip's rhythm; a clip without onsets has pulse 0 and the usual tempo."""
    onsets = onset_strength(spectra)
    seconds = len(onsets) / spectra.frame_rate
    pulse, tempo = _find_pulse(onsets, spectra.frame_rate)
    peaks = (onsets[1:-1] > onsets[:-2]) & (onsets[1:-1] >= onsets[2:]) & (onsets[1:-1] > ONSET_DB)
    between = np.percentile(decibels(spectra.band(*PERCUSSION_BAND)), 20, axis=1)
    burst, usual = np.percentile(between, (92, 50))
    return RhythmFeatures(pulse, tempo, float(peaks.sum() / seconds), float(burst - usual))


def _find_pulse(onsets: Array, frame_rate: float) -> tuple[float, float]:
    """Return strength and tempo (BPM) of the clearest beat."""
    slowest, fastest = TEMPO_RANGE
    lags = np.arange(int(60 * frame_rate / fastest), int(60 * frame_rate / slowest) + 1)
    lags = lags[lags < len(onsets) - 1]
    # A little smoothing, so that a beat that falls between two frames still meets itself.
    centred = np.convolve(onsets - onsets.mean(), (0.25, 0.5, 0.25), mode="same")
    energy = float(centred @ centred)
    if not len(lags) or energy < 1e-6 * len(onsets):
        return 0.0, USUAL_TEMPO
    size = 2 * len(centred)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(centred, size)) ** 2, size)[: len(centred)]
    # Fewer frames overlap at larger lags; without this a short clip would seem fast.
    unbiased = correlation / energy * len(centred) / (len(centred) - np.arange(len(centred)))
    tempi = 60 * frame_rate / lags
    preference = np.exp(-0.5 * (np.log2(tempi / USUAL_TEMPO) / TEMPO_OCTAVES) ** 2)
    best = int(np.argmax(unbiased[lags] * preference))
    return float(np.clip(unbiased[lags].max(), 0.0, 1.0)), float(tempi[best])


TOP = 0.9
"""Share of the clip's peak from which a sample counts as at the top."""
GAP_SECONDS = 0.005
"""Length of the blocks that gaps are looked for in."""
GAP_DB = -45.0
"""A block this far below the median block is a gap."""


class WaveformFeatures(NamedTuple):
    """Properties of one clip's waveform."""

    flat_tops: float
    """Share of the samples at the top. Music has well below 1 %, a clip driven into full scale many times that."""
    crest: float
    """dB: peak over RMS."""
    gaps: float
    """Gaps per second between sounding stretches; silence before the first and after the last sound is none."""
    sustain: float
    """dB, at most 0: level of the 20th percentile of the blocks below the median one; near 0 for held tones."""


def waveform_features(wave: Array) -> WaveformFeatures:
    """Measure one clip's waveform; a silent clip gives zeros."""
    size = int(GAP_SECONDS * SAMPLING_RATE)
    blocks = wave[: len(wave) // size * size].reshape(-1, size)
    power = np.mean(blocks**2, axis=1)
    peak = float(np.max(np.abs(wave)))
    if peak < TINY:
        return WaveformFeatures(0.0, 0.0, 0.0, 0.0)
    level = decibels(power)
    median = float(np.median(level))
    return WaveformFeatures(
        flat_tops=float(np.mean(np.abs(wave) > TOP * peak)),
        crest=float(decibels(peak**2 / np.mean(wave**2))),
        gaps=_count_gaps(level < median + GAP_DB) / (len(wave) / SAMPLING_RATE),
        sustain=float(np.percentile(level, 20) - median),
    )


def _count_gaps(is_quiet: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> int:
    """Count the quiet stretches that have sound on both sides."""
    sounding = np.flatnonzero(~is_quiet)
    return int(np.sum(np.diff(sounding) > 1))


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
