"""The backbone without weights: windows, references, texts, and that it judges nothing."""

import numpy as np
import pytest
import torch

from cmi_bench.models.audio_statistics.model import DIM, AudioStatistics
from cmi_bench.models.base import BenchmarkBatchInput, EmbeddedInput

MODEL = AudioStatistics()
SR = MODEL.sr


def noise(seconds, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(-0.5, 0.5, int(seconds * SR)).astype(np.float32))


def embed(waveform, max_dur=30.0, *, is_reference=False):
    return MODEL.embed_audio([waveform], max_dur, is_reference=is_reference)[0]


@pytest.mark.parametrize(("seconds", "windows"), [(0.1, 1), (4, 1), (7, 1), (8, 2), (16, 3)])
def test_a_clip_is_cut_into_equal_windows_of_about_five_seconds(seconds, windows):
    assert [tuple(one.shape) for one in embed(noise(seconds))] == [(1, DIM)] * windows


def test_a_window_is_described_as_a_clip_of_its_own_is():
    whole = noise(10)
    first, second = embed(whole)
    assert first.equal(embed(whole[: 5 * SR])[0])
    assert second.equal(embed(whole[5 * SR :])[0])


def test_a_reference_is_one_embedding_of_all_its_windows():
    whole = noise(10)
    assert embed(whole, is_reference=True)[0].equal(torch.cat(embed(whole)))


def test_nothing_after_max_dur_is_used():
    whole = noise(6)
    assert embed(whole, 2.0)[0].equal(embed(whole[: 2 * SR])[0])


def test_views_of_clips_and_references_differ():
    assert MODEL.audio_view(30, is_reference=True).name != MODEL.audio_view(30, is_reference=False).name
    assert MODEL.audio_view(30, is_reference=False).seconds == 30


def test_texts_have_one_token_and_empty_ones_none():
    found = MODEL.embed_texts(["slow piano", " "])
    assert [len(one) for one in found] == [1, 0]
    assert found[0].shape[1] == found[1].shape[1]
    assert MODEL.embed_texts([]) == []


def test_texts_and_clips_are_vectors_of_one_space():
    assert MODEL.is_common_space
    assert MODEL.embed_texts(["slow piano"])[0].shape == embed(noise(1))[0].shape == (1, DIM)


def test_it_judges_nothing():
    clip = EmbeddedInput(embed(noise(1)), torch.zeros(0, 1), torch.zeros(0, 1), None)
    for scores in (MODEL.score_embedded([clip]), MODEL.score_batch([BenchmarkBatchInput(noise(1), "piano")], 1, 30.0)):
        assert scores.shape == (1, 2)
        assert np.isnan(scores).all()
