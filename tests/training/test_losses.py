"""Losses against torch's own formulas and against closed forms; gradients, extremes, and where losses start."""

import itertools
import math

import pytest
import torch
from torch.func import functional_call
from torch.nn import functional as F

from cmi_bench.training.examples import Outcome
from cmi_bench.training.losses import (
    BradleyTerry,
    Davidson,
    FourWay,
    ListMLE,
    Ordinal,
    RaoKupper,
    TanhMSE,
    centring_penalty,
)

PAIR_LOSSES = [BradleyTerry, RaoKupper, Davidson, FourWay]
RATING_LOSSES = [TanhMSE, Ordinal, ListMLE]
A, B, TIE, BOTH_BAD = Outcome
LARGE = 1e4


def scores(*, seed=0, spread=3.0, n=64):
    return spread * torch.randn(2, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def answers(loss, n=64):
    used = [int(outcome) for outcome in Outcome if loss.uses(outcome)]
    return torch.tensor(used).repeat(n)[:n]


def assert_close(one, other, tolerance=1e-12):
    assert torch.allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", PAIR_LOSSES)
def test_probabilities_sum_to_one(kind):
    total = kind().double().log_probabilities(*scores(spread=20.0)).logsumexp(dim=1)
    assert total.abs().max() < 1e-12


@pytest.mark.parametrize("kind", PAIR_LOSSES)
def test_a_tie_says_the_same_of_both_sides_and_a_swap_changes_nothing(kind):
    loss = kind(label_smoothing=0.1, margin=0.3).double()
    a, b = scores()
    forward, swapped = loss.log_probabilities(a, b), loss.log_probabilities(b, a)
    assert_close(forward[:, [1, 0, *range(2, len(loss.outcomes))]], swapped)
    answer = answers(loss)
    other_way = torch.tensor([B, A, TIE, BOTH_BAD])[answer]
    assert_close(loss(a, b, answer), loss(b, a, other_way))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_bradley_terry_is_torchs_cross_entropy_with_soft_targets(smoothing):
    a, b = scores()
    answer = torch.arange(64) % 3
    target = torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64)[answer]
    smooth = (1.0 - smoothing) * target + smoothing / 2.0
    loss = BradleyTerry(half_ties=True, label_smoothing=smoothing).double()
    assert_close(loss(a, b, answer), F.binary_cross_entropy_with_logits(a - b, smooth, reduction="none"), 1e-7)
    plain = F.binary_cross_entropy_with_logits(a - b, target, reduction="none")
    assert_close(loss.negative_log_likelihood(a, b, answer), plain)


def test_smoothing_of_a_fifth_makes_the_papers_targets():
    assert_close(BradleyTerry(label_smoothing=0.2).targets[[A, B]], torch.tensor([[0.9, 0.1], [0.1, 0.9]]), 1e-6)


@pytest.mark.parametrize("kind", PAIR_LOSSES)
def test_smoothing_is_torchs_over_the_outcomes_of_the_model(kind):
    loss = kind(label_smoothing=0.2).double()
    a, b = scores()
    logits = loss.log_probabilities(a, b)
    answer = torch.arange(64) % len(loss.outcomes)
    assert_close(loss(a, b, answer), F.cross_entropy(logits, answer, reduction="none", label_smoothing=0.2), 1e-7)


@pytest.mark.parametrize("kind", PAIR_LOSSES)
def test_a_margin_is_taken_from_the_preferred_clip(kind):
    loss, plain = kind(margin=0.7).double(), kind().double()
    a, b = scores()
    assert_close(loss(a, b, torch.full((64,), A)), plain(a - 0.7, b, torch.full((64,), A)))
    assert_close(loss(a, b, torch.full((64,), B)), plain(a, b - 0.7, torch.full((64,), B)))
    answer = answers(loss)
    assert_close(loss.negative_log_likelihood(a, b, answer), plain(a, b, answer))


def test_without_ties_the_others_are_bradley_and_terrys():
    a, b = scores()
    expected = BradleyTerry().log_probabilities(a, b)
    for loss in (RaoKupper(threshold=0.0), Davidson(nu=0.0)):
        found = loss.double().log_probabilities(a, b)
        assert_close(found[:, :2], expected)
        assert (found[:, 2] == -math.inf).all()


def test_rao_and_kuppers_form():
    a, b = scores(spread=1.0)
    p, q, theta = a.exp(), b.exp(), math.exp(0.8)
    tie = (theta**2 - 1) * p * q / ((p + theta * q) * (q + theta * p))
    expected = torch.stack((p / (p + theta * q), q / (q + theta * p), tie), dim=1)
    assert_close(RaoKupper(threshold=0.8).double().log_probabilities(a, b).exp(), expected, 1e-7)


def test_davidsons_form():
    a, b = scores(spread=1.0)
    p, q, nu = a.exp(), b.exp(), 0.6
    expected = torch.stack((p, q, nu * (p * q).sqrt()), dim=1) / (p + q + nu * (p * q).sqrt())[:, None]
    found = Davidson(nu=nu).double().log_probabilities(a, b)
    assert_close(found.exp(), expected, 1e-7)
    assert_close(found[:, :2].log_softmax(dim=1), BradleyTerry().log_probabilities(a, b))


def test_the_four_ways_form():
    a, b = scores(spread=1.0)
    p, q, theta, ground = a.exp(), b.exp(), math.exp(0.8), math.exp(-0.4)
    first, second = p / (p + theta * q + ground), q / (q + theta * p + ground)
    bad = ground / (p + q + ground)
    expected = torch.stack((first, second, 1.0 - first - second - bad, bad), dim=1)
    assert_close(FourWay(threshold=0.8, ground=-0.4).double().log_probabilities(a, b).exp(), expected, 1e-7)


def test_the_four_ways_limits():
    a, b = scores()
    without_ground = FourWay(threshold=0.8, ground=-math.inf).double().log_probabilities(a, b)
    assert_close(without_ground[:, :3], RaoKupper(threshold=0.8).double().log_probabilities(a, b))
    of_three = FourWay(threshold=0.0, ground=0.3).double().log_probabilities(a, b)
    rivals = torch.stack((a, b, torch.full_like(a, 0.3)), dim=1).log_softmax(dim=1)
    assert_close(of_three[:, [0, 1, 3]], rivals, 1e-7)
    assert FourWay().log_probabilities(torch.tensor([-20.0]), torch.tensor([-20.0]))[0, BOTH_BAD] > -1e-6


def test_what_bradley_terry_leaves_out_would_be_no_number():
    a, b = scores(n=2)
    assert not BradleyTerry().uses(TIE)
    assert BradleyTerry(half_ties=True).uses(BOTH_BAD)
    assert BradleyTerry()(a, b, torch.tensor([TIE, BOTH_BAD])).isnan().all()


@pytest.mark.parametrize("kind", [RaoKupper, Davidson])
def test_two_bad_clips_are_a_tie_to_models_of_three_outcomes(kind):
    loss = kind()
    a, b = scores()
    assert_close(loss(a, b, torch.full((64,), BOTH_BAD)), loss(a, b, torch.full((64,), TIE)))


def of_parameters(loss, *tensors):
    """The loss as a function of its parameters, for gradcheck."""
    names, values = zip(*loss.named_parameters(), strict=True) if list(loss.parameters()) else ((), ())

    def call(*inputs):
        given, parameters = inputs[: len(tensors)], inputs[len(tensors) :]
        return functional_call(loss, dict(zip(names, parameters, strict=True)), given)

    return call, (*tensors, *(value.detach().requires_grad_() for value in values))


@pytest.mark.slow  # torch's own check of gradients takes two seconds to import
@pytest.mark.parametrize("kind", PAIR_LOSSES)
def test_gradients_of_pairs(kind):
    loss = kind(label_smoothing=0.1, margin=0.2).double()
    a, b = (one.requires_grad_() for one in scores(n=8))
    call, inputs = of_parameters(loss, a, b, answers(loss, 8))
    assert torch.autograd.gradcheck(call, inputs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", RATING_LOSSES)
def test_gradients_of_ratings(kind):
    score = scores(n=8)[0].requires_grad_()
    rating = torch.tensor([1.0, 1.5, 2.0, 2.25, 3.0, 3.0, 4.75, 5.0], dtype=torch.float64)
    call, inputs = of_parameters(kind().double(), score, rating, torch.arange(8) // 4)
    assert torch.autograd.gradcheck(call, inputs)


@pytest.mark.parametrize("kind", PAIR_LOSSES)
def test_extreme_margins_have_finite_losses_and_gradients(kind):
    loss = kind(label_smoothing=0.2, margin=1.0)
    ends = list(itertools.product((-LARGE, 0.0, LARGE), repeat=2))
    answer = answers(loss, len(Outcome)).repeat_interleave(len(ends))
    a, b = (torch.tensor(ends * len(Outcome))[:, at].requires_grad_() for at in (0, 1))
    values = loss(a, b, answer) + centring_penalty(a, b)
    gradients = torch.autograd.grad(values.sum(), [a, b, *loss.parameters()])
    assert all(one.isfinite().all() for one in (values, *gradients))


@pytest.mark.parametrize("kind", RATING_LOSSES)
def test_extreme_scores_have_finite_losses_and_gradients(kind):
    score = torch.tensor([-LARGE, 0.0, LARGE] * 4).requires_grad_()
    rating = torch.tensor([1.0, 2.4, 3.0, 5.0]).repeat_interleave(3)
    loss = kind()
    values = loss(score, rating, torch.zeros(12, dtype=torch.int64))
    gradients = torch.autograd.grad(values.sum(), [score, *loss.parameters()])
    assert all(one.isfinite().all() for one in (values, *gradients))


def test_the_tanh_scale_is_the_papers():
    score, rating = scores()[0], torch.linspace(1, 5, 64, dtype=torch.float64)
    loss = TanhMSE().double()
    expected = F.mse_loss(2 * torch.tanh(0.2 * score) + 3, rating, reduction="none")
    assert_close(loss(score, rating, torch.zeros(64)), expected, 1e-7)
    assert loss.rating(torch.tensor([-1e3, 0.0, 1e3])).tolist() == pytest.approx([1, 3, 5])


@pytest.mark.parametrize("steps", [5, 9])
def test_steps_have_probabilities_that_sum_to_one(steps):
    found = Ordinal(steps=steps).double().log_probabilities(scores(spread=10.0)[0])
    assert found.shape == (64, steps)
    assert found.logsumexp(dim=1).abs().max() < 1e-12


def test_steps_are_those_of_the_cumulative_link():
    loss = Ordinal(steps=5).double()
    loss.start_from(torch.tensor([1.0, 2, 2, 3, 3, 3, 3, 4, 4, 5]))
    torch.nn.init.constant_(loss.log_scale, math.log(1.5))
    score = scores()[0]
    assert loss.thresholds.tolist() == pytest.approx([math.log(p / (1 - p)) for p in (0.1, 0.3, 0.7, 0.9)], rel=1e-6)
    below = torch.sigmoid(loss.thresholds - 1.5 * score[:, None])
    expected = F.pad(below, (0, 1), value=1.0) - F.pad(below, (1, 0), value=0.0)
    assert_close(loss.log_probabilities(score).exp(), expected, 1e-6)


def test_a_score_between_two_steps_is_both_in_shares():
    loss = Ordinal(steps=5).double().requires_grad_(False)
    score = torch.full((3,), 0.4, dtype=torch.float64)
    three, between, four = loss(score, torch.tensor([3.0, 3.25, 4.0], dtype=torch.float64), torch.zeros(3)).tolist()
    assert between == pytest.approx(0.75 * three + 0.25 * four)
    assert three == pytest.approx(-float(loss.log_probabilities(score)[0, 2]))


def test_the_likelihood_of_an_order_is_the_product_of_choices():
    score = scores(n=4)[0]
    loss = ListMLE()(score, torch.tensor([2.0, 5.0, 4.0, 1.0]), torch.zeros(4))
    order = score[[1, 2, 0, 3]]
    expected = -sum(F.log_softmax(order[place:], dim=0)[0] for place in range(4))
    assert float(loss.sum()) == pytest.approx(float(expected))


def test_lists_of_two_are_bradley_terry_without_ties():
    a, b = scores()
    answer = torch.arange(64) % 3
    rating_a, rating_b = (torch.tensor(one, dtype=torch.float64)[answer] for one in ([4.0, 2.0, 3.0], [2.0, 4.0, 3.0]))
    prompts = torch.arange(64)
    loss = ListMLE()(torch.cat((a, b)), torch.cat((rating_a, rating_b)), torch.cat((prompts, prompts)))
    found = loss[:64] + loss[64:]
    is_tie = answer == TIE
    assert_close(found[~is_tie], BradleyTerry()(a, b, answer)[~is_tie])
    assert (found[is_tie] == 0).all()


def test_clips_of_other_prompts_and_of_equal_rating_are_not_compared():
    score = torch.tensor([0.3, -1.0, 2.0, 5.0], dtype=torch.float64)
    rating, group = torch.tensor([4.0, 4.0, 2.0, 1.0]), torch.tensor([0, 0, 0, 1])
    expected = [math.log1p(math.exp(2.0 - 0.3)), math.log1p(math.exp(2.0 + 1.0)), 0.0, 0.0]
    assert ListMLE()(score, rating, group).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("shares", "bad"), [({TIE: 0.2, BOTH_BAD: 0.36}, 0.36), ({TIE: 0.05}, 0.01), ({BOTH_BAD: 0.9}, 0.9)]
)
def test_losses_start_from_the_shares_of_answers(shares, bad):
    zero = torch.zeros(1)
    tied = max(shares.get(TIE, 0.0) + shares.get(BOTH_BAD, 0.0), 0.01)
    for kind in (RaoKupper, Davidson):
        loss = kind()
        loss.start_from({A: 1.0 - tied, **shares})
        assert float(loss.log_probabilities(zero, zero)[0, TIE].detach().exp()) == pytest.approx(tied, rel=1e-5)
    loss = FourWay()
    loss.start_from({A: 1.0 - tied, **shares})
    found = loss.log_probabilities(zero, zero)[0].detach().exp()
    assert float(found[BOTH_BAD]) == pytest.approx(bad, rel=0.02)
    assert float(found[TIE]) == pytest.approx(max(shares.get(TIE, 0.0), 0.01), rel=0.02)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_losses_start_from_finite_numbers_where_all_or_no_answers_are_ties(share):
    for kind in (RaoKupper, Davidson, FourWay):
        loss = kind()
        loss.start_from({TIE: share, BOTH_BAD: 0.0, A: 1.0 - share})
        assert all(one.isfinite() for one in loss.parameters())


def test_steps_start_from_finite_thresholds_where_all_ratings_are_one():
    loss = Ordinal()
    loss.start_from(torch.tensor([3.0, 3.0]))
    assert loss.thresholds.isfinite().all()
    assert (loss.thresholds.diff() > 0).all()


def test_lists_of_any_length_are_as_if_each_were_alone():
    score, rating = scores(n=60)[0], torch.arange(60.0) * 7 % 5
    group = torch.arange(60) * 11 % 60 // 8
    found = ListMLE()(score, rating, group)
    for one in group.unique():
        rows = group == one
        assert_close(found[rows], ListMLE()(score[rows], rating[rows], torch.zeros(int(rows.sum()))))


@pytest.mark.parametrize("kind", PAIR_LOSSES)
def test_log_odds_are_those_of_a_preference_once_there_is_one(kind):
    loss = kind().double()
    a, b = scores()
    of_a, of_b = loss.log_probabilities(a, b)[:, :2].exp().T
    assert_close(torch.sigmoid(loss.log_odds(a, b)), of_a / (of_a + of_b))
    if kind in (BradleyTerry, Davidson):
        assert_close(loss.log_odds(a, b), a - b)


def test_the_centring_is_the_squared_sum():
    assert centring_penalty(torch.tensor([1.0, -2.0]), torch.tensor([2.0, 2.0])).tolist() == [9.0, 0.0]


@pytest.mark.parametrize("share", [0.6, 1.0])
def test_smoothed_labels_have_a_known_best_lead(share):
    """The best probability is (1 - smoothing) share + smoothing / 2: a finite lead of log 9 where A always wins."""
    smoothing = 0.2
    best = (1 - smoothing) * share + smoothing / 2
    lead = torch.tensor([math.log(best / (1 - best))], dtype=torch.float64, requires_grad=True)
    loss = BradleyTerry(label_smoothing=smoothing).double()
    zero = torch.zeros(1, dtype=torch.float64)
    mean = share * loss(lead, zero, torch.tensor([A])) + (1 - share) * loss(lead, zero, torch.tensor([B]))
    (slope,) = torch.autograd.grad(mean.sum(), lead)
    assert abs(float(slope)) < 1e-7
