"""Which library reads a file, and what is said where none can."""

import os
import socket
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from cmi_bench.audio import readers
from cmi_bench.audio.decode import AudioError, decode
from cmi_bench.audio.probe import measure, probe
from cmi_bench.audio.readers import read_audio

M4A_WITHOUT_SOUND = b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0" + b"\0\0\0\x08free" + bytes(100)
SR = 48000


def tones(seconds=8.0):
    """Stereo, [samples, 2]: another tone in each channel."""
    time = np.arange(int(SR * seconds)) / SR
    return np.stack([0.4 * np.sin(2 * np.pi * hertz * time) for hertz in (458, 764)], axis=1).astype(np.float32)


def encode(path, samples, codec):
    """Write [samples, channels] with FFmpeg's encoder."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=SR, layout="stereo")
        stream.bit_rate = 192_000
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout="stereo")
        frame.sample_rate = SR
        resampler = av.AudioResampler(format=stream.format, layout="stereo", rate=SR, frame_size=stream.frame_size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("suffix", "codec"), [("m4a", "aac"), ("webm", "libopus"), ("aac", "aac"), ("wma", "wmav2")])
def test_ffmpeg_reads_what_libsndfile_does_not(tmp_path, suffix, codec):
    path = encode(tmp_path / f"clip.{suffix}", tones(), codec)
    assert read_audio(path).decoder == probe(path).decoder == "av"
    assert (probe(path).sample_rate, probe(path).channels, probe(path).container) == (SR, 2, suffix.upper())
    whole = decode(path, sr=24000)
    assert len(whole) / 24000 == pytest.approx(8, abs=0.15)
    assert probe(path).seconds == pytest.approx(8, abs=0.15)
    for seconds in (0.5, 3.0, 30.0):
        part = decode(path, sr=24000, max_dur=seconds)
        torch.testing.assert_close(part, whole[: int(seconds * 24000)], rtol=0, atol=1e-6)
    # The same music, but for what the codec made of it and where it begins: two tones, as loud as they were.
    spectrum = torch.fft.rfft(whole[24000:72000] * torch.hann_window(48000)).abs()
    assert sorted(spectrum.topk(2).indices.tolist()) == pytest.approx([2 * 458, 2 * 764], abs=1)
    assert whole[24000:72000].std() == pytest.approx(0.2, rel=0.03)
    assert measure(path).peak == pytest.approx(0.45, abs=0.15)


def test_channels_stay_apart(tmp_path):
    samples = tones()
    samples[:, 1] = 0
    values = read_audio(encode(tmp_path / "clip.m4a", samples, "aac")).values
    assert values[SR:-SR, 0].std() > 0.25
    assert values[SR:-SR, 1].std() < 0.01


def test_samples_of_whole_numbers_are_scaled_to_one(tmp_path):
    path = encode(tmp_path / "clip.m4a", tones(1.0), "alac")  # lossless, 16 bit
    np.testing.assert_allclose(read_audio(path).values[:SR], tones(1.0), rtol=0, atol=2**-14)
    np.testing.assert_allclose(read_audio(path, mono=True).values[:SR, 0], tones(1.0).mean(axis=1), atol=2**-14)


@pytest.mark.parametrize("content", [M4A_WITHOUT_SOUND, b"<html>not found</html>" * 50, bytes(5000), b""])
def test_a_file_that_neither_library_reads(tmp_path, content):
    (tmp_path / "clip.m4a").write_bytes(content)
    for use in (lambda path: decode(path, sr=24000), probe, measure):
        with pytest.raises(AudioError, match=r"clip\.m4a: libsndfile: .* FFmpeg: ") as error:
            use(tmp_path / "clip.m4a")
        assert "is audio" in error.value.hint


def test_a_video_without_sound(tmp_path):
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError, match="there is no audio in it"):
        decode(tmp_path / "clip.mp4", sr=24000)


def test_a_cut_m4a(tmp_path):
    path = encode(tmp_path / "clip.m4a", tones(), "aac")
    path.write_bytes(path.read_bytes()[:20000])  # its index is at its end
    with pytest.raises(AudioError, match="FFmpeg: "):
        decode(path, sr=24000)


def test_a_playlist_in_disguise_fetches_nothing(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        (tmp_path / "clip.m3u8").write_text(
            f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n"
        )
        with pytest.raises(AudioError):
            decode(tmp_path / "clip.m3u8", sr=24000)
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("clip.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:8,\n{}\n#EXT-X-ENDLIST\n"),
        ("clip.wav", "ffconcat version 1.0\nfile other.aac\n"),
    ],
)
def test_a_playlist_reads_no_other_file(tmp_path, name, content):
    encode(tmp_path / "other.aac", tones(1.0), "aac")
    (tmp_path / name).write_text(content.format(tmp_path / "other.aac"))
    with pytest.raises(AudioError, match=rf"Cannot decode .*{name}"):
        decode(tmp_path / name, sr=24000)


def pipe(path):
    os.mkfifo(path)


NO_FILES = [
    ("pipe.wav", pipe, "named pipe"),
    ("folder.wav", lambda path: path.mkdir(), "a folder"),
    ("device.wav", lambda path: path.symlink_to("/dev/urandom"), "a device"),
    ("x" * 300 + ".wav", lambda path: None, "File name too long"),
    ("a\0b.wav", lambda path: None, "Not a file's name"),
    ("clip.raw", lambda path: path.write_bytes(bytes(1000)), "files have no header"),
    ("clip.wav", lambda path: soundfile.write(path, np.zeros(100), 100), "its sampling rate is 100 Hz"),
]


@pytest.mark.parametrize("use", [lambda path: decode(path, 24000), probe, measure], ids=["decode", "probe", "measure"])
@pytest.mark.parametrize(("name", "make", "says"), NO_FILES, ids=[says for *_, says in NO_FILES])
def test_what_is_no_audio_file_is_refused_at_once(tmp_path, use, name, make, says):
    make(tmp_path / name)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(AudioError, match=says) as error:
        use(tmp_path / name)
    assert error.value.hint
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_that_is_too_large_for_a_song_is_not_searched_for_frames(tmp_path, monkeypatch):
    path = tmp_path / "film.mkv"
    path.write_bytes(bytes(100_000))
    monkeypatch.setattr(readers, "find_frames", lambda data: pytest.fail("searched") if data else None)
    monkeypatch.setattr(readers, "MAX_MP3_BYTES", 99_999)
    with pytest.raises(AudioError, match=r"Cannot decode .*film\.mkv"):
        probe(path)


def test_a_file_that_is_gone_before_it_is_read_again(tmp_path, monkeypatch):
    path = tmp_path / "clip.wav"
    path.write_bytes(b"no audio")
    opened = soundfile.SoundFile.__init__

    def gone(*arguments):
        path.unlink()
        opened(*arguments)

    monkeypatch.setattr(soundfile.SoundFile, "__init__", gone)
    with pytest.raises(AudioError, match=r"Cannot decode .*clip\.wav: No such file"):
        decode(path, sr=24000)


def test_where_blocks_meet_an_mp3_has_the_samples_of_one_read(tmp_path, monkeypatch):
    path = tmp_path / "clip.mp3"
    # Of a tone, frames take most of their bits from frames before, which are lost to who seeks between them.
    tone = 0.5 * np.sin(np.arange(2 * SR) * 0.05)
    soundfile.write(path, np.stack([tone, tone], axis=1), SR)
    monkeypatch.setattr(readers, "BLOCK", 20_000)
    expected = soundfile.read(path, dtype="float32")[0]
    np.testing.assert_array_equal(read_audio(path).values, expected)
    monkeypatch.setattr(readers, "PART", 33_333)  # neither a number of blocks nor of all samples
    np.testing.assert_array_equal(read_audio(path).values, expected)
    np.testing.assert_array_equal(read_audio(path, mono=True).values[:, 0], expected[:, 0])
