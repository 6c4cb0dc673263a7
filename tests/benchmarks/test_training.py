"""The workload that training is measured on, and that it can be trained on."""

import statistics
from pathlib import Path

import pytest

from benchmarks import training
from benchmarks.training import DIM, embeddings_of, make_workload, measure, precisions, write_embeddings
from cmi_bench.scoring.embedding_cache import EmbeddingCache


def test_lengths_are_like_those_of_the_data():
    workload = make_workload()
    clips = [workload.seconds[one.row.audio_a] for one in workload.examples if one.source == "cmi_pref"]
    assert (len(workload.examples), len(clips)) == (6647, 3527)
    assert statistics.median(clips) == 30
    assert 60 < statistics.mean(clips) < 69  # which is the mean of whole clips
    with_reference = [one.row.ref_audio is not None for one in workload.examples if one.source == "cmi_pref"]
    assert 0.45 < statistics.mean(with_reference) < 0.55


def test_what_is_written_is_what_training_reads(tmp_path):
    workload = make_workload(4, 2)
    written = write_embeddings(workload, EmbeddingCache(tmp_path))
    embeddings = embeddings_of(workload, EmbeddingCache(tmp_path), 0.0)
    assert written > embeddings.size(one.row for one in workload.examples) > 0
    for example in workload.examples:
        for clip, name in zip(embeddings.read(example.row), (example.row.audio_a, example.row.audio_b), strict=False):
            assert clip.windows[0].shape == (int(workload.seconds[name] * 25 / 4), DIM)
            assert clip.text.shape == (workload.tokens[example.row.prompt], DIM)


@pytest.mark.slow
def test_a_measurement_of_two_steps(tmp_path, monkeypatch):
    compose = training.compose_config
    monkeypatch.setattr(
        training, "compose_config", lambda overrides: compose(overrides=[*overrides, "train.batch_size=2"])
    )
    monkeypatch.setattr(training, "VALIDATED", 2)
    workload = make_workload(4, 4)
    write_embeddings(workload, EmbeddingCache(tmp_path / "cache"))
    (folder := tmp_path / "run").mkdir()
    speed = measure(workload, Path(tmp_path / "cache"), folder, device="cpu", precision="32", steps=2)
    assert len(speed.step_seconds) == 1
    assert 0 <= speed.waited_share < 1
    assert speed.stage_2(100) > 250 * speed.step
    assert "32" in precisions("cpu")
    assert precisions("cuda") == ["32", "bf16"]
