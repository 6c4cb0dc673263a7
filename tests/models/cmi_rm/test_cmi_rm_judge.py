"""Embeddings to scores: prompts once, and no work that is not wanted."""

import pytest
import torch

from cmi_bench.models.base import EmbeddedInput
from cmi_bench.models.batching import join, pad
from cmi_bench.models.cmi_rm.network import judge, windows_on
from cmi_bench.models.muq.config import TransformerConfig
from cmi_bench.models.muq.transformer import Transformer

CPU = torch.device("cpu")
CHECKPOINTS = ["sa_none", "sa_mean", "sa_conv", "ca_glu"]
DIM = 32


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def frames(length):
    return torch.randn(length, DIM)


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
    embed = scorer.embed_prompts
    monkeypatch.setattr(scorer, "embed_prompts", lambda prompts: embedded.extend(prompts) or embed(prompts))
    judge(scorer, windows_on(CPU, clips), 2)
    assert len(embedded) == 3


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("batch_size", [1, 2, 6])
def test_a_score_is_that_of_the_clip_alone(load, clips, name, batch_size):
    scorer = load(name).parts.scorer
    windows = windows_on(CPU, clips)
    alone = torch.cat([judge(scorer, [window], 1) for window in windows])
    torch.testing.assert_close(judge(scorer, windows, batch_size), alone, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_first_positions_of_a_transformer_are_what_all_of_it_has_there(depth):
    network = Transformer(TransformerConfig(dim=DIM, depth=depth, heads=4, dim_head=8, ff_mult=4)).eval()
    both = join(pad([frames(6), frames(4)]), pad([frames(3), frames(8)]))
    whole, part = network(*both), network(*both, first=6)
    assert part.shape == (2, 6, DIM)
    torch.testing.assert_close(part[0], whole[0, :6])
    torch.testing.assert_close(part[1, :4], whole[1, :4])


def test_join_keeps_what_is_padding():
    ones, twos = pad([torch.ones(1, 2), torch.ones(2, 2)]), pad([2 * torch.ones(3, 2), 2 * torch.ones(3, 2)])
    joined = join(ones, twos)
    assert joined.values[..., 0].tolist() == [[1, 0, 2, 2, 2], [1, 1, 2, 2, 2]]
    assert joined.valid.tolist() == [[True, False, True, True, True], [True] * 5]
    assert join(twos, twos).valid is None
