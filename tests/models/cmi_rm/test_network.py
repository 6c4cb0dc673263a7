"""CMI-RM's network: downsamplers, prompts and clips in batches, parts made when they are needed."""

import pytest
import torch
from torch.nn import functional as F

from cmi_bench.models.base import EmbeddedInput
from cmi_bench.models.batching import join, pad
from cmi_bench.models.cmi_rm.config import DownsampleConfig
from cmi_bench.models.cmi_rm.network import PreparedNetwork, build_downsampler, judge, two_strides, windows_on
from cmi_bench.models.kernels.prepare import prepare
from cmi_bench.models.muq.config import TransformerConfig
from cmi_bench.models.muq.transformer import Transformer

CPU = torch.device("cpu")


def test_tensors_that_do_not_change_are_shared(load):
    network = load("sa_mean").loaded.network
    scorer = prepare(network.scorer, CPU, "32")
    loaded, prepared = (part.prompt_transformer.layers[0][0].q_scale for part in (network.scorer, scorer))
    assert prepared.data_ptr() == loaded.data_ptr()


def test_parts_are_made_when_called_for(load):
    prepared = PreparedNetwork(load("sa_mean").loaded.network, CPU, "32")
    assert prepared.scorer is prepared.scorer
    assert "audio_tower" not in vars(prepared)


def test_what_clips_have_in_common_is_moved_once(monkeypatch):
    text, lyrics, audio = torch.ones(3, 4), torch.ones(2, 4), torch.ones(5, 4)
    clips = [EmbeddedInput([audio], text, lyrics, audio[:2]), EmbeddedInput([audio, audio], text, lyrics, None)]
    moved, to = [], torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda one, device: moved.append(tuple(one.shape)) or to(one, device))
    found = windows_on(torch.device("meta"), clips)
    assert sorted(moved) == [(2, 4), (2, 4), (3, 4), (5, 4)]
    assert found[0].prompt.text is found[1].prompt.text


DIM = 6
pytestmark = pytest.mark.usefixtures("seeded")


def conv_by_hand(block, x, stride, kernel=5, gated=False):
    x = x[: len(x) // stride * stride]
    if gated:
        hidden = x @ block.pw1.weight[:, :, 0].T
        x = hidden[:, :DIM] * hidden[:, DIM:].sigmoid()
    around = F.pad(x, (0, 0, kernel // 2, kernel // 2))
    rows = [
        (around[start : start + kernel] * block.dw.weight[:, 0].T).sum(dim=0)
        for start in range(0, len(x) - stride + 1, stride)
    ]
    y = torch.stack(rows)
    return F.silu(F.layer_norm(y, (DIM,), block.ln.weight, block.ln.bias))


@pytest.mark.parametrize(
    ("factor", "strides"),
    [
        *[(2, (1, 2)), (3, (3, 1)), (4, (2, 2)), (5, (1, 5)), (6, (3, 2)), (7, (1, 7)), (8, (2, 4)), (9, (3, 3))],
        *[
            (10, (2, 5)),
            (12, (3, 4)),
            (15, (3, 5)),
            (16, (4, 4)),
            (18, (3, 6)),
            (20, (4, 5)),
            (25, (5, 5)),
            (1, (1, 1)),
        ],
    ],
)
def test_two_strides(factor, strides):
    assert two_strides(factor) == strides


@pytest.mark.parametrize("length", [8, 9, 11, 23])
def test_mean(length):
    x = torch.randn(length, DIM)
    found = build_downsampler(DIM, DownsampleConfig(kind="mean", factor=4))(x)
    wanted = torch.stack([x[start : start + 4].mean(dim=0) for start in range(0, length - 3, 4)])
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("factor", [1, 3])
def test_mlp_before_or_after_the_mean(factor):
    x = torch.randn(10, DIM)
    after = build_downsampler(DIM, DownsampleConfig(kind="mean+mlp", factor=factor, mlp_ratio=1.5))
    before = build_downsampler(DIM, DownsampleConfig(kind="mean+mlp", factor=factor, mlp_ratio=1.5, pre_mlp=True))
    before.load_state_dict(after.state_dict())
    assert after.mlp[0].weight.shape == (9, DIM)

    def mlp(y):
        return after.mlp[3](F.silu(after.mlp[0](y)))

    def mean(y):
        return torch.stack([y[start : start + factor].mean(dim=0) for start in range(0, 11 - factor, factor)])

    torch.testing.assert_close(after(x), mlp(mean(x)))
    torch.testing.assert_close(before(x), mean(mlp(x)))


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_conv_stages_share_their_weights(stage):
    module = build_downsampler(DIM, DownsampleConfig(kind="conv", factor=2, stage=stage))
    x = wanted = torch.randn(29, DIM)
    for _ in range(stage):
        wanted = conv_by_hand(module.blocks[0], wanted, 2)
    torch.testing.assert_close(module(x), wanted, atol=1e-5, rtol=1e-5)
    names = {f"blocks.{i}.{tensor}" for i in range(stage) for tensor in ("dw.weight", "ln.weight", "ln.bias")}
    assert module.state_dict().keys() == names


@pytest.mark.parametrize("factor", [4, 5, 6, 8, 9])
@pytest.mark.parametrize("kind", ["conv*2", "gluconv*2+pw"])
def test_two_convolutions(kind, factor):
    gated = kind == "gluconv*2+pw"
    module = build_downsampler(DIM, DownsampleConfig(kind=kind, factor=factor))
    x = torch.randn(47, DIM)
    first, second = two_strides(factor)
    wanted = conv_by_hand(module.block1, x, first, gated=gated)
    wanted = conv_by_hand(module.block2, wanted, second, gated=gated)
    if gated:
        wanted = wanted @ module.final_pw.weight[:, :, 0].T
    torch.testing.assert_close(module(x), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["mean", "mean+mlp", "conv", "conv*2", "gluconv*2+pw"])
def test_too_short_a_sequence_becomes_empty(kind):
    assert build_downsampler(DIM, DownsampleConfig(kind=kind, factor=4))(torch.randn(3, DIM)).shape == (0, DIM)


@pytest.mark.parametrize("kind", ["none", "mean", "conv", "conv*2", "gluconv*2+pw"])
def test_factor_one_changes_nothing(kind):
    x = torch.randn(7, DIM)
    torch.testing.assert_close(build_downsampler(DIM, DownsampleConfig(kind=kind, factor=1))(x), x)


def test_without_norm_and_with_another_kernel():
    module = build_downsampler(DIM, DownsampleConfig(kind="conv", factor=2, kernel_size=3, use_layernorm=False))
    x = torch.randn(6, DIM)
    wanted = F.silu(F.conv1d(x.T[None], module.blocks[0].dw.weight, stride=2, padding=1, groups=DIM)[0].T)
    torch.testing.assert_close(module(x), wanted)
    assert module.state_dict().keys() == {"blocks.0.dw.weight"}


CHECKPOINTS = ["sa_none", "sa_mean", "sa_conv", "ca_glu"]
WIDTH = 32


def frames(length):
    return torch.randn(length, WIDTH)


@pytest.fixture
def clips():
    """Five clips of three prompts, one with two windows; no two lengths are equal."""
    reference, text, lyrics = frames(40), frames(7), frames(9)
    return [
        EmbeddedInput([frames(50)], text, lyrics, reference),
        EmbeddedInput([frames(30)], frames(5), frames(2), None),
        EmbeddedInput([frames(61), frames(33)], text, lyrics, reference),
        EmbeddedInput([frames(24)], text, lyrics, None),
        EmbeddedInput([frames(45)], text, lyrics, None),
    ]


def test_clips_with_the_same_tensors_have_one_prompt(clips):
    windows = windows_on(CPU, clips)
    assert [len(window.audio) for window in windows] == [50, 30, 61, 33, 24, 45]
    prompts = [window.prompt for window in windows]
    assert prompts[0] is prompts[2] is prompts[3]
    assert prompts[4] is prompts[5]
    assert len({id(prompt) for prompt in prompts}) == 3


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_each_prompt_is_embedded_once(load, clips, name, monkeypatch):
    scorer, embedded = load(name).parts.scorer, []
    embed = scorer.embed_joined
    monkeypatch.setattr(scorer, "embed_joined", lambda prompts: embedded.extend(prompts) or embed(prompts))
    judge(scorer, windows_on(CPU, clips), 2)
    assert len(embedded) == 3


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize(("batch_size", "padding"), [(1, 0.0), (2, 0.0), (6, 0.0), (2, 9.0), (6, 9.0)])
def test_a_score_is_that_of_the_clip_alone(load, clips, name, batch_size, padding, monkeypatch):
    monkeypatch.setattr("cmi_bench.models.cmi_rm.network.CPU_PADDING", padding)  # as on a GPU
    scorer = load(name).parts.scorer
    windows = windows_on(CPU, clips)
    alone = torch.cat([judge(scorer, [window], 1) for window in windows])
    torch.testing.assert_close(judge(scorer, windows, batch_size), alone, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_first_positions_of_a_transformer_are_what_all_of_it_has_there(depth):
    network = Transformer(TransformerConfig(dim=WIDTH, depth=depth, heads=4, dim_head=8, ff_mult=4)).eval()
    both = join(pad([frames(6), frames(4)]), pad([frames(3), frames(8)]))
    whole, part = network(*both), network(*both, first=6)
    assert part.shape == (2, 6, WIDTH)
    torch.testing.assert_close(part[0], whole[0, :6])
    torch.testing.assert_close(part[1, :4], whole[1, :4])


def test_join_keeps_what_is_padding():
    ones, twos = pad([torch.ones(1, 2), torch.ones(2, 2)]), pad([2 * torch.ones(3, 2), 2 * torch.ones(3, 2)])
    joined = join(ones, twos)
    assert joined.values[..., 0].tolist() == [[1, 0, 2, 2, 2], [1, 1, 2, 2, 2]]
    assert joined.valid.tolist() == [[True, False, True, True, True], [True] * 5]
    assert join(twos, twos).valid is None
