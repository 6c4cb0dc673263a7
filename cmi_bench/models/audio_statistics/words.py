"""Texts as fixed numbers: what the prompt promises about tempo, key, drums and timbre, and its words, hashed."""

import re
import zlib

import numpy as np

from cmi_bench.models.signal.features import MAJOR_PROFILE, MINOR_PROFILE, Array
from cmi_bench.models.signal.prompt import CUES, read_promises

HASHED = 64
"""Places that words are hashed to: some share one."""
_WORD = re.compile(r"[^\W\d_]+")


def describe_text(text: str) -> Array:
    """Return [92] numbers: cues, drums, tempo, key, and hashed words."""
    return np.concatenate([_promises(text), hashed_words(text)])


def _promises(text: str) -> Array:
    found = read_promises(text)
    tempo = float(np.mean(np.log2(np.array(found.tempi) / 100))) if found.tempi else 0.0
    modes = [1.0 if key.is_major else -1.0 for key in found.keys]
    key = np.zeros(12)
    for tonic, is_major in found.keys:
        # The key's own profile: its product with a clip's pitch classes says how well they fit.
        profile = MAJOR_PROFILE if is_major else MINOR_PROFILE
        key += np.roll((profile - profile.mean()) / profile.std(), tonic)
    return np.array(
        [
            *map(float, found.cues),
            float(found.no_drums),
            float(bool(found.tempi)),
            tempo,
            *(key / max(len(found.keys), 1)),
            float(np.mean(modes)) if modes else 0.0,
            float(bool(found.keys)),
        ]
    )


def hashed_words(text: str) -> Array:
    """Return [HASHED]: of each place how many words fell there, by a sign of their own, over the root of all words."""
    counts = np.zeros(HASHED)
    words = _WORD.findall(text.casefold())
    for word in words:
        digest = zlib.crc32(word.encode())
        counts[digest % HASHED] += 1.0 if digest >> 31 else -1.0
    return np.asarray(counts / np.sqrt(max(len(words), 1)))


WIDTH = len(CUES) + 3 + 12 + 2 + HASHED
