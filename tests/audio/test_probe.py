"""What a file is, and whether it was cut off."""

import itertools

import numpy as np
import pytest
import soundfile

from cmi_bench.audio.mp3 import FRAME_BYTES, find_frames
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


@pytest.mark.parametrize("form", ["WAV", "WAVEX"])
def test_a_wav_file_that_was_cut_off_whatever_its_header(tmp_path, form):
    path = tmp_path / "clip.wav"
    soundfile.write(path, music(8000, seconds=1, channels=1), 8000, format=form)
    assert probe(path).container == form
    assert not probe(path).is_cut
    path.write_bytes(path.read_bytes()[:-2])
    assert probe(path).is_cut


def mp3_frames(tmp_path):
    """The frames of an MP3 file, the first of which is its tag."""
    path = tmp_path / "whole.mp3"
    soundfile.write(path, music(32000, seconds=2, channels=1), 32000)
    data = path.read_bytes()
    (run,) = find_frames(data).runs
    places = [run.start]
    while places[-1] < run.end:
        places.append(places[-1] + FRAME_BYTES[int.from_bytes(data[places[-1] + 1 : places[-1] + 3], "big")])
    return [data[begin:end] for begin, end in itertools.pairwise(places)]


@pytest.mark.parametrize(
    ("damage", "is_cut"),
    [
        (lambda tag, frames: [tag, *frames], False),
        (lambda tag, frames: [tag, *frames[:-2]], True),  # between two frames: fewer than the tag promises
        (lambda tag, frames: [tag, *frames[:-1], frames[-1][:-1]], True),
        (lambda tag, frames: frames, False),
        (lambda tag, frames: [*frames[:-1], frames[-1][:-1]], True),  # within a frame, and no tag that says so
        (lambda tag, frames: [*frames[:-1], frames[-1][:4]], True),
        (lambda tag, frames: frames[:-2], False),  # nothing in the file tells
    ],
    ids=["whole", "frames", "tag, within", "no tag", "within", "header alone", "no tag, frames"],
)
def test_an_mp3_file_that_was_cut_off(tmp_path, damage, is_cut):
    tag, *frames = mp3_frames(tmp_path)
    path = tmp_path / "clip.mp3"
    path.write_bytes(b"".join(damage(tag, frames)))
    assert probe(path).is_cut is is_cut
