"""Which clips meet in a batch when embeddings are scored."""

from pathlib import Path

import pytest

from cmi_bench.data.audio_info import FileFacts
from cmi_bench.models.base import AudioView
from cmi_bench.scoring.batching import BatchLimits, plan_batches
from cmi_bench.scoring.embedding_cache import CachedModel, EmbeddingCache
from cmi_bench.scoring.requests import Request
from cmi_bench.scoring.stages import HeadStage
from cmi_bench.scoring.store import RunStats
from cmi_bench.types import Clip


class Model:
    sr = 8000
    class_name = "Model"
    identity = audio_identity = text_identity = "model"

    def audio_view(self, max_dur, *, is_reference):
        return AudioView("all", max_dur)


def request(name, seconds, prompt, reference=None):
    clip = Clip(f"{name}:a", Path(name), prompt, "la", Path(reference) if reference else None)
    length = seconds + 5.0 * (reference is not None)
    return Request(name, clip, FileFacts(name, seconds), FileFacts(reference, 5.0) if reference else None, length)


@pytest.fixture
def plan(tmp_path):
    def make(requests, items):
        cached = CachedModel(Model(), 120.0, EmbeddingCache(tmp_path), RunStats())
        stage = HeadStage(requests, cached, RunStats(), failed=dict)
        batches = plan_batches(stage.pending(), BatchLimits(items, 1e9), length=stage.length)
        return [{item.key for item in batch} for batch in batches]

    return make


def test_the_clips_of_a_prompt_meet_whatever_their_lengths(plan):
    requests = [
        request("1a", 100.0, "slow"), request("2a", 90.0, "fast"), request("3a", 80.0, "loud"),
        request("1b", 10.0, "slow"), request("2b", 20.0, "fast"), request("3b", 30.0, "loud"),
    ]  # fmt: skip
    assert plan(requests, 2) == [{"1a", "1b"}, {"2a", "2b"}, {"3a", "3b"}]


def test_prompts_of_one_length_do_not_mix(plan):
    requests = [request(f"{row}{side}", 30.0, f"prompt {row}") for side in "ab" for row in range(4)]
    assert plan(requests, 2) == [{f"{row}a", f"{row}b"} for row in range(4)]


def test_another_reference_is_another_prompt(plan):
    requests = [
        request("1a", 30.0, "slow", "x"), request("2a", 30.0, "slow", "y"), request("3a", 30.0, "slow"),
        request("1b", 30.0, "slow", "x"), request("2b", 30.0, "slow", "y"), request("3b", 30.0, "slow"),
    ]  # fmt: skip
    assert plan(requests, 2) == [{"1a", "1b"}, {"2a", "2b"}, {"3a", "3b"}]


def test_a_prompt_of_many_clips_takes_several_batches(plan):
    assert plan([request(str(number), 10.0, "") for number in range(5)], 2) == [{"0", "1"}, {"2", "3"}, {"4"}]
