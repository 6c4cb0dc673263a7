"""Pieces keep to their style."""

from dataclasses import replace

import numpy as np
import pytest

from cmi_bench.data.synthetic.composition import (
    GENRES,
    MAX_DRIFT,
    SCALES,
    Mode,
    Style,
    agreement,
    compose,
    draw_style,
    drift,
    scale_pitch,
    scale_shift,
)
from cmi_bench.data.synthetic.instruments import stream

STYLE = Style(genre="rock", tonic=9, mode=Mode.MINOR, tempo=132, lead="piano", drums=True)


@pytest.mark.parametrize("genre", GENRES)
@pytest.mark.parametrize("mode", Mode)
def test_pieces_keep_key_and_grid(genre, mode):
    style = replace(STYLE, genre=genre, mode=mode)
    notes = compose(style, 8.0, stream(9, 2))
    assert {note.part for note in notes} == {"chords", "bass", "melody", "drums"}
    scale = {(style.tonic + step) % 12 for step in SCALES[mode]}
    assert {note.pitch % 12 for note in notes if note.part != "drums"} <= scale
    melody_beats = np.array([note.start for note in notes if note.part == "melody"]) * style.tempo / 60
    assert np.allclose(2 * melody_beats, np.rint(2 * melody_beats))
    assert len({note.pitch for note in notes if note.part == "melody"}) > 1


def test_chords_change():
    bars = compose(STYLE, 8.0, stream(9, 3))
    chords = {}
    for note in bars:
        if note.part == "chords":
            chords.setdefault(round(note.start * STYLE.tempo / 60) // 4, set()).add(note.pitch)
    assert len({frozenset(chord) for chord in chords.values()}) >= 3


def test_without_drums_there_are_none():
    notes = compose(replace(STYLE, drums=False), 4.0, stream(9, 2))
    assert not [note for note in notes if note.part == "drums"]


def test_drift_lowers_the_agreement():
    for number in range(20):
        rng = stream(9, number)
        wish = draw_style(rng)
        values = [agreement(wish, drift(wish, steps, rng)) for steps in (0, 2, MAX_DRIFT)]
        assert values[0] == pytest.approx(1)
        assert 0 < values[1] < 1
        assert values[2] == 0


@pytest.mark.parametrize("mode", Mode)
def test_steps_of_the_scale_stay_in_the_key_and_lead_back(mode):
    style = replace(STYLE, mode=mode)
    scale = [scale_pitch(style, degree) for degree in range(-14, 15)]
    for degree, pitch in enumerate(scale[7:-7], start=7):
        for steps in (-7, -1, 0, 1, 2, 7):
            assert scale_shift(style, pitch, steps) == scale[degree + steps]


def test_a_pitch_beside_the_scale_stays_as_far_beside_it():
    # Of C major: an F sharp, a semitone above the fourth step, goes with F to E and to G.
    style = replace(STYLE, mode=Mode.MAJOR, tonic=0)
    assert [scale_shift(style, 66, steps) for steps in (-1, 0, 1)] == [65, 66, 68]
