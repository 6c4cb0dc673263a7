"""The synthesiser: pieces keep to their style, and each fault does what it says."""

from dataclasses import replace

import numpy as np
import pytest

from cmi_bench.data.synthetic.clips import ClipPlan, make_clip
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
)
from cmi_bench.data.synthetic.degradation import CEILING, Damage, Fault
from cmi_bench.data.synthetic.instruments import PEAK, TIMBRES, drum_sound, hertz, stream, tone
from cmi_bench.data.synthetic.labels import write_lyrics, write_prompt

STYLE = Style(genre="rock", tonic=9, mode=Mode.MINOR, tempo=132, lead="piano", drums=True)
PLAN = ClipPlan("x.wav", STYLE, (), 4.0, 24000, 1, (9, 1))


def spoilt(fault: Fault, strength: float) -> np.ndarray:
    return make_clip(replace(PLAN, damages=(Damage(fault, strength),)))


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


@pytest.mark.parametrize("name", TIMBRES)
def test_instruments_play_the_pitch_asked_for(name):
    wave = tone(name, 69, 1.0, 24000)[:24000]
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    # Whatever partial is loudest, it is a multiple of A at 440 Hz.
    loudest = np.argmax(spectrum) / hertz(69)
    assert loudest == pytest.approx(round(loudest), abs=0.02)
    assert loudest > 0.9


@pytest.mark.parametrize("drum", ["kick", "snare", "hat"])
def test_drums_die_away(drum):
    wave = np.abs(drum_sound(drum, 24000))
    assert wave.max() == pytest.approx(1.0)
    assert wave[-len(wave) // 5 :].max() < 0.2


def test_whole_pieces_leave_headroom():
    wave = make_clip(replace(PLAN, channels=2))
    assert wave.shape == (96000, 2)
    assert np.max(np.abs(wave)) == pytest.approx(PEAK)
    assert not np.allclose(wave[:, 0], wave[:, 1])


@pytest.mark.parametrize("fault", Fault)
def test_more_of_a_fault_is_further_from_the_piece(fault):
    whole = make_clip(PLAN)
    # Shape, not loudness: a clipped clip is louder.
    whole /= np.linalg.norm(whole)
    likeness = []
    for strength in (0.0, 0.2, 1.0):
        wave = spoilt(fault, strength)
        assert np.max(np.abs(wave)) <= CEILING + 1e-6
        likeness.append(float(np.sum(whole * wave / np.linalg.norm(wave))))
    none, mild, strong = likeness
    assert none > 0.99
    assert none > mild > strong - 0.1  # late is late: off the beat by a little or by much, waves no longer match
    assert strong < 0.95


def test_clipping_makes_flat_tops():
    wave = np.abs(spoilt(Fault.CLIPPING, 0.8))
    assert np.mean(wave > 0.99 * wave.max()) > 0.1


def test_dropouts_are_silent():
    assert np.mean(spoilt(Fault.DROPOUTS, 0.8) == 0) > 0.1


def test_muffling_takes_the_highs():
    def highs(wave: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(wave[:, 0])) ** 2
        return float(power[2000 * 4 :].sum() / power.sum())

    assert highs(spoilt(Fault.MUFFLED, 0.6)) < 0.01 * highs(make_clip(PLAN))


def test_drift_lowers_the_agreement():
    for number in range(20):
        rng = stream(9, number)
        wish = draw_style(rng)
        values = [agreement(wish, drift(wish, steps, rng)) for steps in (0, 2, MAX_DRIFT)]
        assert values[0] == pytest.approx(1)
        assert 0 < values[1] < 1
        assert values[2] == 0


def test_prompts_say_what_is_asked():
    for number in range(20):
        prompt = write_prompt(STYLE, stream(9, number)).lower()
        assert "rock" in prompt
        assert "piano" in prompt
        assert "with drums" in prompt
        assert "minor" in prompt or "dark" in prompt
        assert "132" in prompt or "fast" in prompt


def test_lyrics_are_four_lines():
    assert len(write_lyrics(stream(9)).splitlines()) == 4


def test_streams_of_other_ids_differ():
    draws = [stream(*ids).integers(2**60) for ids in ((1,), (1, 0), (1, 0, 0), (0, 1), (2,))]
    assert len(set(draws)) == len(draws)
