"""The prepared network is the loaded one."""

import numpy as np
import pytest
import torch
from torch import nn

from cmi_bench.models.batching import arithmetic
from cmi_bench.models.cmi_rm.model import CmiRM
from cmi_bench.models.cmi_rm.network import FastParts
from cmi_bench.models.kernels import conformer, linear, winograd
from cmi_bench.models.kernels.conformer import fold
from cmi_bench.models.kernels.linear import fastest
from cmi_bench.models.kernels.optimize import prepare
from cmi_bench.models.muq.config import MulanConfig, MuqConfig
from cmi_bench.models.muq.encoder import (
    ConvFrontend,
    ConvolutionModule,
    FrozenBatchNorm,
    RotaryPositions,
    RotarySelfAttention,
)
from cmi_bench.models.muq.towers import AudioTower

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def randomise(module):
    """Fill a module so that layers keep the size of their input, with statistics far from 0 and 1."""
    for name, tensor in module.state_dict().items():
        if name.endswith(("running_var", "norm.weight", "bn1.weight", "bn2.weight", "bn3.weight")):
            tensor.uniform_(0.3, 3.0)
        elif tensor.ndim > 1:
            tensor.normal_(std=tensor[0].numel() ** -0.5)
        else:
            tensor.normal_()
    return module.requires_grad_(False).eval()


@pytest.fixture
def all_ways(monkeypatch):
    """Makes everything go the first of the given ways that it can go, however small it is."""

    def go(*ways):
        def chosen(task, makers, example):
            way = next(way for way in (*ways, *makers) if way in makers)
            return fastest(way + task, {way: makers[way]}, example)

        monkeypatch.setattr(winograd, "WORTH_MEASURING", 2)
        monkeypatch.setattr(linear, "WORTH_MEASURING", 0)
        for module in (linear, winograd):
            monkeypatch.setattr(module, "fastest", chosen)

    return go


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("conv", [nn.Conv1d, nn.Conv2d])
def test_folded_is_unfolded(conv, bias):
    conv, norm = randomise(conv(6, 4, 3, bias=bias)), randomise(FrozenBatchNorm(4))
    x = torch.randn(2, 6, *(9,) * (conv.weight.ndim - 2))
    weight, shift = fold(conv, norm)
    folded = torch.nn.functional.conv1d if x.ndim == 3 else torch.nn.functional.conv2d
    torch.testing.assert_close(folded(x, weight, shift), norm(conv(x)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("ways", [("direct",), ("winograd",), ("winograd, oneDNN", "oneDNN")])
@pytest.mark.parametrize("strides", [(2, 2), (2, 1)], ids=["25 Hz", "50 Hz"])
def test_front_end(all_ways, monkeypatch, strides, ways):
    all_ways(*ways)
    monkeypatch.setattr(conformer, "STRIPS", (24, 20))
    front = randomise(ConvFrontend(n_mels=16, channels=6, dim=5, time_strides=strides))
    fast = prepare(front, CPU, "32")
    for frames in (1, 2, 5, 24, 25, 99):
        mel = torch.randn(2, 16, frames)
        torch.testing.assert_close(fast(mel), front(mel), atol=1e-5, rtol=1e-5)


def test_convolution_module():
    module = randomise(ConvolutionModule(24, 31))
    fast = prepare(module, CPU, "32")
    for frames in (1, 7, 80):
        x = torch.randn(3, frames, 24)
        torch.testing.assert_close(fast(x), module(x), atol=1e-5, rtol=1e-5)


def test_attention():
    module = randomise(RotarySelfAttention(24, 3))
    fast = prepare(module, CPU, "32")
    positions = randomise(RotaryPositions(8))
    for frames in (1, 7, 80):
        x = torch.randn(3, frames, 24)
        torch.testing.assert_close(fast(x, positions(frames)), module(x, positions(frames)), atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def tower():
    """A tower of sizes that are worth measuring."""
    transformer = {"dim": 256, "tf_depth": 2, "heads": 4, "dim_head": 32, "ff_mult": 4}
    mulan = MulanConfig.model_validate(
        {
            "mulan": {"sr": 24_000},
            "audio_model": {"name": "muq", "model_dim": 256},
            "text_model": {"name": "xlm-roberta"},
            "audio_transformer": transformer,
            "text_transformer": transformer | {"max_seq_len": 512},
        }
    )
    muq = MuqConfig.model_validate(
        {
            "label_rate": 25,
            "hop_length": 240,
            "n_mels": 32,
            "stat": {"melspec_2048_mean": 6.5, "melspec_2048_std": 18.0},
            "conv_dim": 64,
            "encoder_dim": 256,
            "encoder_depth": 2,
            "w2v2_config": {
                "num_attention_heads": 4,
                "intermediate_size": 512,
                "conv_depthwise_kernel_size": 31,
                "layer_norm_eps": 1e-5,
                "position_embeddings_type": "rotary",
                "hidden_act": "swish",
            },
        }
    )
    torch.manual_seed(1)
    tower = randomise(AudioTower(mulan, muq))
    tower.muq.conformer.embed_positions.inv_freq.copy_(10_000.0 ** -(torch.arange(32) / 32))
    return tower


@pytest.mark.parametrize("ways", ["measured", ("winograd",), ("winograd, oneDNN", "oneDNN")])
def test_audio_tower_and_its_batches(tower, all_ways, ways):
    if ways != "measured":
        all_ways(*ways)
    fast = prepare(tower, CPU, "32")
    chunks = torch.randn(4, 40_000) * 0.1
    with arithmetic("32", CPU):
        together = fast(chunks)
        torch.testing.assert_close(together, tower(chunks), atol=1e-4, rtol=0.0)
        alone = torch.cat([fast(chunk[None]) for chunk in chunks.flip(0)]).flip(0)
        torch.testing.assert_close(together, alone, atol=1e-4, rtol=0.0)


def test_bf16_is_close_and_held_in_bf16(tower):
    fast = prepare(tower, CPU, "bf16")
    assert {layer.weight.dtype for layer in fast.modules() if isinstance(layer, nn.Linear)} == {torch.bfloat16}
    chunk = torch.randn(1, 40_000) * 0.1
    with arithmetic("32", CPU):
        exact = tower(chunk)
    with arithmetic("bf16", CPU):
        found = fast(chunk).float()
    assert ((found - exact).norm() / exact.norm()).item() < 0.05


def test_the_loaded_network_stays_as_it_is(tower):
    before = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    kinds = [type(part) for part in tower.modules()]
    fast = prepare(tower, CPU, "bf16")
    assert [type(part) for part in tower.modules()] == kinds
    for name, tensor in tower.state_dict().items():
        torch.testing.assert_close(tensor, before[name], atol=0.0, rtol=0.0)
    assert not any(isinstance(part, FrozenBatchNorm) for part in fast.modules())


def test_weights_that_need_no_change_are_shared(load):
    network = load("sa_mean").loaded.network
    scorer = prepare(network.scorer, CPU, "32")
    loaded, fast = (part.prompt_transformer.layers[0][0].to_q.weight for part in (network.scorer, scorer))
    assert fast.data_ptr() == loaded.data_ptr()


def test_parts_are_made_when_called_for(load):
    parts = FastParts(load("sa_mean").loaded.network, CPU, "32")
    assert parts.scorer is parts.scorer
    assert "audio_tower" not in vars(parts)


@pytest.mark.parametrize("ways", [("winograd",), ("winograd, oneDNN", "oneDNN")])
@pytest.mark.parametrize("name", ["sa_none", "sa_mean", "sa_meanpool_mlp", "sa_conv", "ca_glu"])
def test_parity_whatever_the_way(bundle, inputs, expected, all_ways, name, ways):
    all_ways(*ways)
    order = [4, 1, 3, 5, 0, 2]
    found = CmiRM(str(bundle / name)).score_batch([inputs[index] for index in order], 6, 20.0)
    np.testing.assert_allclose(found, np.array(expected["scores"][name]["max_dur_20"])[order], atol=1e-4)
