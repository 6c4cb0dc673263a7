"""The rate at which a run encoded audio."""

import pytest
import torch

from cmi_bench.models.base import AudioView, EmbeddingModel
from cmi_bench.scoring import encoding_rate as subject
from cmi_bench.scoring.cached_model import CachedModel
from cmi_bench.scoring.embedding_cache import EmbeddingCache
from cmi_bench.scoring.embedding_items import AudioItem
from cmi_bench.scoring.encoding_rate import encoding_rate
from cmi_bench.scoring.model_call import ModelCall
from cmi_bench.scoring.run_stats import AUDIO, DEVICE, RunStats


class Counted(EmbeddingModel):
    sr = 100
    identity = audio_identity = text_identity = "counted"
    operations_per_second = 2e9

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        raise NotImplementedError

    def audio_view(self, max_dur, *, is_reference):
        return AudioView("all", None)

    def embed_audio(self, waveforms, max_dur, *, is_reference):
        return [[waveform[None]] for waveform in waveforms]

    def embed_texts(self, texts):
        raise NotImplementedError

    def score_embedded(self, clips):
        raise NotImplementedError


@pytest.fixture(autouse=True)
def best(monkeypatch):
    monkeypatch.setattr(subject, "kept_best_rate", lambda device, precision, folder: 40.0)


def rate(seconds, audio, *, model=None, processes=1):
    stats = RunStats(processes=processes)
    stats.seconds[DEVICE], stats.seconds[AUDIO] = seconds, audio
    return encoding_rate(stats, model or Counted(), device="cpu", precision="32").get("encoding")


def test_the_share_of_the_best_rate():
    expected = {"audio_seconds": 300.0, "device_seconds": 20.0, "gflops": 30.0, "best_gflops": 40.0}
    assert rate(20.0, 300.0) == expected | {"share_of_best": 0.75}
    assert rate(40.0, 600.0, processes=2)["share_of_best"] == 0.75  # of each device


def test_a_device_without_memory_left_costs_the_share_only(monkeypatch):
    def fail(*args):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 256.00 MiB.")

    monkeypatch.setattr(subject, "kept_best_rate", fail)
    assert rate(20.0, 300.0) == {"audio_seconds": 300.0, "device_seconds": 20.0, "gflops": 30.0}


def test_what_is_not_known_is_not_said():
    assert rate(5.0, 300.0) is None
    assert rate(15.0, 300.0, processes=2) is None
    unknown = Counted()
    unknown.operations_per_second = None
    assert rate(20.0, 300.0, model=unknown) == {"audio_seconds": 300.0, "device_seconds": 20.0}


def test_audio_is_timed_after_the_first_call(tmp_path):
    stats = RunStats()
    model = CachedModel(ModelCall(Counted(), 10.0), EmbeddingCache(tmp_path), stats)
    for number, samples in enumerate((500, 300, 200)):
        item = AudioItem(f"key{number}", tmp_path / "unread.wav", is_reference=False, seconds=1.0, chunks=1)
        model.embed_audio([item], {item.key: torch.zeros(samples)})
    model.finish()
    assert stats.seconds[AUDIO] == 5.0
    assert stats.seconds[DEVICE] > 0
    assert set(stats.over(1.0)["seconds"]) == {"wall", "write"}
