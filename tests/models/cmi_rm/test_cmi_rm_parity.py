"""The public implementation's numbers: scores of five checkpoints, and tensors along the way."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cmi_bench.audio.decode import decode
from cmi_bench.models.batching import arithmetic
from cmi_bench.models.cmi_rm.network import Prompt

CHECKPOINTS = ["sa_none", "sa_mean", "sa_meanpool_mlp", "sa_conv", "ca_glu"]
SETTINGS = {
    "max_dur_120": (120.0, {}),
    "max_dur_20": (20.0, {}),
    "standard_max_dur_2_step_1": (2.0, {"mode": "standard", "dur_step": 1.0}),
}
ORDERS = {1: [0, 1, 2, 3, 4, 5], 3: [3, 0, 5, 2, 4, 1], 6: [4, 1, 3, 5, 0, 2]}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_scores_at_any_batch_size_and_order(load, inputs, expected, name, setting):
    max_dur, options = SETTINGS[setting]
    model = load(name, **options)
    scores = np.array(expected["scores"][name][setting])
    for batch_size, order in ORDERS.items():
        found = model.score_batch([inputs[index] for index in order], batch_size, max_dur)
        np.testing.assert_allclose(found, scores[order], atol=1e-5)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_scores_of_the_plain_modules(load, inputs, expected, name):
    found = load(name, kernels="off").score_batch(inputs, 6, 20.0)
    np.testing.assert_allclose(found, expected["scores"][name]["max_dur_20"], atol=1e-5)


@pytest.fixture(scope="module")
def tensors(bundle):
    return load_file(bundle / "intermediates_sa_mean.safetensors")


@pytest.fixture(scope="module")
def network(load):
    return load("sa_mean").loaded.network


@pytest.fixture(autouse=True)
def float32():
    with arithmetic("32", torch.device("cpu")):
        yield


def close(found, wanted):
    torch.testing.assert_close(found.reshape(wanted.shape), wanted, atol=1e-4, rtol=0.0)


def test_waveform(bundle, tensors):
    close(decode(bundle / "audio" / "b_44k_stereo_3s.flac", 24_000, 120.0), tensors["waveform"])


def test_audio_tower(network, tensors):
    tower = network.audio_tower
    close(tower.muq.mel.decibels(tensors["waveform"]), tensors["mel_db"])
    close(tower.muq.mel(tensors["waveform"]), tensors["mel_normalized"])
    close(tower.muq.conv(tensors["mel_normalized"]), tensors["conv_frontend"])
    close(tower.muq.conformer(tensors["conv_frontend"]), tensors["conformer"])
    close(tower(tensors["waveform"]), tensors["audio_tower_frames"])


def test_text_tower(load, inputs, tensors):
    model = load("sa_mean")
    ids = model.loaded.tokenizer.encode([inputs[2].text])
    assert ids == tensors["text_token_ids"].tolist()
    text, lyrics = model.encode_texts([inputs[2].text, inputs[2].lyrics])
    close(text, tensors["text_tower_tokens"])
    close(lyrics, tensors["lyrics_tower_tokens"])


def test_scorer(network, tensors):
    frames = tensors["audio_tower_frames"][0]
    asked = Prompt(text=tensors["text_tower_tokens"][0], lyrics=tensors["lyrics_tower_tokens"][0])
    (prompt,) = network.scorer.embed_prompts([asked])
    audio = network.scorer.eval_downsampler(frames)
    close(prompt, tensors["prompt_embed"])
    close(audio, tensors["eval_audio_embeds_downsampled"])
    close(network.scorer.embed_audio([audio], [prompt]), tensors["eval_audio_embedding"])
    close(network.scorer([frames], [prompt]), tensors["scores"])
