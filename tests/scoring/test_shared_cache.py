"""Two that fill one cache at once share the work."""

import contextlib
import threading

import numpy as np
import pytest
import soundfile
import torch

from cmi_bench.models.base import AudioView
from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.embedding_cache import AudioItem, CachedModel, EmbeddingCache, TextItem, claim_start, spread
from cmi_bench.scoring.local import LocalRunner
from cmi_bench.scoring.stages import EmbedAudioStage, EmbedTextStage
from cmi_bench.scoring.store import MemoryScoreWriter, RunStats

SR = 8000


class Encoder:
    """Embeds as it is told when; writes down how much."""

    sr = SR
    class_name = "Encoder"
    audio_identity = text_identity = "encoder"

    def __init__(self, before=lambda: None):
        self.before = before
        self.embedded = 0

    def audio_view(self, max_dur, *, is_reference):
        return AudioView("all", None)

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
    return EmbedAudioStage(items, CachedModel(model, 1.0, cache, stats), stats, start=start)


def run(made):
    LocalRunner(BatchLimits(1, 100), workers=0, show_progress=False).run(made, MemoryScoreWriter())


def test_places_are_spread_and_free_again(tmp_path):
    with claim_start(tmp_path) as first:
        with claim_start(tmp_path) as second, claim_start(tmp_path) as third:
            assert [first, second, third] == [0.0, 0.5, 0.25]
        with claim_start(tmp_path) as again:
            assert again == 0.5
    assert len({spread(number) for number in range(64)}) == 64


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

    assert not made.work(loaded).failures
    assert encoder.embedded == 1
    assert made.model.cache.get(items[0].key)[0].tolist() == [0.0]
    assert not made.load(items[:2]).waveforms


def test_texts_too(tmp_path):
    encoder, cache = Encoder(), EmbeddingCache(tmp_path / "cache")
    texts = [TextItem("aa", "one"), TextItem("bb", "two")]
    made = EmbedTextStage(texts, CachedModel(encoder, 1.0, cache, RunStats()), RunStats())
    assert made.pending() == texts
    cache.put("aa", [torch.zeros(1)])
    made.work(texts)

    assert encoder.embedded == 1
