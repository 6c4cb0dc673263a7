"""A model checked for collapse on clips: through embeddings or without them, with its projections."""

import numpy as np
import pytest
import soundfile
import torch
from tiny_clap import save_laion_clap

from cmi_bench.models.adapter import adapt
from cmi_bench.models.base import EmbeddingModel
from cmi_bench.models.clap import Clap
from cmi_bench.scoring.collapse import check_model_collapse, projection_layers
from cmi_bench.types import Clip


@pytest.fixture
def clips(tmp_path):
    found = []
    for number, text in enumerate(["slow ambient drone", "deep house groove", "a bright piano", "music"]):
        wave = np.random.default_rng(number).normal(size=12_000) * 0.05 * (number + 1)
        soundfile.write(tmp_path / f"{number}.wav", wave, 24_000)
        found.append(Clip(f"{number}:a", tmp_path / f"{number}.wav", text))
    return found


class Level:
    sr = 24_000
    audio_input = "waveform"

    def __init__(self):
        self.net = torch.nn.ModuleDict({"projection": torch.nn.Linear(64, 64), "other": torch.nn.Linear(64, 64)})

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        assert all(len(one.audio) <= max_dur * self.sr for one in inputs)
        return np.array([[np.nan, float(one.audio.std()) * kwargs.get("gain", 1.0)] for one in inputs])


def test_without_embeddings_and_with_modules_that_are_found(clips):
    model = adapt(Level())
    found = check_model_collapse(model, clips, max_dur=0.25)
    (sign,) = found.signs
    assert sign.startswith("net.projection has weights spread evenly")
    assert found.measured[0].startswith("musicality of 4 clips")
    assert len(check_model_collapse(model, clips, max_dur=0.25, score_kwargs={"gain": 0.0}).signs) == 2


def test_scores_that_are_known_are_not_made_again(clips):
    found = check_model_collapse(adapt(Level()), clips, max_dur=1.0, scores=np.ones((4, 2)))
    assert [sign.partition(" ")[0] for sign in found.signs] == ["alignment", "musicality", "net.projection"]


def test_a_model_that_embeds(clips, tmp_path):
    class OneText(Clap):
        def encode_texts(self, texts):
            return super().encode_texts(["music" for _ in texts])

    model = OneText(str(save_laion_clap(tmp_path)))
    assert isinstance(model, EmbeddingModel)
    found = check_model_collapse(model, clips, max_dur=1.0)
    assert any(sign.startswith("4 text embeddings have a mean pairwise cosine of 1.0000") for sign in found.signs)
    assert set(projection_layers(model)) == {
        f"{branch}_projection.linear{number}" for branch in ("audio", "text") for number in (1, 2)
    }
    assert not any("projection" in sign for sign in found.signs)  # random, but not at initial values


def test_a_text_without_tokens_has_no_embedding(clips, tmp_path):
    class NoWordForMusic(Clap):
        def embed_texts(self, texts):
            embedded = zip(texts, super().embed_texts(texts), strict=True)
            return [one[:0] if text == "music" else one for text, one in embedded]

    model = NoWordForMusic(str(save_laion_clap(tmp_path)))
    found = check_model_collapse(model, clips, max_dur=1.0, scores=np.arange(8.0).reshape(4, 2))
    assert [one for one in found.measured if one.startswith("3 text embeddings have a mean pairwise cosine of ")]
