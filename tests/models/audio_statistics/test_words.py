"""Texts as numbers: what is promised, and words that differ, differ."""

import numpy as np
import pytest

from cmi_bench.models.audio_statistics.words import HASHED, WIDTH, describe_text, hashed_words
from cmi_bench.models.signal.features import key_correlations
from cmi_bench.models.signal.prompt import CUES

NO_DRUMS, HAS_TEMPO, TEMPO = len(CUES), len(CUES) + 1, len(CUES) + 2
KEY = slice(TEMPO + 1, TEMPO + 13)
MODE = TEMPO + 13


def test_a_text_without_words_is_zeros():
    assert describe_text("  ...").tolist() == [0.0] * WIDTH


def test_promises_have_places():
    found = describe_text("Fast rock in A minor at 200 BPM, no drums")
    assert found[NO_DRUMS] == found[HAS_TEMPO] == 1
    assert found[TEMPO] == pytest.approx(1)
    assert found[MODE] == -1
    assert describe_text("slow rock with drums")[[NO_DRUMS, HAS_TEMPO, TEMPO, MODE]].tolist() == [0, 0, 0, 0]


def test_a_named_key_goes_with_its_own_pitch_classes():
    chroma = np.zeros(12)
    chroma[[0, 4, 7]] = 1 / 3
    fits = describe_text("in C major")[KEY] @ chroma
    assert fits > max(describe_text(f"in {key}")[KEY] @ chroma for key in ("F# major", "Eb minor", "B major"))
    # The product is the correlation of key profile and pitch classes, in its own units.
    correlation = key_correlations(chroma)[0][0]
    assert fits == pytest.approx(12 * correlation * chroma.std())


def test_words_are_hashed_by_what_they_are():
    assert hashed_words("Rock, jazz!").tolist() == hashed_words("jazz ROCK").tolist()
    assert hashed_words("rock").tolist() != hashed_words("jazz").tolist()
    assert np.abs(hashed_words("rock")).sum() == 1
    assert len(hashed_words("any")) == HASHED
    assert np.linalg.norm(hashed_words("many different words make no longer vectors than few do")) < 2
