"""Clips are cut into chunks of 30 s, or into windows of the caller's length."""

import pytest
import torch

from cmi_bench.models.cmi_rm.windows import windows_of

SR = 2000
"""Hz: a low rate keeps the numbers readable; 1 s is 2,000 samples, above the shortest chunk of 1,025."""


def lengths(seconds, max_dur, **options):
    clip = torch.arange(round(seconds * SR))
    windows = windows_of(clip, SR, max_dur, **options)
    return [[len(chunk) / SR for chunk in window] for window in windows]


@pytest.mark.parametrize(
    ("seconds", "max_dur", "chunks"),
    [
        (10, 120, [10]),
        (30, 120, [30]),
        (75, 120, [30, 30, 15]),
        (75, 40, [30, 10]),
        (30.5, 120, [30]),  # 0.5 s = 1,000 samples
        (30.6, 120, [30, 0.6]),
    ],
)
def test_final(seconds, max_dur, chunks):
    assert lengths(seconds, max_dur, mode="final", dur_step=None) == [chunks]


@pytest.mark.parametrize(
    ("seconds", "max_dur", "dur_step", "windows"),
    [
        (75, 120, None, [75]),
        (75, 40, None, [40]),
        (75, 120, 5, [75]),
        (6, 2, 2, [2, 2, 2]),
        (6.5, 2, 1, [2, 2, 2, 2, 2, 1.5]),
        (6.5, 2, 2, [2, 2, 2]),  # the last would be 0.5 s
        (7, 2, 4, [2, 2]),
        (10, 2, 9, [2, 1]),
        (10, 2, 20, [2]),
        (0.8, 2, 1, [0.8]),  # a first window may be short
    ],
)
def test_standard(seconds, max_dur, dur_step, windows):
    found = lengths(seconds, max_dur, mode="standard", dur_step=dur_step)
    assert found == [[window] for window in windows]


def test_windows_start_at_the_steps():
    windows = windows_of(torch.arange(5 * SR), SR, 2.0, mode="standard", dur_step=1.5)
    assert [int(chunk[0]) for (chunk,) in windows] == [0, 3000, 6000]


@pytest.mark.parametrize("mode", ["final", "standard"])
def test_too_short_to_be_heard(mode):
    assert lengths(0.5, 120, mode=mode, dur_step=None) == []
    assert lengths(10, 0.5, mode=mode, dur_step=None) == []
    assert lengths(0, 120, mode=mode, dur_step=None) == []
