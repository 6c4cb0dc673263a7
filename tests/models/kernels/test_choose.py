"""The fastest way is found, kept, and clear of noise."""

import time

import pytest
import torch

from cmi_bench.models.kernels import linear


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    monkeypatch.setattr(linear, "_chosen", {})


def busy(seconds, name):
    def way(x):
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
        return name

    return lambda: way


def example():
    return torch.zeros(1)


@pytest.mark.parametrize(
    ("plain", "other", "chosen"), [(0.02, 0.005, "other"), (0.005, 0.02, "plain"), (0.02, 0.0195, "plain")]
)
def test_the_clearly_faster_one(plain, other, chosen):
    way = linear.fastest("sum", {"plain": busy(plain, "plain"), "other": busy(other, "other")}, example)
    assert way(example()) == chosen
    assert linear.choices() == {"sum": chosen}


def test_measured_once():
    linear.fastest("sum", {"plain": busy(0.01, "plain"), "other": busy(0.001, "other")}, example)
    way = linear.fastest("sum", {"plain": busy(0.001, "plain"), "other": busy(0.01, "other")}, pytest.fail)
    assert way(example()) == "other"


def test_nothing_to_measure():
    way = linear.fastest("sum", {"plain": busy(0.0, "plain")}, pytest.fail)
    assert way(example()) == "plain"
