"""Each fault does what it says, the more the stronger it is."""

from dataclasses import replace

import numpy as np
import pytest

from cmi_bench.data.synthetic.composition import SCALES, Mode, Style, compose, draw_style
from cmi_bench.data.synthetic.degradation import (
    CEILING,
    COMPOSITION,
    MAX_LATE,
    ClipPlan,
    Damage,
    Fault,
    damage_notes,
    make_clip,
)
from cmi_bench.data.synthetic.instruments import PEAK, Note, stream
from cmi_bench.models.signal.features import describe
from cmi_bench.models.signal.model import musicality

STYLE = Style(genre="rock", tonic=9, mode=Mode.MINOR, tempo=132, lead="piano", drums=True)
PLAN = ClipPlan("x.wav", STYLE, (), 4.0, 24000, 1, (9, 1))


def damaged(fault: Fault, strength: float) -> np.ndarray:
    return make_clip(replace(PLAN, damages=(Damage(fault, strength),)))


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
        wave = damaged(fault, strength)
        assert np.max(np.abs(wave)) <= CEILING + 1e-6
        likeness.append(float(np.sum(whole * wave / np.linalg.norm(wave))))
    none, mild, strong = likeness
    assert none > 0.99
    assert none > mild > strong - 0.2  # late is late: by a little or by much, waves no longer match
    assert strong < 0.95


def test_clipping_makes_flat_tops():
    wave = np.abs(damaged(Fault.CLIPPING, 0.8))
    assert np.mean(wave > 0.99 * wave.max()) > 0.1


def test_dropouts_are_silent():
    assert np.mean(damaged(Fault.DROPOUTS, 0.8) == 0) > 0.1


def test_muffling_takes_the_highs():
    def highs(wave: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(wave[:, 0])) ** 2
        return float(power[2000 * 4 :].sum() / power.sum())

    assert highs(damaged(Fault.MUFFLED, 0.6)) < 0.01 * highs(make_clip(PLAN))


SECONDS = 8.0
NOTES = compose(STYLE, SECONDS, stream(9, 4))
BEAT = 60 / STYLE.tempo


def composed(fault: Fault, strength: float) -> list[Note]:
    return damage_notes(NOTES, STYLE, [Damage(fault, strength)], stream(9, 5))


def beats(notes: list[Note]) -> list[set[tuple[str, float, float]]]:
    """What begins in each beat: part, place in the beat, pitch."""
    found: list[set[tuple[str, float, float]]] = [set() for _ in range(round(SECONDS / BEAT) + 1)]
    for note in notes:
        number = int(note.start / BEAT + 1e-6)
        found[number].add((note.part, round(note.start / BEAT - number, 3), note.pitch))
    return found


def melody(notes: list[Note]) -> list[Note]:
    return [note for note in notes if note.part == "melody"]


@pytest.mark.parametrize("fault", sorted(COMPOSITION))
def test_no_strength_is_no_fault_and_all_else_is_reproducible(fault):
    assert composed(fault, 0.0) == NOTES
    assert composed(fault, 0.7) == composed(fault, 0.7) != NOTES


def test_a_stuck_piece_repeats_the_last_beat_it_came_to():
    whole, stuck = beats(NOTES), beats(composed(Fault.STUCK, 0.5))
    first = next(number for number, (a, b) in enumerate(zip(whole, stuck, strict=True)) if a != b)
    assert stuck[:first] == whole[:first]
    assert all(beat == stuck[first - 1] for beat in stuck[first:-1])
    assert 0.4 < (len(stuck) - first) / len(stuck) < 0.6


def test_shuffled_beats_are_all_there_in_another_order():
    whole, shuffled = beats(NOTES), beats(composed(Fault.SHUFFLED, 1.0))
    assert sorted(map(sorted, whole)) == sorted(map(sorted, shuffled))
    assert sum(a != b for a, b in zip(whole, shuffled, strict=True)) > len(whole) / 2


def test_wrong_chords_are_of_the_key_and_share_no_tone_with_the_right_ones():
    wrong = composed(Fault.WRONG_CHORDS, 1.0)
    scale = {(STYLE.tonic + step) % 12 for step in SCALES[STYLE.mode]}
    assert {note.pitch % 12 for note in wrong if note.part != "drums"} <= scale
    assert melody(wrong) == melody(NOTES)
    for right, other in zip(beats(NOTES), beats(wrong), strict=True):
        chords = [{pitch % 12 for part, _, pitch in beat if part == "chords"} for beat in (right, other)]
        assert not chords[0] & chords[1]


def test_leaps_leave_each_tone_its_name():
    leapt = melody(composed(Fault.LEAPS, 0.5))
    moves = [other.pitch - note.pitch for note, other in zip(melody(NOTES), leapt, strict=True)]
    assert set(moves) <= {-24, -12, 0, 12, 24}
    assert 0.25 < np.mean(np.array(moves) != 0) < 0.75


def test_out_of_step_is_the_same_everywhere():
    late = melody(composed(Fault.OUT_OF_STEP, 1.0))
    delays = [other.start - note.start for note, other in zip(melody(NOTES), late, strict=True)]
    assert delays == pytest.approx([MAX_LATE * BEAT] * len(delays))


def test_a_changing_timbre_plays_the_same_tune_on_other_instruments():
    changed = melody(composed(Fault.CHANGING_TIMBRE, 1.0))
    assert [note._replace(sound=STYLE.lead) for note in changed] == melody(NOTES)
    assert STYLE.lead not in {note.sound for note in changed}
    assert len({note.sound for note in changed}) > 3


@pytest.mark.slow
def test_composition_is_what_the_signal_baseline_does_not_measure():
    """Half of the faults are those of its merits, and would make its figures circular; the others are nobody's."""

    def loss(fault: Fault) -> float:
        plans = [replace(PLAN, style=draw_style(stream(9, 6, number)), seed=(9, number)) for number in range(4)]
        clips = [(make_clip(plan), make_clip(replace(plan, damages=(Damage(fault, 1.0),)))) for plan in plans]
        return float(np.mean([musicality(describe(whole)) - musicality(describe(bad)) for whole, bad in clips]))

    assert all(loss(fault) < 0.03 for fault in COMPOSITION)
    assert all(loss(fault) > 0.03 for fault in set(Fault) - COMPOSITION)
