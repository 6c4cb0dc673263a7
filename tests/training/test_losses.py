"""Losses against torch's own formulas and closed forms."""

import pytest
import torch
from torch.nn import functional as F

from cmi_bench.training.examples import Outcome
from cmi_bench.training.losses import BradleyTerry, Davidson, FourWay, RaoKupper

PAIR_LOSSES = [BradleyTerry, RaoKupper, Davidson, FourWay]
A, B, TIE, BOTH_BAD = Outcome


def scores(n=64, *, seed=0, spread=3.0):
    return spread * torch.randn(2, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", PAIR_LOSSES)
def test_probabilities_sum_to_one(kind):
    total = kind().double().log_probabilities(*scores(spread=20.0)).logsumexp(dim=1)
    assert total.abs().max() < 1e-12


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_bradley_terry_is_torchs_cross_entropy_with_soft_targets(smoothing):
    a, b = scores()
    answer = torch.arange(64) % 2
    target = (1.0 - smoothing) * (answer == A).double() + smoothing / 2.0
    expected = F.binary_cross_entropy_with_logits(a - b, target, reduction="none")
    assert BradleyTerry(label_smoothing=smoothing)(a, b, answer) == pytest.approx(expected)
