"""What one window of a clip is described by: fixed statistics of its spectrum, pitches, beat, repetition and level.

Nothing here is learnt from labels. Numbers are finite for whatever audio, and fit into half precision.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cmi_bench.models.audio_statistics.standard import CENTRES, DEVIATIONS
from cmi_bench.models.signal.features import (
    BAND_EDGES,
    PITCH_FRAME,
    PITCH_HOP,
    SAMPLING_RATE,
    TIME_FRAME,
    TIME_HOP,
    TINY,
    Array,
    Partials,
    Properties,
    Spectrogram,
    band_power,
    decibels,
    find_partials,
    key_correlations,
    rhythm_features,
    rises,
    spectral_features,
    spectrogram,
    tonality,
    waveform_features,
)
from cmi_bench.models.signal.prompt import brightness, drumming, fastness, majorness, sustaining

WIDTH = len(CENTRES)
BANDS = len(BAND_EDGES) - 1
LEVEL_RANGE_DB = 70.0
"""Band levels further than this below the loudest one are treated as silence."""


@dataclass(frozen=True)
class Sound:
    """A window's waveform and its spectra, from which all statistics are taken."""

    wave: Array
    """[samples] at `SAMPLING_RATE`, finite, at least `MIN_SAMPLES`."""

    @cached_property
    def pitches(self) -> Spectrogram:
        """Spectra that tell pitches apart, 20 a second."""
        return spectrogram(self.wave, PITCH_FRAME, PITCH_HOP)

    @cached_property
    def moments(self) -> Spectrogram:
        """Spectra that tell moments apart, 100 a second."""
        return spectrogram(self.wave, TIME_FRAME, TIME_HOP)

    @cached_property
    def partials(self) -> Partials:
        """Spectral peaks."""
        return find_partials(self.pitches)

    @cached_property
    def properties(self) -> Properties:
        """What the signal baseline measures."""
        return Properties(
            spectral=spectral_features(self.pitches),
            rhythm=rhythm_features(self.moments),
            tonal=tonality(self.partials),
            waveform=waveform_features(self.wave),
        )

    @cached_property
    def bands(self) -> Array:
        """Levels in dB [frames, BANDS], 100 frames a second."""
        level = decibels(band_power(self.moments))
        return np.asarray(np.maximum(level, level.max() - LEVEL_RANGE_DB))


def measured_properties(sound: Sound) -> Array:
    """Return [20]: what the signal baseline measures, each by itself."""
    found = sound.properties
    spectral, rhythm, tonal, wave = found.spectral, found.rhythm, found.tonal, found.waveform
    return np.array(
        [
            spectral.noise_floor / 10,
            spectral.flatness,
            spectral.highs / 10,
            np.log2(spectral.centroid + 50) - 10,
            tonal.tuning,
            tonal.key_clarity,
            tonal.major,
            rhythm.pulse,
            np.log2(rhythm.tempo / 100),
            np.log2(rhythm.onset_rate + 0.25),
            rhythm.percussion / 5,
            np.sqrt(wave.flat_tops),
            wave.crest / 5,
            np.log1p(wave.gaps),
            wave.sustain / 5,
            *(measure(found) for measure in (fastness, brightness, drumming, majorness, sustaining)),
        ]
    )


def pitch_classes(sound: Sound) -> Array:
    """Return [12]: shares of the pitch classes from C; 1 where all are even."""
    return sound.properties.tonal.chroma * 12


def envelope(sound: Sound) -> Array:
    """Return [BANDS]: the mean level in the bands, without the overall level."""
    return sound.properties.spectral.envelope / 10


def band_movement(sound: Sound) -> Array:
    """Return [2 BANDS]: how far the level in each band moves as a whole, and from one frame to the next."""
    return np.concatenate([sound.bands.std(axis=0) / 10, np.abs(np.diff(sound.bands, axis=0)).mean(axis=0) / 3])


FLOOR_BANDS = ((200.0, 400.0), (400.0, 1000.0), (1000.0, 2500.0), (2500.0, 5000.0), (5000.0, 7500.0))
"""Hz."""


def noise_floors(sound: Sound) -> Array:
    """Return [10]: the level between the partials relative to them, in five bands: in quiet frames, and in most."""
    found = []
    for low, high in FLOOR_BANDS:
        level = decibels(sound.pitches.band(low, high))
        between, partials = np.percentile(level, (25, 97), axis=1)
        found += list(np.percentile(between - partials, (10, 50)) / 10)
    return np.array(found)


LEVEL_BLOCK = 120
"""Samples: 5 ms."""
MOST_DB = 60.0


def levels(sound: Sound) -> Array:
    """Return [10]: how loud the loud and the quiet moments are, and how often the level falls or rises at once."""
    wave = sound.wave
    blocks = wave[: len(wave) // LEVEL_BLOCK * LEVEL_BLOCK].reshape(-1, LEVEL_BLOCK)
    level = decibels((blocks**2).mean(axis=1))
    median = np.median(level)
    steps = np.diff(level)
    seconds = len(wave) / SAMPLING_RATE
    return np.array(
        [
            *(np.clip(np.percentile(level, (1, 5, 20, 80, 95, 99)) - median, -MOST_DB, MOST_DB) / 10),
            *(np.log1p(np.sum(jumps) / seconds) for jumps in (steps < -25, steps > 25)),
            *(np.log1p(100 * np.mean(level < median - below)) for below in (30, 45)),
        ]
    )


def mistuning(sound: Sound) -> Array:
    """Return [3]: how far the partials are from the clip's own semitones (RMS), and how many are far from them."""
    partials = sound.partials
    away = partials.tuned - np.rint(partials.tuned)
    weight = partials.weight / max(float(partials.weight.sum()), TINY)
    return np.array(
        [
            4 * np.sqrt(np.sum(weight * away**2)),
            3 * np.sum(weight * (np.abs(away) > 0.15)),
            5 * np.sum(weight * (np.abs(away) > 0.3)),
        ]
    )


def harmony(sound: Sound) -> Array:
    """Return [12]: which intervals sound together, how many pitch classes do, and how much of all lies out of key."""
    partials = sound.partials
    frames = np.zeros((len(sound.pitches.power), 12))
    np.add.at(frames, (partials.frame, partials.pitch_class), partials.weight)
    frames /= np.linalg.norm(frames, axis=1, keepdims=True) + TINY
    together = [np.mean(np.sum(frames * np.roll(frames, interval, axis=1), axis=1)) for interval in range(1, 7)]
    spread = frames.sum(axis=1)
    chroma = sound.properties.tonal.chroma
    least = np.sort(chroma)
    return np.array(
        [
            *together,
            spread.mean(),
            spread.std(),
            5 * _out_of_key(chroma),
            10 * least[:5].sum(),
            20 * least[:3].sum(),
            -np.sum(chroma * np.log(chroma + TINY)),
        ]
    )


MAJOR_SCALE, MINOR_SCALE = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)


def _out_of_key(chroma: Array) -> float:
    """Return the share of the pitch classes that are not of the best fitting key."""
    major, minor = key_correlations(chroma)
    scale, fits = (MAJOR_SCALE, major) if major.max() >= minor.max() else (MINOR_SCALE, minor)
    return float(1 - np.roll(chroma, -int(np.argmax(fits)))[list(scale)].sum())


ONSET_EDGES = np.array([60.0, 250.0, 1000.0, 3000.0, 10000.0])
"""Hz: of the four ranges in which onsets are followed, besides all together."""
PARTS_OF_A_BEAT = (1, 2, 3, 4, 6, 8)


def pulse(sound: Sound) -> Array:
    """Return [30]: how far onsets keep to the beat and to its parts, of all and of four ranges: 0 not at all, 1 all."""
    moments = sound.moments
    onsets = [rises(band_power(moments)).mean(axis=1), *rises(band_power(moments, ONSET_EDGES)).T]
    beats = np.arange(len(onsets[0])) / moments.frame_rate * sound.properties.rhythm.tempo / 60
    turns = np.exp(2j * np.pi * np.outer(PARTS_OF_A_BEAT, beats))
    return np.concatenate([np.abs(turns @ one) / (one.sum() + TINY) for one in onsets])


REPEAT_FRAMES = 2
"""Frames of `Sound.bands` that are taken together: 20 ms."""
REPEAT_LAGS = range(15, 55)
"""In these: 0.3 to 1.1 s, a beat of the slowest and of the fastest pieces."""
FEWEST_COMPARED = 20
NO_REPEAT = 1.0


def repetition(sound: Sound) -> Array:
    """Return [9]: how near a window comes to repeating itself after about a beat: as a whole and in each third.

    Distances of band levels, the smallest over the lags, relative to those of moments that lie anywhere.
    """
    frames = sound.bands[: len(sound.bands) // REPEAT_FRAMES * REPEAT_FRAMES]
    frames = frames.reshape(-1, REPEAT_FRAMES, BANDS).mean(axis=1)
    found = [
        _by_thirds(np.abs(frames[lag:] - frames[:-lag]).mean(axis=1))
        for lag in REPEAT_LAGS
        if lag < len(frames) - FEWEST_COMPARED
    ]
    if not found:
        return np.array([2 * NO_REPEAT] * 4 + [0.0] * 5)
    # Frames that lie half a window apart are as good as any two.
    anywhere = float(np.abs(frames - np.roll(frames, len(frames) // 2, axis=0)).mean()) + 0.1
    nearest = np.min(found, axis=0) / anywhere
    return np.array([*(2 * nearest), *np.log(nearest + 0.02), 2 * (nearest[2] - nearest[1])])


def _by_thirds(distances: Array) -> Array:
    third = max(len(distances) // 3, 1)
    first, middle, last = distances[:third], distances[third:-third], distances[-third:]
    return np.array([distances.mean(), first.mean(), last.mean(), (middle if len(middle) else distances).mean()])


STATISTICS: tuple[Callable[[Sound], Array], ...] = (
    measured_properties,
    pitch_classes,
    envelope,
    band_movement,
    noise_floors,
    levels,
    mistuning,
    harmony,
    pulse,
    repetition,
)


MOST_DEVIATIONS = 8.0


def measure(sound: Sound) -> Array:
    """Return all statistics [WIDTH] as they are."""
    return np.concatenate([statistic(sound) for statistic in STATISTICS])


def standardized(statistics: Array) -> Array:
    """Return statistics [WIDTH] about 0, with a deviation of about 1, by fixed constants; none larger than 8."""
    found = (statistics - np.array(CENTRES)) / np.array(DEVIATIONS)
    return np.asarray(np.clip(found, -MOST_DEVIATIONS, MOST_DEVIATIONS))
