"""CMI-RM's head in training: what it computes, what it begins with, null embeddings, gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from encoders import pooled
from safetensors.torch import load_file

from cmi_bench.errors import UserError
from cmi_bench.models.base import EmbeddedInput
from cmi_bench.models.cmi_rm.head import JointHead
from cmi_bench.models.heads import Head, Widths, build_head

BUNDLES = ["sa_mean", "sa_conv", "sa_meanpool_mlp", "sa_none", "ca_glu"]
DIM = 32
WIDTHS = Widths(DIM, DIM, DIM, DIM)
NONE: frozenset = frozenset()


def make_head(backbone, seed: int = 0, **options) -> Head:
    return build_head({"_target_": f"{JointHead.__module__}.JointHead"} | options, WIDTHS, backbone=backbone, seed=seed)


def make_clips(seed: int = 0) -> list[EmbeddedInput]:
    """Full embeddings of clips: several lengths, two windows, with and without reference and lyrics."""
    generator = torch.Generator().manual_seed(seed)

    def draw(length: int) -> torch.Tensor:
        return torch.randn(length, DIM, generator=generator)

    return [
        EmbeddedInput([draw(50)], draw(4), draw(2), draw(30)),
        EmbeddedInput([draw(101), draw(37)], draw(9), draw(6), None),
        EmbeddedInput([draw(24)], draw(2), draw(2), draw(75)),
        EmbeddedInput([draw(3)], draw(2), draw(2), draw(2)),  # shorter than any downsampling
    ]


@pytest.mark.parametrize("name", BUNDLES)
def test_a_head_begins_with_the_scores_of_its_checkpoint(load, name):
    backbone, clips = load(name), make_clips()
    head = make_head(backbone).eval()
    with torch.no_grad():
        scores = head(pooled(backbone, clips)).numpy()
    np.testing.assert_allclose(scores, backbone.score_embedded(clips), atol=1e-6)


@pytest.mark.parametrize("name", ["sa_mean", "ca_glu"])
def test_scores_of_a_clip_do_not_depend_on_its_batch(load, name):
    backbone = load(name)
    head, clips = make_head(backbone).eval(), pooled(backbone, make_clips())
    dropped = [frozenset({"text"}), NONE, frozenset({"ref_audio", "lyrics"}), NONE]
    with torch.no_grad():
        together = head(clips, dropped)
        alone = torch.cat([head([clip], [drop]) for clip, drop in zip(clips, dropped, strict=True)])
        backwards = head(clips[::-1], dropped[::-1]).flip(0)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(together, backwards, rtol=0, atol=1e-5)


def test_null_embeddings_are_the_checkpoints_and_stand_for_what_is_dropped(load, bundle):
    backbone = load("sa_mean")
    stored = load_file(bundle / "sa_mean" / "model.safetensors")
    head = make_head(backbone).eval()
    for name, null in head.null_embeddings().items():
        assert torch.equal(null, stored[name]) and null.shape == (1, 10, DIM)
    clip = pooled(backbone, make_clips())[0]
    for part, name in {"text": "text", "lyrics": "lyrics", "ref_audio": "audio"}.items():
        by_hand = replace(clip, **{part: stored[f"null_{name}_embedding"][0]})
        with torch.no_grad():
            scores = head([clip, by_hand, clip], [frozenset({part}), NONE, NONE])
        torch.testing.assert_close(scores[0], scores[1], rtol=0, atol=1e-6)
        assert (scores[0] - scores[2]).abs().max() > 1e-4


def test_a_reference_that_a_clip_never_had_stays_absent_when_it_is_dropped(load):
    backbone = load("sa_mean")
    head, clip = make_head(backbone).eval(), pooled(backbone, make_clips())[1]
    with torch.no_grad():
        scores = head([clip, clip], [frozenset({"ref_audio"}), NONE])
    assert torch.equal(scores[0], scores[1])


@pytest.mark.parametrize("name", BUNDLES)
def test_every_tensor_learns_and_gradients_are_numbers(load, name):
    backbone = load(name)
    head, clips = make_head(backbone), pooled(backbone, make_clips())
    scores = head(clips, [frozenset({"text", "lyrics"}), NONE, frozenset({"ref_audio"}), NONE])
    (scores * torch.tensor([1.0, 2.0])).square().sum().backward()
    for parameter, one in head.named_parameters():
        assert one.grad is not None and one.grad.isfinite().all(), parameter
        assert one.grad.abs().sum() > 0, parameter
    untouched = backbone.loaded.network.scorer
    assert all(one.grad is None and not one.requires_grad for one in untouched.parameters())


def test_from_scratch_a_seed_gives_the_weights(load):
    backbone = load("sa_mean")
    first, again, other = (make_head(backbone, seed=seed, init="scratch").state_dict() for seed in (0, 0, 1))
    released = make_head(backbone).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    weights = "scorer.score_projector.1.weight"
    assert not torch.equal(first[weights], other[weights]) and not torch.equal(first[weights], released[weights])
    gamma = "scorer.joint_transformer.layers.0.0.norm.learned_gamma"
    assert torch.equal(first[gamma], torch.ones(DIM))
    assert 0.01 < first["nulls.text"].std() < 0.03


def test_a_head_is_made_again_from_its_settings_and_tensors(load):
    backbone = load("ca_glu")
    head, clips = make_head(backbone).eval(), pooled(backbone, make_clips())
    again = make_head(None, seed=5, **head.settings).eval()
    again.load_state_dict(head.state_dict())
    with torch.no_grad():
        assert torch.equal(again(clips), head(clips))


def test_wrong_use_is_told(load):
    with pytest.raises(UserError, match=r"no head\.init='chekpoint'"):
        make_head(load("sa_mean"), init="chekpoint")
    with pytest.raises(UserError, match="the model is NoneType"):
        make_head(None)
    with pytest.raises(UserError, match="Embeddings of text are 8 wide"):
        JointHead(Widths(DIM, 8, DIM, DIM), torch.Generator(), backbone=load("sa_mean"))
