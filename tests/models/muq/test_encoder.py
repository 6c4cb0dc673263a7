"""MuQ and MuQ-MuLan's transformer against independent implementations: torchaudio, transformers, by hand."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram
from transformers import Wav2Vec2ConformerConfig
from transformers.models.wav2vec2_conformer.modeling_wav2vec2_conformer import Wav2Vec2ConformerEncoder

from cmi_bench.models.muq.config import TransformerConfig
from cmi_bench.models.muq.encoder import Conformer, ConvFrontend
from cmi_bench.models.muq.mel import LogMel
from cmi_bench.models.muq.transformer import DecoderLayer, SelfAttention, Transformer

SIZES = TransformerConfig(dim=12, depth=2, heads=3, dim_head=4, ff_mult=4)
pytestmark = pytest.mark.usefixtures("seeded")


def randomise(module):
    for tensor in module.state_dict().values():
        tensor.copy_(torch.rand_like(tensor) * 0.5 + 0.1)
    return module


@pytest.mark.parametrize("samples", [1025, 24_000, 30_001])
def test_mel_is_torchaudios(samples):
    waveform = torch.randn(2, samples)
    reference = AmplitudeToDB()(MelSpectrogram(24_000, n_fft=2048, hop_length=240, n_mels=128)(waveform))[..., :-1]
    mel = LogMel(hop_length=240, n_mels=128, mean=6.5, std=18.0)
    torch.testing.assert_close(mel(waveform), (reference - 6.5) / 18.0, atol=1e-5, rtol=1e-5)
    assert mel.state_dict() == {}


@pytest.mark.parametrize("gain", [0.0, 1e-6, 1e-4])
def test_mel_of_quiet_audio_ends_at_the_floor(gain):
    """By NumPy's Fourier transform: power below 1e-10 counts as 1e-10, which is -100 dB."""
    rng = np.random.default_rng(0)
    waveform = gain * rng.standard_normal(4800)
    padded = np.pad(waveform.astype(np.float32).astype(np.float64), 1024, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2048)[::240]
    power = np.abs(np.fft.rfft(frames * np.hanning(2049)[:-1])) ** 2
    mel_of = lambda hertz: 2595 * np.log10(1 + hertz / 700)  # noqa: E731 - HTK's scale
    edges = 700 * (10 ** (np.linspace(0, mel_of(12_000), 130) / 2595) - 1)
    hertz = np.linspace(0, 12_000, 1025)
    rising = (hertz[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - hertz[:, None]) / np.diff(edges)[1:]
    mel = power @ np.clip(np.minimum(rising, falling), 0, None)
    wanted = 10 * np.log10(np.maximum(mel, 1e-10)).T[:, :-1]
    found = LogMel(hop_length=240, n_mels=128, mean=0.0, std=1.0).decibels(torch.from_numpy(waveform)[None].float())[0]
    np.testing.assert_allclose(found.numpy(), wanted, atol=0.02)
    assert (wanted.min() == -100.0) == (gain < 1e-4)


def test_mel_stays_float32_under_autocast():
    mel = LogMel(hop_length=240, n_mels=128, mean=6.5, std=18.0)
    waveform = torch.randn(1, 4800)
    exact = mel(waveform)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(mel(waveform), exact, atol=0.0, rtol=0.0)


@pytest.mark.parametrize(("strides", "frames"), [((2, 2), 25), ((2, 1), 50)], ids=["25 Hz", "50 Hz"])
def test_front_end(strides, frames):
    front = randomise(ConvFrontend(n_mels=16, channels=3, dim=5, time_strides=strides))
    mel = torch.randn(1, 16, 99)
    x = mel[:, None]
    for block, stride in zip(front.conv, strides, strict=True):
        main, shortcut = (
            F.conv2d(x, conv.weight, conv.bias, stride=(2, stride), padding=1) for conv in (block.conv1, block.conv3)
        )
        main, shortcut = normalise(main, block.bn1).relu(), normalise(shortcut, block.bn3)
        main = normalise(F.conv2d(main, block.conv2.weight, block.conv2.bias, padding=1), block.bn2)
        x = (main + shortcut).relu()
    flat = torch.stack([x[:, :, :, time].reshape(1, -1) for time in range(x.shape[3])], dim=1)
    found = front(mel)
    assert found.shape == (1, frames, 5)
    torch.testing.assert_close(found, front.linear(flat), atol=1e-4, rtol=1e-4)


def normalise(x, norm):
    mean, var, weight, bias = (
        value[:, None, None] for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def test_conformer_is_hugging_faces():
    config = Wav2Vec2ConformerConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=24,
        hidden_act="swish",
        position_embeddings_type="rotary",
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
    )
    theirs = Wav2Vec2ConformerEncoder(config).eval()
    ours = Conformer(dim=16, depth=3, heads=2, ffn_dim=24, conv_kernel=31, layer_norm_eps=1e-5)
    state = {name: torch.randn_like(value) * 0.3 for name, value in ours.state_dict().items()}
    state = {name: value.abs() + 0.5 if name.endswith("running_var") else value for name, value in state.items()}
    state["embed_positions.inv_freq"] = theirs.embed_positions.inv_freq
    ours.load_state_dict(state)
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected
    assert all("pos_conv_embed" in name or name.endswith("num_batches_tracked") for name in missing)
    frames = torch.randn(2, 37, 16)
    torch.testing.assert_close(ours(frames), theirs(frames).last_hidden_state, atol=1e-4, rtol=1e-4)


def attention_by_hand(layer, x):
    """The formula, head by head and without masks."""
    normed = F.layer_norm(x, x.shape[-1:]) * layer.norm.learned_gamma
    inner = SIZES.heads * SIZES.dim_head
    key, value = layer.to_kv(normed)[..., :inner], layer.to_kv(normed)[..., inner:]
    query = layer.to_q(normed)
    heads = []
    for head in range(SIZES.heads):
        part = slice(head * SIZES.dim_head, (head + 1) * SIZES.dim_head)
        q = query[..., part] / query[..., part].norm(dim=-1, keepdim=True) * layer.q_scale
        k = key[..., part] / key[..., part].norm(dim=-1, keepdim=True) * layer.k_scale
        heads.append((8 * q @ k.transpose(-1, -2)).softmax(dim=-1) @ value[..., part])
    return torch.cat(heads, dim=-1) @ layer.to_out[0].weight.T


def test_transformer_by_hand():
    transformer = randomise(Transformer(SIZES))
    x = torch.randn(2, 5, 12)
    found = transformer(x)
    for attention, ff in transformer.layers:
        x = x + attention_by_hand(attention, x)
        hidden = (F.layer_norm(x, x.shape[-1:]) * ff[0].learned_gamma) @ ff[1].weight.T
        first, gate = hidden[..., :32], hidden[..., 32:]  # int(12 * 4 * 2 / 3) = 32
        x = x + (first * gate * 0.5 * (1 + torch.erf(gate / math.sqrt(2)))) @ ff[4].weight.T
    torch.testing.assert_close(found, x, atol=1e-4, rtol=1e-4)


def test_padding_changes_nothing():
    transformer, decoder = randomise(Transformer(SIZES)), randomise(DecoderLayer(SIZES))
    x, onto = torch.randn(1, 5, 12), torch.randn(1, 4, 12)
    x_padded, onto_padded = F.pad(x, (0, 0, 0, 3), value=9.0), F.pad(onto, (0, 0, 0, 2), value=9.0)
    x_valid, onto_valid = torch.arange(8)[None] < 5, torch.arange(6)[None] < 4
    torch.testing.assert_close(transformer(x_padded, x_valid)[:, :5], transformer(x))
    torch.testing.assert_close(decoder(x_padded, x_valid, onto_padded, onto_valid)[:, :5], decoder(x, None, onto, None))


def test_nothing_to_attend_to():
    attention, decoder = randomise(SelfAttention(SIZES)), randomise(DecoderLayer(SIZES))
    assert attention(torch.zeros(2, 0, 12)).shape == (2, 0, 12)
    x, empty = torch.randn(1, 5, 12), torch.zeros(1, 0, 12)
    alone = decoder(x, None, empty, None)
    padded = decoder(x, None, torch.ones(1, 3, 12), torch.zeros(1, 3, dtype=torch.bool))
    torch.testing.assert_close(alone, padded)
    assert alone.isfinite().all()
