"""A model outside of the benchmark: the same scores, whatever the songs come as and whatever else is scored."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from cmi_bench import Song, SongScorer
from cmi_bench.errors import UserError
from cmi_bench.models.base import BenchmarkBatchInput, SomeFailedError
from cmi_bench.models.signal.model import SignalBaseline

SR = 16000


def tone(hertz, seconds=1.0):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(SR * seconds)) / SR)).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("songs")
    for hertz in (200, 300, 400):
        soundfile.write(folder / f"{hertz}.wav", tone(hertz), SR, subtype="FLOAT")
    (folder / "broken.mp3").write_bytes(b"no audio at all")
    return folder


@pytest.fixture(scope="module")
def scorer():
    return SongScorer(SignalBaseline(), max_dur=0.8)


class Meter:
    """Musicality is the length heard in seconds, alignment that of the reference; NaN without one."""

    sr = 8000
    audio_input = "waveform"

    def __init__(self):
        self.asked: list[list[BenchmarkBatchInput]] = []

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        self.asked.append(list(inputs))
        seconds = [[math.nan if x is None else len(x) / self.sr for x in (one.ref_audio, one.audio)] for one in inputs]
        return np.array(seconds)


class PathMeter(Meter):
    audio_input = "path"

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        files = [(one.ref_audio, one.audio) for one in inputs]
        return np.array([[math.nan if x is None else soundfile.info(x).duration for x in pair] for pair in files])


def test_the_models_own_answer(scorer, files):
    wave = torch.from_numpy(tone(300)[: int(0.8 * SR)])
    audio = torch.from_numpy(soundfile.read(files / "300.wav", dtype="float32")[0])
    assert torch.equal(audio[: len(wave)], wave)
    path = str(files / "300.wav")
    expected = SignalBaseline().score_batch([BenchmarkBatchInput(path, "slow", "", path)], 1, 0.8)[0]
    found = scorer.score(path, text="slow", ref_audio=files / "300.wav")
    assert (found.alignment, found.musicality) == pytest.approx(expected, abs=1e-12)


def test_a_song_is_the_same_song_in_every_form(scorer, files):
    as_file = scorer.score(files / "300.wav", text="slow piano")
    stereo = np.stack([tone(300), tone(300)])
    forms = [Song((tone(300), SR), "slow piano"), Song(stereo, "slow piano", sample_rate=SR)]
    forms += [{"audio": torch.from_numpy(stereo.T.copy()), "sample_rate": SR, "text": "slow piano"}]
    assert scorer.score_batch(forms) == [as_file] * 3


def test_no_score_depends_on_the_other_songs(files):
    songs = [files / f"{hertz}.wav" for hertz in (400, 200, 300)]
    whole = SongScorer(SignalBaseline()).score_batch(songs, text="calm")
    one_by_one = SongScorer(SignalBaseline(), batch_size=1, workers=3).score_batch(reversed(songs), text="calm")
    assert whole == one_by_one[::-1]


def test_what_the_model_is_given():
    meter = Meter()
    scorer = SongScorer(meter, max_dur=0.5)
    score = scorer.score((tone(200, 2.0), SR), text="t", lyrics="l", ref_audio=tone(200, 0.25), sample_rate=SR)
    assert score[:3] == (0.25, 0.5, "")
    ((one,),) = meter.asked
    assert (one.text, one.lyrics) == ("t", "l")


def test_a_model_that_reads_files_gets_files(files):
    scorer = SongScorer(PathMeter())
    found = scorer.score_batch([tone(200, 0.25), files / "200.wav"], sample_rate=SR)
    assert [one.musicality for one in found] == [0.25, 1.0]
    with_reference = scorer.score(files / "200.wav", ref_audio=(np.stack([tone(200, 0.5)] * 2), SR))
    assert (with_reference.musicality, with_reference.alignment) == (1.0, 0.5)


def test_unused_inputs_are_not_given():
    meter = Meter()
    meter.unused_inputs = frozenset({"text", "ref_audio"})
    SongScorer(meter).score(tone(200), text="t", lyrics="l", ref_audio="nowhere.wav", sample_rate=SR)
    ((one,),) = meter.asked
    assert (one.text, one.lyrics, one.ref_audio) == ("", "l", None)


def test_a_broken_song_costs_no_other_its_score(scorer, files):
    songs = [files / "200.wav", files / "broken.mp3", files / "none.wav", (tone(300), SR)]
    found = scorer.score_batch(songs, on_error="record")
    assert [bool(one.error) for one in found] == [False, True, True, False]
    assert math.isnan(found[1].musicality)
    assert "broken.mp3" in found[1].error
    assert found[0] == scorer.score(files / "200.wav")
    with pytest.raises(UserError, match=r"broken\.mp3"):
        scorer.score_batch(songs)
    assert [one.index for one in scorer.rank(songs, on_error="record")] in ([0, 3], [3, 0])


class Moody(Meter):
    """Fails as models do: by exception, by saying so, by infinity, by NaN where it judges other songs."""

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        lengths = [round(len(one.audio) / self.sr, 1) for one in inputs]
        if 0.1 in lengths:
            raise RuntimeError("out of memory")
        scores = np.array([[math.nan, {0.2: math.inf, 0.3: math.nan}.get(length, length)] for length in lengths])
        if 0.4 in lengths:
            raise SomeFailedError(scores, {lengths.index(0.4): "too short for me"})
        return scores


def test_how_a_model_fails():
    songs = [tone(200, seconds) for seconds in (0.1, 0.2, 0.3, 0.4, 0.5)]
    found = SongScorer(Moody()).score_batch(songs, sample_rate=SR, on_error="record")
    for one, says in zip(found, ("out of memory", "infinite", "NaN for musicality", "too short for me"), strict=False):
        assert says in one.error
    assert found[4] == pytest.approx((math.nan, 0.5, ""), nan_ok=True) or found[4].musicality == 0.5
    with pytest.raises(UserError, match="Song 1: RuntimeError: out of memory"):
        SongScorer(Moody()).score(songs[0], sample_rate=SR)


def test_an_answer_of_the_wrong_form_is_an_error_in_any_case():
    class Flat(Meter):
        def score_batch(self, inputs, batch_size, max_dur, **kwargs):
            return np.zeros(len(inputs))

    with pytest.raises(UserError, match=r"shape \[1\] for 1 clips"):
        SongScorer(Flat()).score_batch([tone(200)], sample_rate=SR, on_error="record")


def test_rank(files):
    scorer = SongScorer(Meter())
    songs = [tone(200, 0.3), tone(200, 0.5), tone(200, 0.3)]
    best = scorer.rank(songs, sample_rate=SR)
    assert [(one.rank, one.index, one.value) for one in best] == [(1, 1, 0.5), (2, 0, 0.3), (2, 2, 0.3)]
    assert best[0].song.audio is songs[1]
    assert [one.index for one in scorer.rank(songs, sample_rate=SR, top_k=1)] == [1]
    with pytest.raises(UserError, match="Meter does not judge alignment: songs cannot be ranked by mean"):
        scorer.rank(songs, sample_rate=SR, by="mean")


@pytest.mark.parametrize(
    ("songs", "says"),
    [
        ([{"adio": "x"}], "no field 'adio'"),
        ([{"text": "x"}], "Song 1 has no audio"),
        ([tone(200)], "Song 1 is an array, and its sampling rate is not given"),
        ([(tone(200), SR), ("x", "y")], "Song 2 is a str"),
        ([(tone(200) * np.nan, SR)], "Song 1 holds samples that are no numbers"),
    ],
)
def test_mistakes(scorer, songs, says):
    with pytest.raises(UserError) as raised:
        scorer.score_batch(songs)
    assert says in raised.value.what


def test_on_error_is_one_of_two(scorer):
    with pytest.raises(UserError, match="on_error='ignore'"):
        scorer.score_batch([], on_error="ignore")


def test_nothing_is_left_behind(scorer, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    scorer.score(files / "200.wav")
    SongScorer(PathMeter()).score((tone(200), SR))
    assert not list(tmp_path.iterdir())
    assert scorer.score_batch([]) == []


def test_equal_songs_reach_a_model_that_takes_paths_as_equal_files():
    contents = []

    class Reader(PathMeter):
        def score_batch(self, inputs, batch_size, max_dur, **kwargs):
            contents.extend(Path(one.audio).read_bytes() for one in inputs)
            return super().score_batch(inputs, batch_size, max_dur)

    values = np.linspace(-1.5, 1.5, 200, dtype=np.float32).reshape(100, 2)
    SongScorer(Reader()).score_batch([(values, SR), (values, SR)])
    first, second = contents
    assert first == second
    assert b"PEAK" not in first  # libsndfile's chunk of that name holds the time of day
    samples, sr = soundfile.read(io.BytesIO(first), dtype="float32")
    assert sr == SR
    np.testing.assert_array_equal(samples, values)


def test_an_alignment_with_nothing_is_warned_of_once(files):
    scorer = SongScorer(SignalBaseline(), max_dur=0.8)
    scorer.score(files / "200.wav", text="slow")
    with pytest.warns(UserWarning, match="200.wav: alignment has nothing to compare with") as said:
        scorer.score(files / "200.wav")
        scorer.rank([files / "300.wav", files / "400.wav"])
    assert [Path(one.filename) for one in said] == [Path(__file__)]
