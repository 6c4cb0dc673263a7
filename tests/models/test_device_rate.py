"""Operations of an encoder, and the best rate of a device."""

import pytest
import torch
from random_towers import small_tower
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cmi_bench.models import device_rate
from cmi_bench.models.device_rate import best_rate, kept_best_rate, tower_operations

CPU = torch.device("cpu")


def test_operations_are_those_that_computing_does():
    tower, samples = small_tower(), 24_000
    mel = tower.muq.mel(torch.randn(1, samples))
    # The counter does not know the CPU's attention kernel.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.inference_mode():
        tower.encode_mel(mel)
    assert tower_operations(tower, samples) == counter.get_total_flops() > 0


def test_the_rate_of_this_machine_is_one_that_a_product_reaches(monkeypatch):
    monkeypatch.setattr(device_rate, "RATE_SECONDS", 0.0)
    monkeypatch.setattr(device_rate, "_convolution_rate", lambda dtype: 0.0)
    times = iter([0.0, 10.0, 10.0 + 2.0])  # until, start, end: one product in two seconds
    monkeypatch.setattr(device_rate.time, "perf_counter", lambda: next(times, 99.0))
    monkeypatch.setattr(device_rate, "RATE_SECONDS", 50.0)
    assert best_rate(CPU, "32") == pytest.approx(2 * 750 * 1024 * 4096 / 2.0 / 1e9)


def test_the_best_rate_of_all_runs_is_kept(tmp_path, monkeypatch):
    for now, expected in ((50.0, 50.0), (80.0, 80.0), (30.0, 80.0)):
        monkeypatch.setattr(device_rate, "best_rate", lambda device, precision, now=now: now)
        assert kept_best_rate(CPU, "32", tmp_path / "rates") == expected
    assert kept_best_rate(CPU, "bf16", tmp_path / "rates") == 30.0
    assert kept_best_rate(CPU, "32", None) == 30.0
    for file in (tmp_path / "rates").iterdir():
        file.write_text("{damaged")
    assert kept_best_rate(CPU, "32", tmp_path / "rates") == 30.0
