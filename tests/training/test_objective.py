"""The objective by hand, in parts, and as the group `loss` describes it; what is said of a loss that cannot be."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from training_losses import loss_config, objective_of

from cmi_bench.errors import UserError
from cmi_bench.training.examples import Label, Outcome
from cmi_bench.training.losses import BradleyTerry, Davidson, FourWay, ListMLE, Ordinal, RaoKupper, TanhMSE
from cmi_bench.training.objective import Objective, PairLabels, RatingLabels, StepLabels
from cmi_bench.types import Aspect
from cmi_bench.utils.installation import conf_folder

A, B, TIE, BOTH_BAD = Outcome
MUSICALITY, ALIGNMENT = Aspect.MUSICALITY, Aspect.ALIGNMENT


def pairs(outcomes, weight=None):
    n = len(outcomes)
    places = torch.arange(2 * n)
    return PairLabels(places[::2], places[1::2], torch.tensor(outcomes), torch.tensor(weight or [1.0] * n))


def ratings(values, *, first=0, weight=None):
    n = len(values)
    places = torch.arange(first, first + n)
    return RatingLabels(places, torch.tensor(values), torch.tensor(weight or [1.0] * n), torch.zeros(n).long())


def scores(n, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def test_the_papers_loss_is_the_mean_of_both_aspects():
    head = scores(8)
    labels = StepLabels(
        {MUSICALITY: pairs([A, B, A, A]), ALIGNMENT: pairs([B, B, A, B])}, {}, {MUSICALITY: 4.0, ALIGNMENT: 4.0}
    )
    found = objective_of("bradley_terry")(head, labels)
    lead = head[::2] - head[1::2]
    target = torch.tensor([[0.1, 0.9], [0.1, 0.1], [0.9, 0.9], [0.1, 0.9]])
    expected = F.binary_cross_entropy_with_logits(lead, target)
    assert float(found.loss.detach()) == pytest.approx(float(expected.detach()))
    gradients = [torch.autograd.grad(one, head, retain_graph=True)[0] for one in (found.loss, expected)]
    assert torch.allclose(*gradients, atol=1e-7)


def test_pairs_and_ratings_are_one_mean_by_their_weights():
    head = scores(6)
    labels = StepLabels(
        {MUSICALITY: pairs([A, B], [0.5, 2.0])},
        {MUSICALITY: ratings([4.5, 2.0], first=4, weight=[1.0, 1.5])},
        {MUSICALITY: 5.0, ALIGNMENT: 0.0},
    )
    found = objective_of()(head, labels)
    score = head.detach()[:, 1]
    of_pairs = F.softplus(score[1] - score[0]) * 0.5 + F.softplus(score[2] - score[3]) * 2.0
    errors = (2 * torch.tanh(0.2 * score[4:]) + 3 - torch.tensor([4.5, 2.0])).square()
    of_ratings = errors @ torch.tensor([1.0, 1.5])
    assert float(found.loss.detach()) == pytest.approx(float((of_pairs + of_ratings) / 5.0 / 2.0))
    assert {name: (float(one.value), float(one.weight)) for name, one in found.parts.items()} == {
        "musicality/pairs": (pytest.approx(float(of_pairs)), 2.5),
        "musicality/nll": (pytest.approx(float(of_pairs)), 2.5),
        "musicality/ratings": (pytest.approx(float(of_ratings)), 2.5),
    }


def test_the_likelihood_knows_neither_smoothing_nor_margin_nor_centring():
    head = scores(4)
    labels = StepLabels({ALIGNMENT: pairs([A, B])}, {}, {ALIGNMENT: 2.0})
    objective = objective_of("bradley_terry", pairs={"margin": 0.5, "centre": 0.1})
    parts = objective(head, labels).parts
    score = head.detach()[:, 0]
    assert float(parts["alignment/nll"].value) == pytest.approx(
        float(F.softplus(score[1] - score[0]) + F.softplus(score[2] - score[3]))
    )
    assert float(parts["alignment/centre"].value) == pytest.approx(
        0.1 * float((score[0] + score[1]) ** 2 + (score[2] + score[3]) ** 2)
    )
    assert float(parts["alignment/pairs"].value) > float(parts["alignment/nll"].value)


@pytest.mark.parametrize("name", ["four_way", "ordinal"])
def test_parts_of_a_step_add_up_to_it(name):
    objective = objective_of(name)
    head = scores(8)
    total = {MUSICALITY: 6.0, ALIGNMENT: 4.0}
    whole = StepLabels(
        {MUSICALITY: pairs([A, B], [1.0, 3.0]), ALIGNMENT: pairs([A, B, A, B])},
        {MUSICALITY: ratings([2.25, 4.0], first=4)},
        total,
    )
    halves = [
        StepLabels({ALIGNMENT: pairs([A, B, A, B])}, {}, total),
        StepLabels({MUSICALITY: pairs([A, B], [1.0, 3.0])}, {MUSICALITY: ratings([2.25, 4.0], first=4)}, total),
    ]
    learnt = [head, *objective.parameters()]
    expected = torch.autograd.grad(objective(head, whole).loss, learnt)
    found = [torch.autograd.grad(objective(head, half).loss, learnt) for half in halves]
    for one, *parts in zip(expected, *found, strict=True):
        assert torch.allclose(one, sum(parts), atol=1e-6)


@pytest.mark.parametrize("name", ["rao_kupper", "four_way", "ordinal", "list_mle"])
def test_without_labels_everything_still_has_a_gradient_of_zeros(name):
    objective = objective_of(name)
    head = scores(4)
    value = objective(head, StepLabels({}, {}, {}))
    gradients = torch.autograd.grad(value.loss, [head, *objective.parameters()])
    assert all((one == 0).all() for one in gradients)
    assert not value.parts


def test_aspects_weigh_as_they_are_told():
    head = scores(4)
    labels = StepLabels({MUSICALITY: pairs([A, B]), ALIGNMENT: pairs([A, A])}, {}, {MUSICALITY: 2.0, ALIGNMENT: 2.0})
    apart = {
        aspect: float(objective_of(aspect_weights={other: 0.0})(head, labels).loss.detach())
        for aspect, other in ((MUSICALITY, "alignment"), (ALIGNMENT, "musicality"))
    }
    both = objective_of(aspect_weights={"musicality": 3.0})(head, labels).loss
    assert float(both.detach()) == pytest.approx(0.75 * apart[MUSICALITY] + 0.25 * apart[ALIGNMENT])


def test_labels_that_teach_nothing_are_not_used():
    plain = objective_of(aspect_weights={"alignment": 0.0})
    assert plain.uses(Label(MUSICALITY, A))
    assert plain.uses(Label(MUSICALITY, 3.5))
    assert not any(plain.uses(Label(MUSICALITY, one)) for one in (TIE, BOTH_BAD))
    assert not any(plain.uses(Label(ALIGNMENT, one)) for one in (A, 3.5))
    assert objective_of(pairs={"ties": "half"}).uses(Label(MUSICALITY, TIE))
    assert objective_of("four_way").uses(Label(ALIGNMENT, BOTH_BAD))
    assert not objective_of(ratings={"kind": None}).uses(Label(MUSICALITY, 3.5))
    assert not objective_of(pairs={"kind": None}).uses(Label(MUSICALITY, A))


def test_a_source_weighs_what_it_is_given():
    objective = Objective(loss_config(source_weights={"musiceval": 0.5}), ["musiceval", "cmi-pref"])
    assert objective.weight(Label(MUSICALITY, 4.0, weight=0.6), "musiceval") == pytest.approx(0.3)
    assert objective.weight(Label(MUSICALITY, A), "cmi-pref") == 1.0


def test_a_weight_for_a_source_that_is_not_there_is_answered():
    with pytest.raises(UserError, match=r"'musicevall', and there are no rows of it\.\n.*Did you mean musiceval"):
        Objective(loss_config(source_weights={"musicevall": 0.5}), ["musiceval", "cmi-pref"])


@pytest.mark.parametrize(
    ("name", "pair_loss", "rating_loss"),
    [
        ("bradley_terry", BradleyTerry, TanhMSE),
        ("cmi_rm_stage2", BradleyTerry, TanhMSE),
        ("rao_kupper", RaoKupper, TanhMSE),
        ("davidson", Davidson, TanhMSE),
        ("four_way", FourWay, TanhMSE),
        ("ordinal", BradleyTerry, Ordinal),
        ("list_mle", BradleyTerry, ListMLE),
    ],
)
def test_each_file_of_the_group_is_the_loss_of_its_name(name, pair_loss, rating_loss):
    config = loss_config(name)
    assert config.name == name
    objective = Objective(config)
    for aspect in Aspect:
        assert type(objective.pairs[aspect]) is pair_loss
        assert type(objective.ratings[aspect]) is rating_loss


def test_every_file_of_the_group_is_tested():
    names = {file.stem for file in (Path(conf_folder()) / "loss").glob("*.yaml")}
    assert names == {"bradley_terry", "cmi_rm_stage2", "rao_kupper", "davidson", "four_way", "ordinal", "list_mle"}


def test_another_kind_keeps_the_rest_of_a_file():
    objective = objective_of("bradley_terry", pairs={"kind": "davidson"})
    assert torch.allclose(objective.pairs["musicality"].targets[A], torch.tensor([0.8 + 0.2 / 3, 0.2 / 3, 0.2 / 3]))
    assert objective_of("ordinal", ratings={"steps": 9}).ratings["alignment"].steps == 9
    assert type(objective_of("ordinal", ratings={"kind": "tanh_mse"}).ratings["alignment"]) is TanhMSE
    assert not objective_of("bradley_terry", pairs={"kind": None}).pairs


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pairs": {"kind": "rao_kupper", "ties": "drop"}}, "loss.pairs.ties=drop is an option of bradley_terry"),
        ({"pairs": {"kind": None}, "ratings": {"kind": None}}, "nothing to learn from"),
        ({"ratings": {"steps": 9}}, "loss.ratings.steps=9 is an option of ordinal"),
        ({"aspect_weights": {"musicality": 0.0, "alignment": 0.0}}, "loss.aspect_weights are both 0"),
        ({"source_weights": {"pam": 0.0}}, "loss.source_weights.pam=0.0"),
        ({"source_weights": {"pam": float("nan")}}, "loss.source_weights.pam=nan"),
    ],
)
def test_losses_that_cannot_be_are_answered(settings, message):
    with pytest.raises(UserError) as found:
        loss_config(**settings)
    assert message in str(found.value)
    assert found.value.hint


def test_what_losses_learn_of_their_own_starts_from_the_labels():
    objective = objective_of("four_way", ratings={"kind": "ordinal"})
    objective.start_from(
        [
            *(Label(MUSICALITY, one) for one in [A] * 2 + [B] * 3 + [TIE] * 2 + [BOTH_BAD] * 3),
            *(Label(ALIGNMENT, one) for one in [1.0, 2.0, 3.0, 4.0, 5.0, 3.0, 3.0, 3.0]),
        ]
    )
    zero = torch.zeros(1)
    shares = objective.pairs["musicality"].log_probabilities(zero, zero)[0].exp()
    assert shares.tolist() == pytest.approx([0.25, 0.25, 0.2, 0.3], rel=1e-4)
    steps = objective.ratings["alignment"].log_probabilities(zero)[0].exp()
    assert steps.tolist() == pytest.approx([0.125, 0.125, 0.5, 0.125, 0.125], rel=1e-4)
