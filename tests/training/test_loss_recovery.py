"""Simulated people are found again by each loss: the estimates lie within their standard errors, which are right.

Labels are drawn from a loss's own model with known strengths, tie rates and scales, as many as CMI-Pref and MusicEval
have. The least loss gives the estimates, and its curvature (the observed information) their standard errors.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.func import functional_call
from training_losses import objective_of

from cmi_bench.config import Clustering
from cmi_bench.evaluation.calibration import BradleyTerryFit, calibration
from cmi_bench.evaluation.clusters import NOBODY, clusters_of
from cmi_bench.evaluation.samples import DecidedPairs
from cmi_bench.training.losses import BradleyTerry, Davidson, FourWay, ListMLE, Ordinal, RaoKupper, TanhMSE
from cmi_bench.training.objective import PairLabels, RatingLabels, StepLabels
from cmi_bench.types import Aspect

PAIRS = 3527
"""Of CMI-Pref's training rows."""
RATINGS = 3120
"""The other rows of CMI-RM's second stage."""
SYSTEMS = 8
STRENGTHS = torch.linspace(0.0, 3.0, SYSTEMS, dtype=torch.float64)[torch.tensor([0, 5, 2, 7, 1, 4, 6, 3])]
"""The first one's, 0, is where strengths are measured from."""
NOISE = 0.6
"""Standard deviation of ratings around what scores mean."""
Values = Mapping[str, torch.Tensor]


class Estimate(NamedTuple):
    """Parameters in the order of their names, flat."""

    truth: torch.Tensor
    found: torch.Tensor
    error: torch.Tensor
    """Standard errors."""

    @property
    def z(self) -> torch.Tensor:
        return (self.found - self.truth) / self.error


def estimate(truth: Values, total: Callable[[Values], torch.Tensor]) -> Estimate:
    """Minimise minus a log-likelihood, from zeros on.

    Args:
        truth: Parameters by name.
        total: The likelihood, of such parameters.
    """
    true = torch.cat([one.reshape(-1) for one in truth.values()])

    def of_flat(flat: torch.Tensor) -> torch.Tensor:
        parts = torch.split(flat, [one.numel() for one in truth.values()])
        return total({name: part.reshape(truth[name].shape) for name, part in zip(truth, parts, strict=True)})

    def value_and_slope(point: np.ndarray) -> tuple[float, np.ndarray]:
        at = torch.from_numpy(point).requires_grad_()
        value = of_flat(at)
        (slope,) = torch.autograd.grad(value, at)
        return value.item(), slope.numpy()

    found = torch.from_numpy(minimize(value_and_slope, np.zeros(len(true)), jac=True, method="BFGS").x)
    curvature = torch.autograd.functional.hessian(of_flat, found)
    return Estimate(true, found, curvature.inverse().diagonal().sqrt())


def parameters(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: one.detach() for name, one in module.named_parameters()}


def learnt(values: Values) -> dict[str, torch.Tensor]:
    return {name: one for name, one in values.items() if name != "strengths"}


def strengths_of(values: Values) -> torch.Tensor:
    return torch.cat((values["strengths"].new_zeros(1), values["strengths"]))


def drawn(chances: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.multinomial(chances.detach(), 1, generator=generator)[:, 0]


def drawn_pairs(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    first = torch.randint(SYSTEMS, (PAIRS,), generator=generator)
    return first, (first + torch.randint(1, SYSTEMS, (PAIRS,), generator=generator)) % SYSTEMS


def from_pairs(loss: torch.nn.Module, seed: int) -> Estimate:
    """The systems' strengths, and what the loss learns of its own."""
    loss, generator = loss.double(), torch.Generator().manual_seed(seed)
    a, b = drawn_pairs(generator)
    answer = drawn(loss.log_probabilities(STRENGTHS[a], STRENGTHS[b]).exp(), generator)

    def total(values: Values) -> torch.Tensor:
        strengths = strengths_of(values)
        return functional_call(loss, learnt(values), (strengths[a], strengths[b], answer)).sum()

    return estimate({"strengths": STRENGTHS[1:], **parameters(loss)}, total)


def ordinal_loss() -> Ordinal:
    loss = Ordinal()
    loss.start_from(torch.tensor([1.0, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5]))
    with torch.no_grad():
        loss.first_threshold += STRENGTHS.mean()
    return loss.double()


def ordinal_strengths(seed: int) -> Estimate:
    """The systems' strengths and the thresholds; strengths that are free fix the scale, which stays at 1."""
    loss, generator = ordinal_loss(), torch.Generator().manual_seed(seed)
    system = torch.randint(SYSTEMS, (RATINGS,), generator=generator)
    rating = 1.0 + drawn(loss.log_probabilities(STRENGTHS[system]).exp(), generator)

    def total(values: Values) -> torch.Tensor:
        given = {"log_scale": loss.log_scale, **learnt(values)}
        return functional_call(loss, given, (strengths_of(values)[system], rating, system)).sum()

    free = {name: one for name, one in parameters(loss).items() if name != "log_scale"}
    return estimate({"strengths": STRENGTHS[1:], **free}, total)


def ordinal_scale(seed: int) -> Estimate:
    """The scale and the thresholds, of known scores."""
    loss, generator = ordinal_loss(), torch.Generator().manual_seed(seed)
    loss.log_scale.data.fill_(0.4)
    score = 1.5 + torch.randn(RATINGS, generator=generator, dtype=torch.float64)
    rating = 1.0 + drawn(loss.log_probabilities(score).exp(), generator)
    return estimate(parameters(loss), lambda values: functional_call(loss, values, (score, rating, score)).sum())


def tanh_scale(seed: int) -> Estimate:
    """Scale and shift, of known scores and known noise."""
    loss, generator = TanhMSE(scale=0.35, shift=-0.2).double(), torch.Generator().manual_seed(seed)
    score = 1.0 + 2.0 * torch.randn(RATINGS, generator=generator, dtype=torch.float64)
    rating = loss.rating(score).detach() + NOISE * torch.randn(RATINGS, generator=generator)

    def total(values: Values) -> torch.Tensor:
        return functional_call(loss, values, (score, rating, score)).sum() / (2.0 * NOISE**2)

    return estimate(parameters(loss), total)


def orders(seed: int) -> Estimate:
    """The systems' strengths, of lists of six by Plackett and Luce: strengths with Gumbel noise, in order."""
    loss, generator = ListMLE(), torch.Generator().manual_seed(seed)
    prompts = RATINGS // 6
    system = torch.rand(prompts, SYSTEMS, generator=generator).argsort(dim=1)[:, :6].reshape(-1)
    uniform = torch.rand(len(system), generator=generator, dtype=torch.float64)
    rating = STRENGTHS[system] - (-uniform.log()).log()
    prompt = torch.arange(prompts).repeat_interleave(6)
    return estimate(
        {"strengths": STRENGTHS[1:]}, lambda values: loss(strengths_of(values)[system], rating, prompt).sum()
    )


def second_stage(seed: int) -> Estimate:
    """Strengths, scale and shift, of preferences and ratings together as CMI-RM's second stage has them.

    With the weight 1 / (2 noise^2) the squared error is the likelihood of ratings with normal noise.
    """
    objective, generator = objective_of("cmi_rm_stage2", aspect_weights={"alignment": 0.0}).double(), torch.Generator()
    generator.manual_seed(seed)
    loss = objective.ratings[Aspect.MUSICALITY]
    a, b = drawn_pairs(generator)
    outcome = drawn(BradleyTerry().log_probabilities(STRENGTHS[a], STRENGTHS[b]).exp(), generator)
    system = torch.randint(SYSTEMS, (RATINGS,), generator=generator)
    rating = loss.rating(STRENGTHS[system]).detach() + NOISE * torch.randn(RATINGS, generator=generator)
    weight = torch.full((RATINGS,), 1.0 / (2.0 * NOISE**2), dtype=torch.float64)
    labels = StepLabels(
        {Aspect.MUSICALITY: PairLabels(a, b, outcome, torch.ones(PAIRS, dtype=torch.float64))},
        {Aspect.MUSICALITY: RatingLabels(system, rating, weight, system)},
        {Aspect.MUSICALITY: 1.0},
    )

    def total(values: Values) -> torch.Tensor:
        score = strengths_of(values)
        scores = torch.stack((torch.zeros_like(score), score), dim=1)
        return functional_call(objective, learnt(values), (scores, labels)).loss

    return estimate({"strengths": STRENGTHS[1:], **parameters(objective)}, total)


SIMULATIONS: dict[str, Callable[[int], Estimate]] = {
    "bradley_terry": lambda seed: from_pairs(BradleyTerry(), seed),
    "rao_kupper": lambda seed: from_pairs(RaoKupper(threshold=0.7), seed),
    "davidson": lambda seed: from_pairs(Davidson(nu=0.6), seed),
    "four_way": lambda seed: from_pairs(FourWay(threshold=0.6, ground=1.0), seed),
    "ordinal strengths": ordinal_strengths,
    "ordinal scale": ordinal_scale,
    "tanh scale": tanh_scale,
    "list_mle": orders,
    "second stage": second_stage,
}
SLOWER = ("ordinal strengths", "second stage")
"""More than the quick tests have time for; the slow one looks at all."""


@pytest.mark.parametrize("name", [name for name in SIMULATIONS if name not in SLOWER])
def test_parameters_are_found_within_their_standard_errors(name):
    found = SIMULATIONS[name](1)
    assert found.z.abs().max() < 3.0
    assert (found.error < 0.2).all()


@pytest.mark.parametrize("loss", [RaoKupper(threshold=1.0), FourWay(threshold=1.0, ground=2.0)])
def test_log_odds_are_promises_that_are_kept_where_differences_of_scores_are_not(loss):
    generator = torch.Generator().manual_seed(3)
    a, b = 1.5 * torch.randn(2, 6000, generator=generator)
    answer = drawn(loss.log_probabilities(a, b).exp(), generator)
    sign = torch.tensor([1, -1, 0, 0])[answer]

    def slope(log_odds: torch.Tensor) -> BradleyTerryFit:
        lead = (sign * log_odds.detach())[sign != 0].double().numpy()
        clusters = clusters_of(np.arange(lead.size), np.full((lead.size, 2), NOBODY), Clustering.prompt)
        return calibration(DecidedPairs(np.arange(lead.size), lead, np.zeros_like(lead), clusters)).slope

    kept, broken = slope(loss.log_odds(a, b)), slope(a - b)
    assert kept.ci_low < 1.0 < kept.ci_high
    assert broken.ci_low > 1.0


@pytest.mark.slow
@pytest.mark.parametrize("name", SIMULATIONS)
def test_standard_errors_are_right(name):
    """95 % intervals hold the truth 95 % of the time, as far as 80 simulations tell, and estimates lean no way."""
    z = torch.stack([SIMULATIONS[name](seed).z for seed in range(80)])
    covered = (z.abs() < 1.96).double().mean(dim=0)
    assert 0.91 < float(covered.mean()) < 0.985
    assert float(covered.min()) > 0.87
    assert z.mean(dim=0).abs().max() < 0.35
