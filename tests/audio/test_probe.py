"""What a file is, and whether it was cut off."""

import numpy as np
import pytest
import soundfile

from cmi_bench.audio.probe import measure, probe
from cmi_bench.audio.readers import read_audio


def music(sr, seconds, channels):
    rng = np.random.default_rng((sr, channels))
    return (0.4 * rng.uniform(-1, 1, size=(int(sr * seconds), channels))).astype(np.float32)


@pytest.mark.parametrize(
    ("container", "codec"), [("wav", "PCM_16"), ("flac", "PCM_16"), ("ogg", "VORBIS"), ("mp3", "MPEG_LAYER_III")]
)
def test_what_a_file_is(tmp_path, container, codec):
    path = tmp_path / f"clip.{container}"
    soundfile.write(path, music(32000, seconds=3, channels=2), 32000)
    facts = probe(path)
    assert (facts.sample_rate, facts.channels, facts.codec, facts.decoder) == (32000, 2, codec, "soundfile")
    assert facts.container == container.upper()
    assert facts.seconds == pytest.approx(3)
    assert not facts.is_cut
    measured = measure(path)
    assert measured.seconds == pytest.approx(3)
    assert measured.peak == pytest.approx(float(np.abs(read_audio(path).values).max()))


@pytest.mark.parametrize("container", ["wav", "ogg", "mp3"])
def test_a_file_that_was_cut_off(tmp_path, container):
    path = tmp_path / f"clip.{container}"
    soundfile.write(path, music(32000, seconds=6, channels=1), 32000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert probe(path).is_cut
    assert measure(path).seconds < 5


def test_a_wav_of_unknown_length_is_not_cut_off(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, music(8000, seconds=1, channels=1), 8000)
    data = path.read_bytes()
    start = data.index(b"data") + 4
    path.write_bytes(data[:start] + b"\xff" * 4 + data[start + 4 :])
    assert not probe(path).is_cut
