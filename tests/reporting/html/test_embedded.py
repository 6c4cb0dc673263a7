"""Audio within a page: the start of each clip, once, as long as there is room."""

import base64
import io

import av
import numpy as np
import pytest
import soundfile

from cmi_bench.reporting.html import embedded
from cmi_bench.reporting.html.embedded import EmbeddedAudio


@pytest.fixture
def root(tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(3 * 16000) / 16000)
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, tone, 16000)
    (tmp_path / "text.wav").write_text("no audio")
    return tmp_path


def test_the_start_of_a_clip_is_an_address_by_itself(root, monkeypatch):
    monkeypatch.setattr(embedded, "SECONDS", 1.0)
    link = EmbeddedAudio().link("a.wav", [root])
    assert (link.path, link.problem) == ("a.wav (its first 1 s)", "")
    kind, _, content = link.url.partition(",")
    assert kind == "data:audio/mpeg;base64"
    with av.open(io.BytesIO(base64.b64decode(content))) as opened:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in opened.decode(audio=0)])
        assert opened.streams.audio[0].rate == 24000
    assert len(samples) == pytest.approx(24000, abs=3000)
    peak = np.argmax(np.abs(np.fft.rfft(samples))) * 24000 / len(samples)
    assert peak == pytest.approx(440, abs=2)


def test_a_short_clip_is_there_as_a_whole(root):
    assert EmbeddedAudio().link("a.wav", [root]).path == "a.wav"


def test_what_is_missing_or_no_audio_has_no_player(root):
    audio = EmbeddedAudio()
    assert audio.link("none.wav", [root])[1:] == (None, "not found under data.root")
    assert audio.link("text.wav", [root])[1:] == (None, "cannot be decoded")


def test_a_page_that_is_full_says_so_and_a_clip_that_comes_again_takes_no_room(root, monkeypatch):
    audio = EmbeddedAudio()
    first = audio.link("a.wav", [root])
    monkeypatch.setattr(embedded, "MAX_BYTES", len(first.url))
    assert audio.link("a.wav", [root]) is first
    assert audio.link("b.wav", [root]).url is None
    assert "is left out" in audio.link("b.wav", [root]).problem
