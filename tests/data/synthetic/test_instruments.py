"""Instruments and drums sound as they are called."""

import numpy as np
import pytest

from cmi_bench.data.synthetic.instruments import TIMBRES, drum_sound, hertz, stream, tone


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


def test_streams_of_other_ids_differ():
    draws = [stream(*ids).integers(2**60) for ids in ((1,), (1, 0), (1, 0, 0), (0, 1), (2,))]
    assert len(set(draws)) == len(draws)
