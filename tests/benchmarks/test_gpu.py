"""The benchmark of GPUs on the CPU and a narrow network: everything of it but the figures."""

import sys

import pytest
import torch
from command_line import configured

from benchmarks import gpu, workload
from benchmarks.workload import write_checkpoints
from cmi_bench.models.registry import configured_model
from cmi_bench.utils.console import plain_text

CPU = torch.device("cpu")


@pytest.fixture
def checkpoint(narrow, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "KINDS", (("32", False, "on"), ("tf32", False, "on"), ("bf16", False, "off")))
    monkeypatch.setattr(gpu, "CHUNK", 24_000)
    return write_checkpoints(tmp_path / "checkpoints", 1)[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="speaks of a machine without a GPU")
def test_without_a_gpu_it_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit, match=r"needs a CUDA GPU with 16 GB.*Nothing was measured"):
        gpu.main()


@pytest.mark.slow
def test_towers_scores_and_memory(checkpoint):
    speeds = list(gpu.measure_tower(checkpoint, CPU, (1, 2), 1_000_000, {"32": 1.0, "bf16": 2.0}))
    assert all(one.share == one.tflops / {"32": 1.0, "bf16": 2.0}[one.precision] for one in speeds)
    assert [(one.precision, one.kernels, one.batch) for one in speeds] == [
        ("32", "on", 1), ("32", "on", 2), ("bf16", "off", 1), ("bf16", "off", 2),
    ]  # fmt: skip
    assert all(one.clips_per_second == one.batch / one.seconds > 0 for one in speeds)
    found = gpu.score_differences(checkpoint, CPU, seconds=0.5)
    assert found["32"] == 0
    assert 0 < found["bf16, kernels=off"] < 1


def test_what_does_not_fit_is_no_failure(checkpoint, monkeypatch):
    def out_of_memory(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(gpu.Stopwatch, "median", out_of_memory)
    speeds = list(gpu.measure_tower(checkpoint, CPU, (1, 2), 1, {"32": 1.0, "bf16": 1.0}))
    assert [(one.precision, one.batch) for one in speeds] == [("32", 1), ("bf16", 1)]
    assert "does not fit" in plain_text(gpu._tower_table(speeds, {"32": 1.0}))


def test_a_whole_run_says_how_long_the_tower_was_idle(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "RECORDINGS", 3)
    monkeypatch.setattr(workload, "SECONDS", 0.5)
    rows = gpu.write_clips(tmp_path / "data", 4)
    assert len({(rows.parent / f"clip{number}.mp3").read_bytes() for number in range(4)}) == 4
    config = configured(*gpu.run_words(checkpoint, rows, tmp_path, "cpu"))
    model = configured_model(config, "cpu")
    for samples in (24_000, 12_000):
        model.encode_audio([torch.randn(samples)])
    facts = model.facts
    assert facts["batches"] == 2
    assert 0 < facts["busy_seconds"] <= facts["span_seconds"]
    table = plain_text(gpu.run_table({"32": {"model": facts, "seconds": {"wait": 1.0, "wall": 9.0}}}, 4))
    assert f"{1 - facts['busy_seconds'] / facts['span_seconds']:.1%}" in table
