"""What a prompt says and a clip shows meet in one place; words that differ, differ."""

import numpy as np
import pytest

from cmi_bench.data.synthetic.composition import Mode, Style
from cmi_bench.data.synthetic.degradation import ClipPlan, make_clip
from cmi_bench.models.audio_statistics.words import HASHED, SHARED, hashed_words, said, shown
from cmi_bench.models.signal.features import SAMPLING_RATE, describe

PACE, BRIGHTNESS, DRUMS, MODE = range(4)
TEMPO, KEY = slice(5, 7), slice(7, 19)


def test_a_text_without_promises_says_nothing():
    assert said("a piece").tolist() == [0.0] * SHARED
    assert said("").tolist() == [0.0] * SHARED


def test_promises_have_places_and_directions():
    assert said("fast and bright, with drums, happy")[:4].tolist() == [1, 1, 1, 1]
    assert said("slow and soft, no drums, sad")[:4].tolist() == [-1, -1, -1, -1]
    assert said("fast or slow")[PACE] == 0
    assert said("upbeat, fast, lively")[PACE] == 1


def test_half_and_double_tempo_are_one():
    assert said("at 70 bpm")[TEMPO] == pytest.approx(said("at 140 bpm")[TEMPO])
    assert said("at 100 bpm")[TEMPO] @ said("at 141 bpm")[TEMPO] == pytest.approx(-1, abs=0.01)


def test_a_named_key_is_nearest_to_its_relatives():
    keys = {name: said(f"in {name}")[KEY] for name in ("C major", "A minor", "F# major")}
    assert keys["C major"] @ keys["C major"] == pytest.approx(1)
    assert keys["C major"] @ keys["A minor"] > 0.5 > 0 > keys["C major"] @ keys["F# major"]


@pytest.mark.parametrize(
    ("style", "prompt", "opposite"),
    [
        (Style("techno", 0, Mode.MINOR, 140, "synth", drums=True), "fast, C minor, synth, with drums, 140 bpm",
         "slow, F# major, flute, no drums, 66 bpm"),
        (Style("folk", 7, Mode.MAJOR, 72, "flute", drums=False), "slow, G major, flute, no drums, 72 bpm",
         "fast, C# minor, trumpet, with drums, 132 bpm"),
    ],
)  # fmt: skip
def test_a_clip_shows_what_its_prompt_says(style, prompt, opposite):
    wave = make_clip(ClipPlan("", style, (), 4.0, SAMPLING_RATE, 1, (9, 1)))
    found = shown(describe(wave))
    assert found @ said(prompt) > 0 > found @ said(opposite)


def test_words_are_hashed_by_what_they_are():
    assert hashed_words("Rock, jazz!").tolist() == hashed_words("jazz ROCK").tolist()
    assert len({tuple(hashed_words(word)) for word in ("rock", "jazz", "ambient", "techno", "folk", "classical")}) == 6
    assert np.abs(hashed_words("rock")).sum() == 1
    assert len(hashed_words("any")) == HASHED
    assert np.linalg.norm(hashed_words("many different words make no longer vectors than few do")) < 3
