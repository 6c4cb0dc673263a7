"""A reward inside of a training loop: the scores of the same songs, and a caller who is left as he was."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import FrameEncoder
from tiny_clap import save_small_clap
from torch import nn

from cmi_bench import Song, SongScorer, TensorReward, UserError
from cmi_bench.models.clap import Clap
from cmi_bench.models.cmi_rm import CmiRM
from cmi_bench.models.muq_mulan import MuQMuLan
from cmi_bench.models.signal.model import SignalBaseline

BUNDLE = Path(__file__).parents[1] / "data" / "parity" / "cmi_rm"
SR = 44100
PROMPTS = ["slow piano", "deep house", "slow piano"]
LYRICS = ["la la", "", "la la"]


def songs(seconds=0.25, channels=2):
    """Songs [3, channels, samples] that differ."""
    time = torch.arange(int(SR * seconds)) / SR
    notes = [torch.sin(2 * torch.pi * hertz * time) * torch.exp(-time * hertz / 300) for hertz in (220, 330, 700)]
    noise = 0.05 * torch.randn(3, channels, len(time), generator=torch.Generator().manual_seed(1))
    return 0.4 * torch.stack(notes)[:, None] + noise


@pytest.fixture(scope="module")
def scorer():
    return SongScorer(CmiRM(str(BUNDLE / "sa_mean")), max_dur=0.2)


@pytest.fixture
def cheap():
    """A scorer whose scores depend on the first samples, and cost nothing."""
    return SongScorer(FrameEncoder())


@pytest.mark.parametrize(
    "kind", ["cmi_rm", "signal", *(pytest.param(one, marks=pytest.mark.slow) for one in ("clap", "muq_mulan"))]
)
def test_rewards_are_the_scores_of_the_same_songs(kind, scorer, tmp_path):
    if kind != "cmi_rm":
        build = {
            "clap": lambda: Clap(str(save_small_clap(tmp_path)), reference="mean"),
            "muq_mulan": lambda: MuQMuLan(str(BUNDLE / "muq-mulan")),
            "signal": SignalBaseline,
        }[kind]
        scorer = SongScorer(build(), max_dur=0.2)
    batch, references = songs(), [None, songs(0.2, 1)[0], None]
    by = "alignment" if kind in ("clap", "muq_mulan") else "mean"
    reward = TensorReward(scorer, sample_rate=SR, by=by, weight=0.3)
    rewards, details = reward(batch, PROMPTS, lyrics=LYRICS, ref_audio=references)
    expected = [
        scorer.score(song, text=text, lyrics=lyrics, ref_audio=reference, sample_rate=SR)
        for song, text, lyrics, reference in zip(batch, PROMPTS, LYRICS, references, strict=True)
    ]
    found = torch.stack([details["alignment"], details["musicality"]], dim=1)
    assert torch.allclose(found, torch.tensor([one.columns for one in expected]), atol=1e-4, equal_nan=True)
    wanted = torch.tensor([reward.criterion.value(one) for one in expected])
    assert rewards.dtype == torch.float32
    assert torch.allclose(rewards, wanted, atol=1e-4)
    assert len(set(rewards.tolist())) == 3


def test_forms_of_a_batch(cheap):
    reward = TensorReward(cheap, sample_rate=SR)
    batch = songs(channels=1)
    expected = reward(batch, PROMPTS).rewards
    padded = torch.cat([batch[:, 0], torch.ones(3, 5000)], dim=1)
    for form, more in (
        (batch[:, 0], {}),
        (list(batch), {}),
        (batch.double().requires_grad_(), {}),
        (batch.repeat(1, 2, 1), {}),
        (padded, {"lengths": torch.tensor([batch.shape[-1]] * 3)}),
    ):
        found = reward(form, PROMPTS, **more).rewards
        assert not found.requires_grad
        assert torch.allclose(found, expected, atol=1e-5)
    integers = (batch * 32768).round().clamp(-32768, 32767).to(torch.int16)
    assert torch.allclose(reward(integers, PROMPTS).rewards, expected, atol=1e-2)


def test_prompts_and_lyrics_come_in_many_ways(scorer):
    reward = TensorReward(scorer, sample_rate=SR, by="alignment")
    batch = songs()
    expected = reward(batch, ["slow"] * 3, lyrics=["la", "", "la"]).rewards
    metadata = [{"lyrics": "la"}, {"lyrics": None, "tag": 1}, {"lyrics": "la"}]
    assert torch.equal(reward(batch, "slow", metadata).rewards, expected)
    with pytest.warns(UserWarning, match="alignment has nothing to compare with") as caught:
        assert not torch.equal(reward(batch).rewards, expected)
    assert caught[0].filename == __file__
    for wrong in ({"prompts": ["a"]}, {"metadata": [{}]}, {"lengths": [1]}, {"ref_audio": songs()[:2]}):
        with pytest.raises(UserError, match=r"3 songs, and \d (prompts|metadata|lengths|references)"):
            reward(batch, **wrong)


def test_a_broken_song_raises_or_has_the_reward_for_those(cheap, scorer):
    batch = songs()
    batch[1, :, 5] = torch.nan
    with pytest.raises(UserError, match="Song 2 has samples up to nan"):
        TensorReward(cheap, sample_rate=SR)(batch)
    rewards, details = TensorReward(cheap, sample_rate=SR, failed=-3.0)(batch, PROMPTS)
    assert [bool(error) for error in details["errors"]] == [False, True, False]
    assert rewards[1] == -3
    assert torch.allclose(rewards[[0, 2]], TensorReward(cheap, sample_rate=SR)(songs(), PROMPTS).rewards[[0, 2]])
    with pytest.raises(UserError, match="needs 1025"):
        TensorReward(scorer, sample_rate=SR)([songs()[0, 0, :900]])
    with pytest.raises(UserError, match="full scale is 1"):
        TensorReward(cheap, sample_rate=SR)(3000 * songs())


def test_shapes_and_settings_that_make_no_sense(cheap):
    reward = TensorReward(cheap, sample_rate=SR)
    for wrong, message in (
        (torch.zeros(4000), r"waveform\[None\]"),
        (torch.zeros(1, 4000, 2), "4000 channels"),
        (torch.zeros(1, 0), r"shape \[0\]"),
        (torch.zeros(1, 4000, dtype=torch.bool), "dtype torch.bool"),
    ):
        with pytest.raises(UserError, match=message):
            reward(wrong)
    assert reward(torch.zeros(0, 4000)).rewards.shape == (0,)
    with pytest.raises(UserError, match="not a whole number"):
        TensorReward(cheap, sample_rate=0.5)
    with pytest.raises(UserError, match="Did you mean musicality"):
        TensorReward(cheap, sample_rate=SR, by="musicalty")
    with pytest.raises(UserError, match="does not judge musicality"):
        TensorReward(MuQMuLan(str(BUNDLE / "muq-mulan")), sample_rate=SR)(songs(), PROMPTS)


class Noisy(nn.Module):
    """A model of the caller's that draws random numbers, drops out, and says how it found the process."""

    sr = SR
    audio_input = "waveform"

    def __init__(self):
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.9))
        self.heard = []

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        random.random(), np.random.rand(), torch.rand(3)
        self.heard.append((self.training, torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")))
        return self.layer(torch.stack([one.audio[:4] for one in inputs])).detach().numpy()


def test_the_caller_is_left_as_he_was():
    model = Noisy().train()
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    with torch.autocast("cpu", torch.bfloat16):
        rewards = TensorReward(model, sample_rate=SR)(songs(), PROMPTS).rewards
        assert torch.is_autocast_enabled("cpu")
    assert model.heard == [(False, False, False)]
    assert model.training and model.layer[1].training
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])
    assert states[2] == random.getstate()
    assert torch.equal(rewards, TensorReward(model, sample_rate=SR)(songs(), PROMPTS).rewards)


def test_a_model_that_embeds_on_the_cpu_is_given_waveforms_there_and_words_once():
    model = FrameEncoder()
    scores = SongScorer(model).score_on_device(
        [Song(song, text, sample_rate=SR) for song, text in zip(songs(), PROMPTS, strict=True)]
    )
    assert sorted(model.texts) == ["", "deep house", "slow piano"]
    assert [score.alignment for score in scores] == [len(text) for text in PROMPTS]


class OnDevice(FrameEncoder):
    """Takes waveforms where they are."""

    sr = SR
    embeds_on_device = True

    def embed_audio(self, waveforms, max_dur, *, is_reference):
        self.given = [waveform.data_ptr() for waveform in waveforms]
        return super().embed_audio(waveforms, max_dur, is_reference=is_reference)


def test_waveforms_that_a_model_takes_as_they_are_are_not_copied():
    model, batch = OnDevice(), songs(channels=1)[:, 0]
    TensorReward(model, sample_rate=SR)(batch, PROMPTS)
    assert sorted(model.given) == [song.data_ptr() for song in batch]
