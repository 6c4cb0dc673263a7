"""Losses over the scores of one aspect: how people choose between two clips, and how they rate one.

Each loss gives one number for each row, which `training.objective` weighs and adds up. What a loss learns of its own
(how often people call a tie, how scores become ratings) is its parameter, and no part of the trained head.

Scores are log-strengths: by every loss on pairs without ties and by `Ordinal`, a lead of 1 raises the odds by e.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.training.examples import Outcome

LOWEST_RATING, HIGHEST_RATING = 1.0, 5.0
"""Labels are on this scale, whatever scale people used."""
RAREST = 0.01
"""Share that a loss starts from for an answer which is rarer among the labels, or not there."""


class PairLoss(nn.Module, ABC):
    """A model of how people choose between two clips, by their scores a and b.

    Args:
        label_smoothing: Share of each target that is spread evenly over the outcomes of the model (Szegedy et al.,
            "Rethinking the Inception architecture", CVPR 2016); of two outcomes, .2 makes targets of .9 and .1.
        margin: What is taken from the preferred clip's score before the likelihood is (Touvron et al., "Llama 2",
            2023, equation 2, with one margin for all rows).
    """

    outcomes: tuple[Outcome, ...]
    """What the model gives probabilities of, in the order of `log_probabilities`."""
    read_as: Mapping[Outcome, Sequence[Outcome]]
    """What an answer counts as: the outcome itself, another, or each of several with the same share. Answers that are
    not in it teach the model nothing."""

    def __init__(self, *, label_smoothing: float = 0.0, margin: float = 0.0) -> None:
        super().__init__()
        self.margin = margin
        observed = torch.full((len(Outcome), len(self.outcomes)), math.nan)
        for answer, meanings in self.read_as.items():
            observed[answer] = torch.tensor([meanings.count(outcome) / len(meanings) for outcome in self.outcomes])
        self.observed: Tensor
        """[answer, outcome] shares; NaN for answers that teach nothing."""
        self.targets: Tensor
        """`observed`, smoothed."""
        self.register_buffer("observed", observed, persistent=False)
        smoothed = (1.0 - label_smoothing) * observed + label_smoothing / len(self.outcomes)
        self.register_buffer("targets", smoothed, persistent=False)

    @abstractmethod
    def log_probabilities(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the logarithms of the outcomes' probabilities.

        Args:
            a: [P] scores of clips A.
            b: [P] scores of clips B.

        Returns:
            [P, outcomes]; the probabilities of a row sum to one.
        """

    def uses(self, answer: Outcome) -> bool:
        """Tell whether an answer teaches the model anything."""
        return answer in self.read_as

    def forward(self, a: Tensor, b: Tensor, answer: Tensor) -> Tensor:
        """Return the losses.

        Args:
            a: [P] scores of clips A.
            b: [P] scores of clips B.
            answer: [P] `Outcome`s as numbers.

        Returns:
            [P] cross entropy of the smoothed targets, with the margin; NaN for an answer that the loss does not use.
        """
        a_lead, b_lead = (self.margin * (answer == preferred).to(a.dtype) for preferred in (Outcome.A, Outcome.B))
        return _cross_entropy(self.targets[answer], self.log_probabilities(a - a_lead, b - b_lead))

    def negative_log_likelihood(self, a: Tensor, b: Tensor, answer: Tensor) -> Tensor:
        """Return [P] minus the log-likelihood of what people said: the loss with neither smoothing nor margin."""
        return _cross_entropy(self.observed[answer], self.log_probabilities(a, b))

    def log_odds(self, a: Tensor, b: Tensor) -> Tensor:
        """Return [P] log-odds that A is preferred, given that one of the two is."""
        log_probabilities = self.log_probabilities(a, b)
        return (
            log_probabilities[:, self.outcomes.index(Outcome.A)] - log_probabilities[:, self.outcomes.index(Outcome.B)]
        )

    def start_from(self, shares: Mapping[Outcome, float]) -> None:
        """Set what the loss learns of its own such that two clips of score 0 get these shares of answers.

        Args:
            shares: How often each answer is among the labels; nothing of an answer that never is.
        """


def _cross_entropy(target: Tensor, log_probabilities: Tensor) -> Tensor:
    return -(target * log_probabilities).sum(dim=-1)


def centring_penalty(a: Tensor, b: Tensor) -> Tensor:
    """Return [P] (a + b)^2, which keeps the scores' mean near zero, where a difference of scores says nothing of it.

    J. Eisenstein et al., "Helping or herding? Reward model ensembles mitigate but do not eliminate reward hacking"
    (COLM 2024), section 2.
    """
    return (a + b).square()


class BradleyTerry(PairLoss):
    """P(A) = sigmoid(a - b), without ties.

    R. A. Bradley and M. E. Terry, "Rank analysis of incomplete block designs" (Biometrika 39, 1952).

    Args:
        half_ties: Whether a tie, and two bad clips, count as half a preference for either; otherwise they teach
            nothing.
        label_smoothing: As of `PairLoss`.
        margin: As of `PairLoss`.
    """

    outcomes = (Outcome.A, Outcome.B)
    read_as: Mapping[Outcome, Sequence[Outcome]] = {Outcome.A: (Outcome.A,), Outcome.B: (Outcome.B,)}

    def __init__(self, *, half_ties: bool = False, label_smoothing: float = 0.0, margin: float = 0.0) -> None:
        if half_ties:
            self.read_as = {**self.read_as, Outcome.TIE: self.outcomes, Outcome.BOTH_BAD: self.outcomes}
        super().__init__(label_smoothing=label_smoothing, margin=margin)

    def log_probabilities(self, a: Tensor, b: Tensor) -> Tensor:  # noqa: D102
        lead = a - b
        return torch.stack((F.logsigmoid(lead), F.logsigmoid(-lead)), dim=-1)


class _ThreeWay(PairLoss):
    """A, B or a tie; two bad clips are a tie as well."""

    outcomes = (Outcome.A, Outcome.B, Outcome.TIE)
    read_as: Mapping[Outcome, Sequence[Outcome]] = {
        Outcome.A: (Outcome.A,),
        Outcome.B: (Outcome.B,),
        Outcome.TIE: (Outcome.TIE,),
        Outcome.BOTH_BAD: (Outcome.TIE,),
    }

    @staticmethod
    def share_of_ties(shares: Mapping[Outcome, float]) -> float:
        """Return how often an answer counts as a tie, such that there is always a model in which it does."""
        return _at_least_rarest(shares.get(Outcome.TIE, 0.0) + shares.get(Outcome.BOTH_BAD, 0.0))


class RaoKupper(_ThreeWay):
    """P(A) = sigmoid(a - b - threshold): who leads by less than about the threshold is not preferred; it is learnt.

    P. V. Rao and L. L. Kupper, "Ties in paired-comparison experiments: a generalization of the Bradley-Terry model"
    (JASA 62, 1967); their theta is exp(threshold). Without a threshold it is Bradley and Terry's model.

    Args:
        threshold: At the start; 0 for no ties at all.
        label_smoothing: As of `PairLoss`.
        margin: As of `PairLoss`.
    """

    def __init__(self, *, threshold: float = 1.0, label_smoothing: float = 0.0, margin: float = 0.0) -> None:
        super().__init__(label_smoothing=label_smoothing, margin=margin)
        self.log_threshold = nn.Parameter(torch.tensor(threshold).log())

    def log_probabilities(self, a: Tensor, b: Tensor) -> Tensor:  # noqa: D102
        lead, threshold = a - b, self.log_threshold.exp()
        log_a, log_b = F.logsigmoid(lead - threshold), F.logsigmoid(-lead - threshold)
        # 1 - P(A) - P(B) = (exp(2 threshold) - 1) P(A) P(B)
        return torch.stack((log_a, log_b, _log_expm1(2.0 * threshold) + log_a + log_b), dim=-1)

    @torch.no_grad()
    def start_from(self, shares: Mapping[Outcome, float]) -> None:  # noqa: D102
        self.log_threshold.fill_(math.log(2.0 * math.atanh(self.share_of_ties(shares))))


class Davidson(_ThreeWay):
    """P(A) : P(B) : P(tie) = exp(a) : exp(b) : nu exp((a + b) / 2), with nu learnt.

    R. R. Davidson, "On extending the Bradley-Terry model to accommodate ties in paired comparison experiments" (JASA
    65, 1970). Among pairs with a preference it is Bradley and Terry's model, whatever nu.

    Args:
        nu: At the start; 0 for no ties at all.
        label_smoothing: As of `PairLoss`.
        margin: As of `PairLoss`.
    """

    def __init__(self, *, nu: float = 1.0, label_smoothing: float = 0.0, margin: float = 0.0) -> None:
        super().__init__(label_smoothing=label_smoothing, margin=margin)
        self.log_nu = nn.Parameter(torch.tensor(nu).log())

    def log_probabilities(self, a: Tensor, b: Tensor) -> Tensor:  # noqa: D102
        half = (a - b) / 2.0
        return torch.stack((half, -half, self.log_nu.expand_as(half)), dim=-1).log_softmax(dim=-1)

    @torch.no_grad()
    def start_from(self, shares: Mapping[Outcome, float]) -> None:  # noqa: D102
        tied = self.share_of_ties(shares)
        self.log_nu.fill_(math.log(2.0 * tied / (1.0 - tied)))


class FourWay(PairLoss):
    """Rao and Kupper's model with a ground g, a third rival whose strength is learnt: if it wins, both clips are bad.

    With strengths p = exp(a), q = exp(b) and theta = exp(threshold):
    P(A) = p / (p + theta q + g), P(B) = q / (q + theta p + g), P(both bad) = g / (p + q + g), and what is left is
    P(tie) = (theta - 1) p q / (p + q + g) * (1 / (p + theta q + g) + 1 / (q + theta p + g)), which is never negative.
    Without a ground it is Rao and Kupper's model; where both clips are far below the ground, both are bad.

    E. Frick et al., "Prompt-to-leaderboard" (arXiv 2502.14855), the grounded Rao-Kupper model, where g is 1 and the
    strengths are free to move. Here g is learnt, as other losses and the centring may hold the scores where they are.

    Args:
        threshold: At the start; 0 for no ties at all.
        ground: log g at the start.
        label_smoothing: As of `PairLoss`.
        margin: As of `PairLoss`.
    """

    outcomes = (Outcome.A, Outcome.B, Outcome.TIE, Outcome.BOTH_BAD)
    read_as: Mapping[Outcome, Sequence[Outcome]] = {outcome: (outcome,) for outcome in Outcome}

    def __init__(
        self, *, threshold: float = 1.0, ground: float = 0.0, label_smoothing: float = 0.0, margin: float = 0.0
    ) -> None:
        super().__init__(label_smoothing=label_smoothing, margin=margin)
        self.log_threshold = nn.Parameter(torch.tensor(threshold).log())
        self.ground = nn.Parameter(torch.tensor(ground))

    def log_probabilities(self, a: Tensor, b: Tensor) -> Tensor:  # noqa: D102
        threshold, ground = self.log_threshold.exp(), self.ground.expand_as(a)
        rivals = _log_sum(a, b, ground)
        rivals_of_a, rivals_of_b = _log_sum(a, b + threshold, ground), _log_sum(b, a + threshold, ground)
        tie = _log_expm1(threshold) + a + b - rivals + torch.logaddexp(-rivals_of_a, -rivals_of_b)
        return torch.stack((a - rivals_of_a, b - rivals_of_b, tie, ground - rivals), dim=-1)

    @torch.no_grad()
    def start_from(self, shares: Mapping[Outcome, float]) -> None:  # noqa: D102
        tied, bad = (_at_least_rarest(shares.get(outcome, 0.0)) for outcome in (Outcome.TIE, Outcome.BOTH_BAD))
        preferred = max(1.0 - tied - bad, RAREST)
        tied, bad = tied / (tied + bad + preferred), bad / (tied + bad + preferred)
        ground = 2.0 * bad / (1.0 - bad)
        self.ground.fill_(math.log(ground))
        self.log_threshold.fill_(math.log(math.log(2.0 / (1.0 - tied - bad) - 1.0 - ground)))


def _log_sum(*logarithms: Tensor) -> Tensor:
    return torch.stack(logarithms).logsumexp(dim=0)


def _log_expm1(x: Tensor) -> Tensor:
    """Return log(exp(x) - 1) for x >= 0."""
    return x + (-torch.expm1(-x)).log()


def _at_least_rarest(share: float) -> float:
    return min(max(share, RAREST), 1.0 - RAREST)


class RatingLoss(nn.Module, ABC):
    """How far clips' scores are from their ratings."""

    @abstractmethod
    def forward(self, score: Tensor, rating: Tensor, group: Tensor) -> Tensor:
        """Return the losses.

        Args:
            score: [R].
            rating: [R] from 1 to 5.
            group: [R] the same number for clips that are compared with each other: those of one prompt.

        Returns:
            [R].
        """

    def start_from(self, ratings: Tensor) -> None:
        """Set what the loss learns of its own such that clips of score 0 get ratings like these [N]."""


class TanhMSE(RatingLoss):
    """Squared error of 2 tanh(scale * score + shift) + 3, CMI-RM's loss on ratings (arXiv 2603.00610).

    Scale and shift are learnt; the scale stays positive, so that a higher score is a higher rating.

    Args:
        scale: At the start; the paper's.
        shift: At the start; the paper's.
    """

    def __init__(self, *, scale: float = 0.2, shift: float = 0.0) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(scale).log())
        self.shift = nn.Parameter(torch.tensor(shift))

    def rating(self, score: Tensor) -> Tensor:
        """Return the ratings that scores mean, between 1 and 5."""
        middle, reach = (LOWEST_RATING + HIGHEST_RATING) / 2.0, (HIGHEST_RATING - LOWEST_RATING) / 2.0
        return reach * torch.tanh(self.log_scale.exp() * score + self.shift) + middle

    def forward(self, score: Tensor, rating: Tensor, group: Tensor) -> Tensor:  # noqa: D102
        return (self.rating(score) - rating).square()


class Ordinal(RatingLoss):
    """P(rating <= step k) = sigmoid(threshold k - scale * score), the cumulative link model with a logit link.

    P. McCullagh, "Regression models for ordinal data" (JRSS B 42, 1980). Thresholds, in rising order, and the scale,
    which is positive, are learnt. A mean opinion score between two steps counts as both, in such shares that their
    mean is the score: 3.25 is three quarters of a 3 and one quarter of a 4.

    Args:
        steps: How many there are, evenly from 1 to 5: 5 for whole points, 9 for half ones.
    """

    def __init__(self, *, steps: int = 5) -> None:
        super().__init__()
        self.steps = steps
        thresholds = _logits(torch.arange(1, steps) / steps)
        self.log_scale = nn.Parameter(torch.tensor(0.0))
        self.first_threshold = nn.Parameter(thresholds[0])
        self.log_gaps = nn.Parameter(thresholds.diff().log())

    @property
    def thresholds(self) -> Tensor:
        """[steps - 1], rising."""
        return torch.cat((self.first_threshold[None], self.first_threshold + self.log_gaps.exp().cumsum(dim=0)))

    def log_probabilities(self, score: Tensor) -> Tensor:
        """Return [R, steps] logarithms of the probabilities of the steps, which sum to one."""
        below = self.thresholds - self.log_scale.exp() * score[:, None]
        log_below, log_above = F.logsigmoid(below), F.logsigmoid(-below)
        # sigmoid(u) - sigmoid(v) = sigmoid(u) sigmoid(-v) (1 - exp(v - u))
        between = log_below[:, 1:] + log_above[:, :-1] + (-torch.expm1(-self.log_gaps.exp())).log()
        return torch.cat((log_below[:, :1], between, log_above[:, -1:]), dim=1)

    def forward(self, score: Tensor, rating: Tensor, group: Tensor) -> Tensor:  # noqa: D102
        place = self._place(rating)
        lower = place.floor().clamp(0, self.steps - 2)
        upper_share = place - lower
        of_lower, of_upper = (
            self.log_probabilities(score).gather(1, step.long()[:, None])[:, 0] for step in (lower, lower + 1)
        )
        return -((1.0 - upper_share) * of_lower + upper_share * of_upper)

    def _place(self, rating: Tensor) -> Tensor:
        """Return where ratings are among the steps, which count from 0."""
        return (rating - LOWEST_RATING) / (HIGHEST_RATING - LOWEST_RATING) * (self.steps - 1)

    @torch.no_grad()
    def start_from(self, ratings: Tensor) -> None:  # noqa: D102
        away = (self._place(ratings)[:, None] - torch.arange(self.steps)).abs()
        shares = (1.0 - away).clamp(min=0.0).mean(dim=0).clamp(min=RAREST)
        thresholds = _logits((shares / shares.sum()).cumsum(dim=0)[:-1])
        self.first_threshold.copy_(thresholds[0])
        self.log_gaps.copy_(thresholds.diff().log())


def _logits(share: Tensor) -> Tensor:
    return share.log() - (1.0 - share).log()


class ListMLE(RatingLoss):
    """The likelihood of the order that people's ratings give the clips of one prompt; what else they say is not used.

    F. Xia et al., "Listwise approach to learning to rank" (ICML 2008), on the model of Plackett and Luce: the best
    clip wins among all, the next among the rest, and so on. A clip's loss is minus the log-probability that it wins
    among itself and those rated lower. Clips of equal rating are not compared with each other; of two clips it is
    Bradley and Terry's model with ties dropped.
    """

    def forward(self, score: Tensor, rating: Tensor, group: Tensor) -> Tensor:  # noqa: D102
        _, lists, sizes = group.unique(return_inverse=True, return_counts=True)
        order = lists.argsort(stable=True)
        place = torch.arange(len(score), device=score.device) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
        at = lists[order], place
        shape = len(sizes), int(sizes.max()) if len(sizes) else 0
        # [lists, longest list]; what fills a list up is rated above all, and so no clip's rival.
        scores = score.new_zeros(shape).index_put(at, score[order])
        ratings = rating.new_full(shape, math.inf).index_put(at, rating[order])
        is_rival = ratings[:, :, None] > ratings[:, None, :]
        itself = torch.eye(shape[1], dtype=torch.bool, device=score.device)
        rivals = scores[:, None, :].masked_fill(~(is_rival | itself), -math.inf).logsumexp(dim=2)
        return torch.empty_like(score).index_put((order,), rivals[at]) - score
