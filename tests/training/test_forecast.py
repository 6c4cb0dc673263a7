"""What is said of size and time: known speeds and sizes give known answers."""

import logging
from pathlib import Path

import pytest
import torch

from cmi_bench.scoring.embedding_cache import EmbeddingCache
from cmi_bench.scoring.embedding_items import AudioItem
from cmi_bench.training import forecast
from cmi_bench.training.forecast import Forecast

ITEMS = [AudioItem(f"{number:064}", Path(f"{number}.wav"), 60.0, 1, is_reference=False) for number in range(10)]
SHORT = [AudioItem(f"{number:064}", Path(f"{number}.wav"), 6.0, 1, is_reference=False) for number in range(10, 20)]


@pytest.fixture
def forecast_of(tmp_path, monkeypatch, caplog):
    """Return what is said of items, after batches of two that took so many seconds; entries are of 1,000 bytes."""
    caplog.set_level(logging.INFO)
    clock = [0.0]
    monkeypatch.setattr(forecast.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(forecast.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 5_000_000})())
    cache = EmbeddingCache(tmp_path)

    def say(items, seconds, *, rows, processes=1, max_gb=1.0):
        made = Forecast(items, cache, processes=processes, max_gb=max_gb)
        for number, took in enumerate(seconds):
            clock[0] += took
            batch = items[2 * number : 2 * number + 2]
            for item in batch:
                cache.put(item.key, [torch.zeros(rows, 2)])
            made.note(batch, 2000)
        return [record.message for record in caplog.records]

    return say


def test_the_first_batch_says_nothing_of_the_speed(forecast_of):
    (said,) = forecast_of(ITEMS, [9.0, 12.0], rows=5)
    # 120 s of audio in 12 s, and 360 s to come.
    assert said.startswith("All audio that is to be encoded takes about 10.0 kB (")
    assert said.endswith("has 5.0 MB free); about 36 s are left.")


def test_a_first_batch_that_takes_long_is_the_speed(forecast_of):
    (said,) = forecast_of(ITEMS, [24.0], rows=5)
    assert said.endswith("about 2 min are left.")  # 120 s of audio in 24 s, and 480 s to come


def test_processes_share_the_work(forecast_of):
    (said,) = forecast_of(ITEMS, [9.0, 12.0], rows=5, processes=2)
    assert said.endswith("about 6 s are left.")


def test_frames_grow_with_the_audio_and_vectors_do_not(forecast_of, caplog):
    (said,) = forecast_of(ITEMS + SHORT, [9.0, 12.0], rows=5)
    assert "takes about 11.0 kB" in said
    caplog.clear()
    (said,) = forecast_of(ITEMS + SHORT, [9.0, 12.0], rows=1)
    assert "takes about 20.0 kB" in said


def test_what_is_over_soon_needs_no_forecast(forecast_of):
    assert forecast_of(ITEMS, [1.0, 1.0, 1.0], rows=5) == []
    assert forecast_of(ITEMS[:2], [60.0], rows=5) == []


def test_too_little_room_is_told_after_the_first_batch(forecast_of, caplog):
    assert forecast_of(ITEMS, [0.1], rows=5, max_gb=5e-6) != []
    assert "cache.max_gb=5e-06: the next run that scores would remove what was not used for longest" in caplog.text
