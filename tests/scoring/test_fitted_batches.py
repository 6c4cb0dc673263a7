"""Batches that shrink to what fits into memory, and a song that fails for another reason."""

import pytest

from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.fitted_batches import FittedBatches


class Device:
    """Holds so many seconds at once; one song breaks it whatever its length."""

    def __init__(self, seconds, broken=None):
        self.seconds, self.broken = seconds, broken
        self.tried, self.done, self.blamed = [], [], {}

    def work(self, part):
        self.tried.append(len(part))
        if sum(part) > self.seconds:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        if self.broken in part:
            raise ValueError("broken")
        self.done += part

    def blame(self, item, reason):
        self.blamed[item] = reason


def worked(fitted, device, *batches):
    for batch in batches:
        fitted.work(batch, device.work, blame=device.blame)


def test_what_did_not_fit_is_not_tried_again(caplog):
    device, fitted = Device(30), FittedBatches("model", float)
    worked(fitted, device, [10] * 8, [10] * 8)
    assert device.done == [10] * 16
    assert device.tried == [8, 4, 2, 2, 4, 2, 2] + [2] * 4
    assert fitted.limits == BatchLimits(2, 20.0)
    assert "8 together did not fit into memory; from now on at most 4." in caplog.text


def test_short_songs_are_bounded_by_their_number_and_long_ones_by_their_seconds():
    device, fitted = Device(1000), FittedBatches("model", float, limits=BatchLimits(3, 20.0))
    worked(fitted, device, [1] * 7, [15, 15, 4, 30])
    assert device.tried == [3, 3, 1, 1, 2, 1]
    assert device.done == [1] * 7 + [15, 15, 4, 30]


def test_another_failure_costs_nobody_else_their_place():
    device, fitted = Device(1000, broken=7), FittedBatches("model", float)
    worked(fitted, device, [1, 2, 7, 3])
    assert sorted(device.done) == [1, 2, 3]
    assert device.blamed == {7: "ValueError: broken"}
    assert fitted.times_out_of_memory == 0


@pytest.mark.parametrize("batch", [[50], [50, 1]])
def test_a_song_that_never_fits_fails_alone(batch):
    device, fitted = Device(30), FittedBatches("model", float)
    worked(fitted, device, batch)
    assert set(device.blamed) == {50}
    assert device.done == batch[1:]
