"""`profile=true`: a trace of a few batches of each stage."""

import gzip
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from scoring_run import score

from cmi_bench.data.rows import load_rows
from cmi_bench.models.base import AudioView, EmbeddingModel
from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.profiling import OPERATORS_FILE, RECORDED, TRACE_FILE, Profile
from cmi_bench.scoring.requests import clips_of
from cmi_bench.scoring.run_stats import RunStats


class Products(EmbeddingModel):
    """Embeds and scores with an operator each that nothing else uses."""

    sr = 8000
    identity = audio_identity = text_identity = "products"

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        raise AssertionError("an embedding model is scored from embeddings")

    def audio_view(self, max_dur, *, is_reference):
        return AudioView(f"first {max_dur:g} s", max_dur)

    def embed_audio(self, waveforms, max_dur, *, is_reference):
        with ThreadPoolExecutor(1) as other:  # as on a CPU, where several threads encode
            return list(other.map(lambda waveform: [torch.erf(waveform[:8, None])], waveforms))

    def embed_texts(self, texts):
        return [torch.zeros(1, 1) for _ in texts]

    def score_embedded(self, clips):
        return torch.stack([torch.sigmoid(clip.windows[0].sum()).expand(2) for clip in clips]).numpy()


def names_in(trace):
    with gzip.open(trace) as file:
        return Counter(event["name"] for event in json.load(file)["traceEvents"] if event["ph"] == "X")


@pytest.fixture
def traced(tiny, tmp_path):
    """Score the tiny benchmark, and return how often each name is in the trace."""
    clips = clips_of(load_rows(tiny / "all_test.jsonl").rows, tiny)

    def run(batch_size):
        profile, folder = Profile(), tmp_path / "run"
        limits = BatchLimits(batch_size, 1e9)
        score(clips, Products(), folder, cache=tmp_path / "cache", limits=limits, profile=profile)
        stats = RunStats()
        files = profile.write(tmp_path, stats)
        if not files:
            return profile, Counter()
        assert stats.seconds["profile"] > 0
        return profile, names_in(tmp_path / TRACE_FILE)

    return run


def test_a_few_batches_after_the_first_are_recorded(traced, tmp_path):
    profile, found = traced(batch_size=2)
    assert found["encode"] == 2 * RECORDED  # of audio and of texts
    assert found["head"] == RECORDED
    assert found["aten::erf"] == 2 * RECORDED
    assert found["decode"] == RECORDED
    assert found["write"] >= RECORDED
    tables = (tmp_path / OPERATORS_FILE).read_text()
    assert "aten::erf" in tables
    assert "aten::sigmoid" in tables
    said = profile.describe(tmp_path)
    assert str(tmp_path / TRACE_FILE) in said
    assert "encoding audio (2), encoding text (2), scoring (2)" in said


def test_a_single_batch_is_recorded(traced, tmp_path):
    profile, found = traced(batch_size=100)
    assert found["encode"] == 2
    assert found["decode"] == found["head"] == 1
    assert "encoding audio (1), encoding text (1), scoring (1)" in profile.describe(tmp_path)


def test_of_several_blocks_the_first_that_has_work_is_recorded(tiny, tmp_path):
    clips = clips_of(load_rows(tiny / "all_test.jsonl").rows, tiny)
    limits = {"limits": BatchLimits(100, 1e9), "cache": tmp_path / "cache"}
    score(clips[:4], Products(), tmp_path / "before", **limits)
    profile, another = Profile(), Products()
    another.identity = "another head, to which the embeddings of the first block are there"
    score(clips, another, tmp_path / "run", block=4, profile=profile, **limits)
    profile.write(tmp_path, RunStats())
    assert names_in(tmp_path / TRACE_FILE)["aten::erf"] == 4


def test_a_run_that_computes_nothing_says_that_there_is_no_trace(traced, tmp_path, caplog):
    traced(batch_size=100)
    (tmp_path / TRACE_FILE).unlink()
    profile, found = traced(batch_size=100)
    assert not found
    assert not (tmp_path / TRACE_FILE).exists()
    assert "there is no trace; resume=false cache=off computes all" in caplog.text
    assert not profile.describe(tmp_path)


def test_a_disk_that_is_full_costs_the_trace_and_not_the_run(traced, tmp_path, monkeypatch, caplog):
    profile, _ = traced(batch_size=100)
    (tmp_path / TRACE_FILE).unlink()
    monkeypatch.setattr(torch.profiler.profile, "export_chrome_trace", lambda self, path: None)  # as it does then
    assert profile.write(tmp_path, RunStats()) == []
    assert not (tmp_path / TRACE_FILE).exists()
    assert "The trace cannot be written, in" in caplog.text


def test_a_profile_that_is_off_leaves_all_as_it_is(tmp_path, caplog):
    profile, runner, stats = Profile(is_on=False), object(), RunStats()
    assert profile.runner(runner) is runner
    assert profile.write(tmp_path, stats) == []
    assert not profile.describe(tmp_path)
    assert (list(tmp_path.iterdir()), dict(stats.seconds), caplog.text) == ([], {}, "")
