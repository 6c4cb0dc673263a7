"""The engine of one process: remote audio as local, failures in the words of the request, each file read once."""

from dataclasses import replace

import fsspec
import pytest
from own_tables import write_song, write_table

from cmi_bench.catalogue import local
from cmi_bench.catalogue.local import LocalEngine
from cmi_bench.catalogue.parts import plan_parts
from cmi_bench.catalogue.requests import open_requests
from cmi_bench.hydra_compose import compose_config
from cmi_bench.models.adapter import adapt


class Loudness:
    """The mean power of a clip and of its reference."""

    sr = 8000
    audio_input = "waveform"
    identity = "loudness-1"

    def __init__(self):
        self.heard = []

    def score_batch(self, inputs, batch_size, max_dur):
        self.heard += [one.clip_id for one in inputs]
        return [[self.power(one.ref_audio), self.power(one.audio)] for one in inputs]

    def power(self, audio):
        return float("nan") if audio is None else float(audio.square().mean())


@pytest.fixture(scope="module")
def config():
    return compose_config("constant", values={"on_error": "record", "workers": 1, "batch_size": 2})


@pytest.fixture
def songs(tmp_path):
    """A table of songs, some of them broken."""
    for number in range(5):
        write_song(tmp_path / f"{number}.wav", hertz=100.0 * (number + 1), noise=0.1 * number)
    (tmp_path / "bad.mp3").write_bytes(b"no audio")
    names = ["0.wav", "1.wav", "0.wav", "gone.wav", "2.wav", "bad.mp3", None, "3.wav", "4.wav", "1.wav"]
    rows = [{"audio": name, "ref_audio": "0.wav" if place < 9 else "gone.wav"} for place, name in enumerate(names)]
    return write_table(tmp_path / "r.jsonl", rows)


def answers(config, table, tmp_path, monkeypatch, **given):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    engine = LocalEngine(replace(config, cache=replace(config.cache, dir=str(tmp_path / "cache"))), "cpu", **given)
    engine.model = adapt(Loudness())
    found = [one for _, part in engine.score(plan_parts(open_requests(table), size=6)) for one in part]
    assert [path for path in tmp_path.glob("cmi-bench-*/**/*") if path.is_file()] == []
    return found, engine.model


ERRORS = {
    3: "Cannot read gone.wav: No such file or directory",
    5: "Cannot decode bad.mp3",
    6: "The request names no audio.",
    9: "Cannot read gone.wav: No such file or directory",
}


def test_failures_are_told_in_the_words_of_the_request(config, songs, tmp_path, monkeypatch):
    found, _ = answers(config, songs, tmp_path, monkeypatch)
    for place, answer in enumerate(found):
        assert answer.score.error.startswith(ERRORS.get(place, "")), place
        assert bool(answer.score.error) == (place in ERRORS)
        assert str(tmp_path) not in answer.score.error
        assert (answer.audio_sha256 is None) == (place in (3, 6))
    assert found[2].score == found[0].score


def test_remote_audio_is_scored_as_local_audio_is(config, songs, tmp_path, monkeypatch):
    wanted, _ = answers(config, songs, tmp_path, monkeypatch)
    address = f"memory://{tmp_path.name}"
    memory = fsspec.filesystem("memory")
    for path in tmp_path.glob("*.*"):
        memory.pipe(f"{address}/{path.name}", path.read_bytes())
    monkeypatch.setattr(local, "REMOTE_SONGS", 4)
    fetched, get_file = [], type(memory).get_file

    def fetch(filesystem, remote, path, **given):
        fetched.append(remote)
        get_file(filesystem, remote, path, **given)

    monkeypatch.setattr(type(memory), "get_file", fetch)
    (tmp_path / "other").mkdir()
    found, _ = answers(config, f"{address}/r.jsonl", tmp_path / "other", monkeypatch)
    assert [one.score for one in found if not one.score.error] == [one.score for one in wanted if not one.score.error]
    assert [one.audio_sha256 for one in found] == [one.audio_sha256 for one in wanted]
    assert [bool(one.score.error) for one in found] == [bool(one.score.error) for one in wanted]
    assert found[3].score.error.startswith(f"Cannot read {address}/gone.wav")
    assert found[5].score.error.startswith("Cannot decode bad.mp3")
    # Each block of a part has its audio once: the parts are 0-5 and 6-9, the blocks 0-3, 4-5 and 6-9.
    names = ["0", "1", "gone", "2", "bad", "0", "3", "4", "1", "0", "gone"]
    assert sorted(name.rpartition("/")[2].partition(".")[0] for name in fetched) == sorted(names)


def test_what_was_scored_before_is_not_scored_again(config, songs, tmp_path, monkeypatch):
    first, model = answers(config, songs, tmp_path, monkeypatch)
    assert len(model.implementation.heard) == 5
    again, model = answers(config, songs, tmp_path, monkeypatch)
    assert again == first
    assert model.implementation.heard == []


def test_each_file_is_read_once(config, songs, tmp_path, monkeypatch):
    read = []
    real = local.read_facts
    monkeypatch.setattr(local, "read_facts", lambda path: read.append(path.name) or real(path))
    answers(config, songs, tmp_path, monkeypatch)
    assert sorted(name for name in read if name != "gone.wav") == [
        "0.wav",
        "1.wav",
        "2.wav",
        "3.wav",
        "4.wav",
        "bad.mp3",
    ]


def test_it_tells_how_far_it_is(config, songs, tmp_path, monkeypatch):
    told = []
    answers(config, songs, tmp_path, monkeypatch, heard=told.append)
    assert told[-1] <= 4
    assert max(told) <= 6
    assert len(told) >= 3
