"""What a prompt can say and a clip can show, on the same scales in the same places; and all words of a prompt, hashed.

The cosine of the two says how well a clip keeps a prompt's promises about pace, timbre, drums, mode, tempo and key.
"""

import re
import zlib
from collections.abc import Callable

import numpy as np

from cmi_bench.models.signal.features import MAJOR_PROFILE, MINOR_PROFILE, TINY, Array, Properties
from cmi_bench.models.signal.prompt import (
    CUES,
    MusicalKey,
    brightness,
    drumming,
    fastness,
    majorness,
    read_promises,
    sustaining,
)

SHARED = 19
"""Places: pace, brightness, drums, mode, sustain, two of the tempo, twelve of the key."""
PITCH_CLASSES = 12
_MEASURES: tuple[Callable[[Properties], float], ...] = (fastness, brightness, drumming, majorness, sustaining)


def shown(properties: Properties) -> Array:
    """Return [SHARED]: what a clip shows, each of the first five from -1 (slow, dark, ...) to 1 (fast, bright, ...)."""
    return np.array(
        [
            *(2 * measure(properties) - 1 for measure in _MEASURES),
            *_tempo(properties.rhythm.tempo),
            *_of_length_one(properties.tonal.chroma),
        ]
    )


def said(text: str) -> Array:
    """Return [SHARED]: what a prompt asks for, on the scales of `shown`; 0 where it says nothing."""
    found = read_promises(text)
    sums = np.zeros(len(_MEASURES))
    for is_there, cue in zip(found.cues, CUES, strict=True):
        sums[_MEASURES.index(cue.measure)] += cue.direction * is_there
    sums[_MEASURES.index(drumming)] -= found.no_drums
    tempo = np.mean([_tempo(bpm) for bpm in found.tempi], axis=0) if found.tempi else np.zeros(2)
    key = np.mean([_profile(one) for one in found.keys], axis=0) if found.keys else np.zeros(PITCH_CLASSES)
    return np.concatenate([np.clip(sums, -1, 1), tempo, key])


def _tempo(bpm: float) -> tuple[float, float]:
    """Return a tempo as a point of a circle that half and double tempo share: people call either the beat."""
    angle = 2 * np.pi * np.log2(bpm / 100)
    return float(np.cos(angle)), float(np.sin(angle))


def _profile(key: MusicalKey) -> Array:
    return _of_length_one(np.roll(MAJOR_PROFILE if key.is_major else MINOR_PROFILE, key.tonic))


def _of_length_one(chroma: Array) -> Array:
    """Return pitch classes such that a product of two is their correlation; zeros where all are even."""
    centred = chroma - chroma.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), TINY))


HASHED = 32
"""Places that words are hashed to; some share one."""
_WORD = re.compile(r"[^\W\d_]+")


def hashed_words(text: str) -> Array:
    """Return [HASHED]: of each place how many words fell there, by a sign of their own, over the root of all words."""
    counts = np.zeros(HASHED)
    words = _WORD.findall(text.casefold())
    for word in words:
        digest = zlib.crc32(word.encode())
        counts[digest % HASHED] += 1.0 if digest >> 31 else -1.0
    return np.asarray(counts / np.sqrt(max(len(words), 1)))
