"""Stages: which clips meet in a batch, what is passed over, and what is written when."""

import contextlib
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from cmi_bench.data.audio_info import FileFacts
from cmi_bench.errors import RunError
from cmi_bench.models.base import AudioView, BenchmarkModelABC, EmbeddingModel, SomeFailedError
from cmi_bench.scoring.batching import BatchLimits, plan_batches
from cmi_bench.scoring.cached_model import CachedModel
from cmi_bench.scoring.embedding_cache import EmbeddingCache
from cmi_bench.scoring.embedding_items import AudioItem, TextItem
from cmi_bench.scoring.local import LocalRunner
from cmi_bench.scoring.model_call import ModelCall
from cmi_bench.scoring.requests import Request
from cmi_bench.scoring.run_stats import RunStats
from cmi_bench.scoring.stages import EmbedAudioStage, EmbedTextStage, HeadStage, WholeStage
from cmi_bench.scoring.store import MemoryScoreWriter
from cmi_bench.types import Clip, Score


class Embeds(EmbeddingModel):
    """What is not asked for here."""

    sr = 8000
    identity = audio_identity = text_identity = "model"

    def audio_view(self, max_dur, *, is_reference):
        return AudioView("all", None)

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        raise AssertionError

    def score_embedded(self, clips):
        raise AssertionError

    def embed_audio(self, waveforms, max_dur, *, is_reference):
        raise AssertionError

    def embed_texts(self, texts):
        raise AssertionError


def request(name, seconds, prompt, reference=None):
    clip = Clip(f"{name}:a", Path(name), prompt, "la", Path(reference) if reference else None)
    length = seconds + 5.0 * (reference is not None)
    return Request(name, clip, FileFacts(name, seconds), FileFacts(reference, 5.0) if reference else None, length)


@pytest.fixture
def plan(tmp_path):
    def make(requests, items):
        cached = CachedModel(ModelCall(Embeds(), 120.0), EmbeddingCache(tmp_path), RunStats())
        inputs = [cached.addresses.inputs_of(one) for one in requests]
        stage = HeadStage(inputs, cached, RunStats(), failed=dict)
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


SR = 8000


class Encoder(Embeds):
    """Embeds as it is told when; writes down how much."""

    def __init__(self, before=lambda: None):
        self.before = before
        self.embedded = 0

    def embed_audio(self, waveforms, max_dur, *, is_reference):
        self.before()
        self.embedded += len(waveforms)
        return [[waveform[:4, None]] for waveform in waveforms]

    def embed_texts(self, texts):
        self.before()
        self.embedded += len(texts)
        return [torch.ones(2, len(text)) for text in texts]


@pytest.fixture
def items(tmp_path):
    found = []
    for number in range(16):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.full(SR // 10 + number, 0.5), SR)
        found.append(AudioItem(f"{number:02}", path, 0.1, 1, is_reference=False))
    return found


def stage(items, model, tmp_path, start=0.0):
    cache = EmbeddingCache(tmp_path / "cache")
    stats = RunStats()
    return EmbedAudioStage(items, CachedModel(ModelCall(model, 1.0), cache, stats), stats, start=start)


def run(made):
    LocalRunner(BatchLimits(1, 100), workers=0, show_progress=False).run(made, MemoryScoreWriter())


class Small(Encoder):
    """Has memory for so many clips at once."""

    def __init__(self, clips):
        super().__init__()
        self.clips, self.tried = clips, []

    def embed_audio(self, waveforms, max_dur, *, is_reference):
        self.tried.append(len(waveforms))
        if len(waveforms) > self.clips:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return super().embed_audio(waveforms, max_dur, is_reference=is_reference)


def test_what_does_not_fit_into_memory_is_not_tried_again(items, tmp_path):
    """Of models that see to nothing themselves."""
    model = Small(2)
    LocalRunner(BatchLimits(8, 100), workers=0, show_progress=False).run(
        stage(items, model, tmp_path), MemoryScoreWriter()
    )
    assert model.tried == [8, 4, 2, 2, 4, 2, 2, *[2] * 4]
    assert model.embedded == 16


class Broken(Encoder):
    def embed_audio(self, waveforms, max_dur, *, is_reference):
        self.embedded += len(waveforms)
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ...")


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_gpu_that_computes_nothing_more_ends_the_run(items, tmp_path, monkeypatch, is_lost):
    """No clip is to blame for that; an error after which it goes on is the failure of those that have it."""
    model, writer = Broken(), MemoryScoreWriter()
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)

    def answer(device):
        assert device == 1  # of the other one no memory is in use, and none is to be taken
        if is_lost:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    for name, fake in (
        *(("is_initialized", lambda: True), ("device_count", lambda: 2), ("synchronize", answer)),
        ("memory_reserved", lambda device: device),
    ):
        monkeypatch.setattr(torch.cuda, name, fake)
    runner = LocalRunner(BatchLimits(2, 100), workers=0, show_progress=False)
    if is_lost:
        with pytest.raises(RunError, match="computes nothing more") as caught:
            runner.run(stage(items, model, tmp_path), writer)
        assert caught.value.what.endswith("CUDA error: an illegal memory access was encountered")
        assert (model.embedded, writer.scores) == (2, {})
    else:
        runner.run(stage(items, model, tmp_path), writer)
        assert len(writer.scores) == len(items)


def test_what_another_one_encoded_meanwhile_is_passed_over(items, tmp_path):
    """The two take turns, clip by clip: between them each clip is encoded once, but for one that both are at."""
    turns = threading.Barrier(2, timeout=1)

    def take_turns():
        with contextlib.suppress(threading.BrokenBarrierError):  # the other one is done
            turns.wait()

    encoders = [Encoder(before=take_turns) for _ in range(2)]
    stages = [stage(items, encoder, tmp_path, start) for encoder, start in zip(encoders, (0.0, 0.5), strict=True)]
    threads = [threading.Thread(target=run, args=(made,)) for made in stages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert all(encoder.embedded in (8, 9) for encoder in encoders)
    assert all(item.key in stages[0].model.cache for item in items)
    assert [made.stats.counts["chunks_encoded"] for made in stages] == [encoder.embedded for encoder in encoders]


def test_what_appears_between_loading_and_encoding_is_not_encoded_again(items, tmp_path):
    encoder = Encoder()
    made = stage(items, encoder, tmp_path)
    loaded = made.load(items[:2])
    made.model.cache.put(items[0].key, [torch.zeros(1)])

    writer = MemoryScoreWriter()
    made.work(loaded, writer)
    assert not writer.scores
    assert encoder.embedded == 1
    assert made.model.cache.get(items[0].key)[0].tolist() == [0.0]
    assert not made.load(items[:2]).items


def test_texts_too(tmp_path):
    encoder, cache = Encoder(), EmbeddingCache(tmp_path / "cache")
    texts = [TextItem("aa", "one"), TextItem("bb", "two")]
    made = EmbedTextStage(texts, CachedModel(ModelCall(encoder, 1.0), cache, RunStats()), RunStats())
    assert made.pending() == texts
    cache.put("aa", [torch.zeros(1)])
    made.work(made.load(texts), MemoryScoreWriter())

    assert encoder.embedded == 1


class Fragile(BenchmarkModelABC):
    """Takes two clips at a time, and stops the whole run on a clip called "end"; says of "odd" that it failed."""

    sr = 8000

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        names = [Path(one.audio).name for one in inputs]
        if len(inputs) > 2:
            raise MemoryError("out of memory")
        if "end" in names:
            raise KeyboardInterrupt
        scores = np.ones((len(inputs), 2))
        if "odd" in names:
            raise SomeFailedError(scores, {names.index("odd"): "no answer"})
        return scores


def whole_stage(names):
    requests = [request(name, 1.0, "") for name in names]
    stage = WholeStage(requests, ModelCall(Fragile(), 1.0), RunStats())
    return stage, stage.load(requests)


def test_each_part_of_a_bisected_batch_is_written_when_it_is_done():
    made, loaded = whole_stage(["1", "2", "odd", "4", "5", "6", "end", "8"])
    writer = MemoryScoreWriter()
    with pytest.raises(KeyboardInterrupt):
        made.work(loaded, writer)
    assert list(writer.scores) == ["1", "2", "odd", "4", "5", "6"]
    assert {key for key, score in writer.scores.items() if score == Score(1.0, 1.0)} == {"1", "2", "4", "5", "6"}
    assert writer.scores["odd"].error == "no answer"
