"""Statistics are finite for any audio, of the order of one, and tell what they are named after."""

import numpy as np
import pytest

from cmi_bench.data.synthetic.composition import Mode, Style
from cmi_bench.data.synthetic.degradation import ClipPlan, Damage, Fault, make_clip
from cmi_bench.models.audio_statistics.statistics import (
    STATISTICS,
    WIDTH,
    Sound,
    harmony,
    levels,
    measure,
    mistuning,
    noise_floors,
    pulse,
    repetition,
    standardized,
)
from cmi_bench.models.signal.features import MIN_SAMPLES, SAMPLING_RATE, describe, prepare

STYLE = Style(genre="rock", tonic=0, mode=Mode.MAJOR, tempo=132, lead="piano", drums=True)
RNG = np.random.default_rng(0)
ODD = {
    "silence": np.zeros(SAMPLING_RATE),
    "a click": np.eye(1, SAMPLING_RATE)[0],
    "noise": RNG.uniform(-1, 1, 4 * SAMPLING_RATE),
    "a constant": np.ones(SAMPLING_RATE),
    "nothing": np.zeros(0),
    "NaN": np.full(SAMPLING_RATE, np.nan),
    "as short as can be": RNG.uniform(-1, 1, MIN_SAMPLES),
    "full scale square": np.sign(np.sin(2 * np.pi * 100 * np.arange(SAMPLING_RATE) / SAMPLING_RATE)),
}


def play(*damages, style=STYLE, seed=1):
    clip = ClipPlan("", style, tuple(Damage(fault, 1.0) for fault in damages), 4.0, SAMPLING_RATE, 1, (9, seed))
    return make_clip(clip)[:, 0]


def sound(*damages, **kwargs):
    return Sound(prepare(play(*damages, **kwargs)))


@pytest.mark.parametrize("name", ODD)
def test_any_audio_gives_finite_numbers_that_fit_into_half_precision(name):
    found = standardized(measure(Sound(prepare(ODD[name]))))
    assert found.shape == (WIDTH,)
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 8


def test_each_statistic_has_the_width_that_it_says():
    whole = sound()
    for statistic in STATISTICS:
        assert statistic.__doc__.startswith("Return [")
        width = statistic.__doc__.partition("[")[2].partition("]")[0].replace("2 BANDS", "48").replace("BANDS", "24")
        assert statistic(whole).shape == (int(width),), statistic.__name__


def test_the_properties_are_those_of_the_signal_baseline():
    wave = play()
    ours, theirs = Sound(prepare(wave)).properties, describe(wave)
    assert ours.rhythm == theirs.rhythm
    assert ours.waveform == theirs.waveform
    assert ours.tonal[:3] == theirs.tonal[:3]


def test_loudness_makes_no_difference():
    wave = play()
    assert measure(Sound(prepare(0.25 * wave))) == pytest.approx(measure(Sound(prepare(wave))), abs=1e-2)


def test_clips_of_the_generator_lie_about_zero_with_a_deviation_of_about_one():
    pieces = [sound(fault, seed=seed) for seed, fault in enumerate((*Fault, *Fault))]
    found = np.array([standardized(measure(piece)) for piece in pieces])
    assert np.abs(found.mean()) < 0.3
    assert 0.5 < found.std() < 1.5


@pytest.mark.parametrize(
    ("fault", "statistic", "place"),
    [
        (Fault.DETUNED, mistuning, 0),
        (Fault.NOISE, noise_floors, 2),
        (Fault.DROPOUTS, levels, 6),
        (Fault.WRONG_NOTES, harmony, 8),
    ],
)
def test_a_fault_raises_what_measures_it(fault, statistic, place):
    whole, damaged = (
        np.mean([statistic(sound(*damages, seed=seed))[place] for seed in range(3)]) for damages in ((), (fault,))
    )
    assert damaged > whole + 0.1


def test_playing_off_the_beat_loosens_the_pulse():
    at_the_beat = slice(0, 6)
    assert pulse(sound(Fault.OFF_BEAT))[at_the_beat].sum() < pulse(sound())[at_the_beat].sum()


def test_a_piece_that_is_stuck_repeats_itself_at_its_end():
    last = 2
    assert repetition(sound(Fault.STUCK))[last] < 0.7 * repetition(sound())[last]


def test_a_window_too_short_to_repeat_itself_says_nothing_of_it():
    assert list(repetition(Sound(prepare(ODD["as short as can be"])))) == [2] * 4 + [0] * 5
