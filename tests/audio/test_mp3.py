"""MP3 files as they come: rubbish around and between the frames, tags that say the wrong thing or nothing."""

import io

import numpy as np
import pytest
import soundfile
import torch

from cmi_bench.audio.decode import decode
from cmi_bench.audio.mp3 import clean_stream, find_frames, find_tag
from cmi_bench.audio.probe import measure, probe

SECONDS = 6.0
ID3 = b"ID3\x04\x00\x00"


def vbr(sr, channels):
    """An MP3 of variable bitrate whose start needs far more bits than its end, with LAME's tag."""
    rng = np.random.default_rng(sr + channels)
    loudness = np.linspace(1, 0, int(sr * SECONDS))[:, None] ** 8
    samples = 0.5 * loudness * rng.uniform(-1, 1, (len(loudness), channels))
    samples += 0.1 * np.sin(np.arange(len(loudness)) * 0.05)[:, None]
    file = io.BytesIO()
    soundfile.write(file, samples.astype(np.float32), sr, format="MP3", bitrate_mode="VARIABLE", compression_level=0.2)
    return file.getvalue()


def with_count(data, count):
    position = find_tag(data, find_frames(data)).position + 8
    return data[:position] + count.to_bytes(4, "big") + data[position + 4 :]


def without_tag(data):
    """As FFmpeg leaves a file that it writes into a pipe: no tag, only frames."""
    start = find_frames(data).runs[0].start
    return data[next_frame(data, start + 24) :]


def next_frame(data, position):
    return next(n for n in range(position, len(data)) if find_frames(data[n : n + 9000]).runs[0].start == 0)


def with_rubbish_inside(data):
    """Two thousand bytes that are no frame, between two frames: more than the MP3 decoder looks past."""
    middle = next_frame(data, len(data) // 2)
    return data[:middle] + bytes(2000) + data[middle:]


SAME_MUSIC = {
    "rubbish before the first frame": lambda data: b"<html>" + bytes(3000) + data,
    "a tag longer than it says": lambda data: ID3 + bytes([0, 0, 1, 0]) + bytes(128) + bytes(2000) + data,
    "a tag that claims more than there is": lambda data: ID3 + b"\x7f" * 4 + bytes(50) + data,
    "an old tag behind": lambda data: data + b"TAG" + bytes(125),
    "a tag of half a megabyte": lambda data: ID3 + bytes([0, 32, 0, 0]) + bytes(32 << 14) + data,
    "a count that is too small": lambda data: with_count(data, 20),
    "a count that is too large": lambda data: with_count(data, 100_000),
    "rubbish between frames": with_rubbish_inside,
}


@pytest.fixture(params=[(44100, 2), (24000, 1), (48000, 1)], ids=lambda form: f"{form[0]}Hz{form[1]}ch", scope="module")
def music(request):
    return vbr(*request.param)


@pytest.mark.parametrize("damage", SAME_MUSIC.values(), ids=SAME_MUSIC.keys())
def test_the_music_is_all_there(music, damage, tmp_path):
    (tmp_path / "whole.mp3").write_bytes(music)
    (tmp_path / "damaged.mp3").write_bytes(damage(music))
    whole, damaged = (decode(tmp_path / name, sr=24000) for name in ("whole.mp3", "damaged.mp3"))
    # Where the tag says too much, the encoder's padding at the end stays; the resampler hears it a little before.
    torch.testing.assert_close(damaged[: len(whole) - 20], whole[:-20], rtol=0, atol=1e-6)
    assert len(whole) <= len(damaged) <= len(whole) + 0.1 * 24000
    assert probe(tmp_path / "damaged.mp3").seconds == pytest.approx(SECONDS, abs=0.1)
    assert measure(tmp_path / "damaged.mp3").seconds == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize("damage", [without_tag, lambda data: with_count(data, 0)], ids=["no tag", "an empty tag"])
def test_variable_bitrate_without_a_count_is_read_to_its_end(music, damage, tmp_path):
    path = tmp_path / "damaged.mp3"
    path.write_bytes(damage(music))
    frames = find_frames(path.read_bytes())
    counted = (frames.total - (find_tag(path.read_bytes(), frames) is not None)) * frames.samples_per_frame
    with soundfile.SoundFile(path) as file:
        sr = file.samplerate
        alone = file.read(dtype="float32", always_2d=True).mean(axis=1)
    assert len(alone) < 0.8 * counted  # what libsndfile gives of it
    whole = decode(path, sr=sr)
    assert len(whole) == counted
    # The same samples as far as libsndfile gets: what is decoded does not depend on how much is wanted.
    np.testing.assert_allclose(whole[: len(alone)].numpy(), alone, rtol=0, atol=1e-6)
    torch.testing.assert_close(decode(path, sr=sr, max_dur=1.0), whole[:sr], rtol=0, atol=1e-6)
    assert probe(path).seconds == pytest.approx(counted / sr, abs=0.05)


@pytest.mark.parametrize("damage", SAME_MUSIC.values(), ids=SAME_MUSIC.keys())
def test_a_part_of_a_damaged_file_equals_all_of_it_cropped(music, damage, tmp_path):
    path = tmp_path / "damaged.mp3"
    path.write_bytes(damage(music))
    whole = decode(path, sr=16000)
    for seconds in (0.5, 2.9, 3.1, 5.5):
        part = decode(path, sr=16000, max_dur=seconds)
        torch.testing.assert_close(part, whole[: int(seconds * 16000)], rtol=0, atol=1e-6)


def test_a_file_that_was_cut_off_is_known(music, tmp_path):
    path = tmp_path / "cut.mp3"
    path.write_bytes(music)
    assert not probe(path).is_cut
    path.write_bytes(music[: len(music) // 2])
    assert probe(path).is_cut
    assert measure(path).seconds < SECONDS / 2 + 0.5


def test_a_whole_stream_is_left_as_it_is(music):
    frames = find_frames(music)
    stream = music[frames.runs[0].start : frames.runs[-1].end]
    assert clean_stream(music, frames) == stream
    assert find_tag(music, frames).frames == frames.total - 1


def test_what_is_no_mp3_has_no_frames():
    assert find_frames(b"") is None
    assert find_frames(b"\xff\xfb\x90") is None
    assert find_frames(bytes(100_000)) is None
    assert find_frames(b"\xff\xfb\x90\x00" * 50) is None
