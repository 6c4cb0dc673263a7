"""Audio in memory: each form of the same sound is the same sound, and what could be two things is refused."""

import numpy as np
import pytest
import soundfile
import torch

from cmi_bench.api.songs import Song, samples_of
from cmi_bench.audio.decode import decode, to_mono
from cmi_bench.errors import UserError

STEREO = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 4000)).astype(np.float32)


@pytest.mark.parametrize(
    "form",
    [
        STEREO,
        STEREO.T,
        STEREO.astype(np.float64),
        torch.from_numpy(STEREO),
        torch.from_numpy(STEREO.T.copy()).requires_grad_(),
        torch.from_numpy(STEREO).transpose(0, 1),
    ],
    ids=["channels first", "channels last", "double", "tensor", "with gradient", "transposed"],
)
def test_forms_of_the_same_sound(form):
    samples = samples_of(form, 16000, name="x")
    np.testing.assert_array_equal(samples.values, STEREO.T)
    assert samples.sr == 16000


def test_what_a_file_would_give(tmp_path):
    """16-bit samples, stereo, another rate, longer than what is heard: as from a file, to the last bit."""
    values = np.random.default_rng(1).integers(-20000, 20000, (30000, 2), dtype=np.int16)
    soundfile.write(tmp_path / "x.wav", values, 44100)
    found = to_mono(samples_of((values, 44100), None, name="x"), 24000, 0.5, name="x")
    assert torch.equal(found, decode(tmp_path / "x.wav", 24000, 0.5))


def test_unsigned_bytes_as_in_a_file(tmp_path):
    values = np.random.default_rng(2).integers(0, 256, 500, dtype=np.uint8)
    raw = tmp_path / "x.raw"
    raw.write_bytes(values.tobytes())
    expected, _ = soundfile.read(raw, samplerate=8000, channels=1, subtype="PCM_U8", format="RAW", dtype="float32")
    np.testing.assert_array_equal(samples_of(values, 8000, name="x").values[:, 0], expected)


def test_half_precision():
    tone = torch.from_numpy(STEREO[0])
    np.testing.assert_allclose(samples_of(tone.bfloat16(), 1, name="x").values[:, 0], STEREO[0], atol=2e-3)


@pytest.mark.parametrize(
    ("audio", "sample_rate", "says"),
    [
        (STEREO, None, "its sampling rate is not given"),
        (STEREO, 0, "not a whole number above 0"),
        (STEREO, 22050.5, "not a whole number above 0"),
        ([0.1, 0.2], 16000, "Song 1 is a list"),
        (np.zeros((4, 6)), 16000, "which axis holds the channels"),
        (np.zeros((40, 60)), 16000, "which axis holds the channels"),
        (np.zeros((1, 2, 4000)), 16000, "shape [1, 2, 4000]"),
        (np.zeros(0), 16000, "no audio samples"),
        (np.zeros(10, dtype=bool), 16000, "dtype bool"),
        (np.zeros(10, dtype=complex), 16000, "dtype complex128"),
        (np.full(10, 3e4), 16000, "full scale is 1"),
    ],
)
def test_what_could_be_two_things_is_refused(audio, sample_rate, says):
    with pytest.raises(UserError) as raised:
        samples_of(audio, sample_rate, name="Song 1")
    assert says in raised.value.what
    assert raised.value.hint


def test_a_song_is_short_in_a_repl():
    assert repr(Song("a.mp3", text="slow")) == "Song(audio='a.mp3', text='slow')"
    samples = np.zeros((2, 160000), dtype=np.float32)
    assert repr(Song(samples, ref_audio=(torch.zeros(5), 8000), sample_rate=16000)) == (
        "Song(audio=<ndarray [2, 160000]>, ref_audio=(<Tensor [5]>, 8000), sample_rate=16000)"
    )
