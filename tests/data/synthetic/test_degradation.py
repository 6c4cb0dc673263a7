"""Each fault does what it says, the more the stronger it is."""

from dataclasses import replace

import numpy as np
import pytest

from cmi_bench.data.synthetic.composition import (
    Mode,
    Style,
)
from cmi_bench.data.synthetic.degradation import CEILING, ClipPlan, Damage, Fault, make_clip
from cmi_bench.data.synthetic.instruments import PEAK

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
    assert none > mild > strong - 0.1  # late is late: off the beat by a little or by much, waves no longer match
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
