"""What a training step minimises: the losses of all labels, weighted by source and aspect, as one number."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.models.base import COLUMN_OF
from cmi_bench.training.examples import Label, Outcome
from cmi_bench.training.losses import (
    BradleyTerry,
    Davidson,
    FourWay,
    ListMLE,
    Ordinal,
    PairLoss,
    RaoKupper,
    RatingLoss,
    TanhMSE,
    centring_penalty,
)
from cmi_bench.training_config import (
    LossConfig,
    PairLossConfig,
    PairLossKind,
    RatingLossConfig,
    RatingLossKind,
    Ties,
)
from cmi_bench.types import Aspect


class PairLabels(NamedTuple):
    """Preferences; P of them."""

    a: Tensor
    """[P] int64, places of clips A among the step's clips."""
    b: Tensor
    """[P] int64, places of clips B."""
    outcome: Tensor
    """[P] int64, `Outcome`s."""
    weight: Tensor
    """[P] float32, as `Objective.weight` gives them."""


class RatingLabels(NamedTuple):
    """Ratings; R of them."""

    clip: Tensor
    """[R] int64, places among the step's clips."""
    value: Tensor
    """[R] float32, from 1 to 5."""
    weight: Tensor
    """[R] float32, as `Objective.weight` gives them."""
    group: Tensor
    """[R] int64, the same for clips of one prompt."""


class StepLabels(NamedTuple):
    """The labels of the clips that are scored together: those of a step, or a part of them."""

    pairs: Mapping[Aspect, PairLabels]
    """Aspects without one may be left out; likewise the following."""
    ratings: Mapping[Aspect, RatingLabels]
    total: Mapping[Aspect, float]
    """The weight of all labels of the whole step, which the sum of losses is divided by; so that a step's gradient is
    the same however many parts and processes share it."""


class WeightedSum(NamedTuple):
    """A sum that can be added to those of other parts and processes before the mean is taken."""

    value: Tensor
    """[] sum of weight times loss."""
    weight: Tensor
    """[] sum of weights."""


class ObjectiveValue(NamedTuple):
    """What a step's part adds to the objective."""

    loss: Tensor
    """[] to be minimised; over all parts of a step, the sum."""
    parts: Mapping[str, WeightedSum]
    """What it is made of, without gradients, where there are labels: ASPECT/pairs, ASPECT/centre, ASPECT/ratings; and
    ASPECT/nll, the negative log-likelihood of the preferences (without smoothing, margin and centring), which is not
    part of the loss."""


class Objective(nn.Module):
    """The mean loss of each aspect's labels by their weights, and of that the mean by the aspects' weights.

    With equal weights this is CMI-RM's L = (L_musicality + L_alignment) / 2 (arXiv 2603.00610). What the losses learn
    of their own is learnt for each aspect apart; it is the objective's parameters, to be optimised with the learning
    rate `loss.lr` and without weight decay.

    Args:
        config: The group `loss`.
        sources: The sources there are, to check the names of weights against; None takes any name.

    Raises:
        UserError: A weight is given to a source that there is not.
    """

    def __init__(self, config: LossConfig, sources: Collection[str] | None = None) -> None:
        super().__init__()
        for source in config.source_weights:
            if sources is not None and source not in sources:
                raise UserError(
                    f"loss.source_weights names {source!r}, and there are no rows of it.",
                    did_you_mean(source, sources),
                )
        self.config = config
        weights: dict[Aspect, float] = {aspect: getattr(config.aspect_weights, aspect) for aspect in Aspect}
        self.aspect_weights = {aspect: weight / sum(weights.values()) for aspect, weight in weights.items() if weight}
        """By aspect; they sum to one, and aspects that are not learnt are not in it."""
        self.pairs = nn.ModuleDict()
        """`PairLoss` by aspect; empty where preferences are not learnt from."""
        self.ratings = nn.ModuleDict()
        """`RatingLoss` by aspect; empty where ratings are not learnt from."""
        for aspect in self.aspect_weights:
            if (pair_loss := build_pair_loss(config.pairs)) is not None:
                self.pairs[aspect] = pair_loss
            if (rating_loss := build_rating_loss(config.ratings)) is not None:
                self.ratings[aspect] = rating_loss

    def uses(self, label: Label) -> bool:
        """Tell whether a label teaches anything: ties that a loss drops, for example, do not."""
        if not isinstance(label.value, Outcome):
            return label.aspect in self.ratings
        return label.aspect in self.pairs and self._pair_loss(label.aspect).uses(label.value)

    def weight(self, label: Label, source: str) -> float:
        """Return how much a label of a source counts in `StepLabels`."""
        return label.weight * self.config.source_weights.get(source, 1.0)

    def log_odds(self, aspect: Aspect, a: Tensor, b: Tensor) -> Tensor | None:
        """Return what scores promise of pairs: the log-odds that A is preferred, given that one of the two is.

        Args:
            aspect: Which scores these are.
            a: [P] scores of clips A.
            b: [P] scores of clips B.

        Returns:
            [P]; None where preferences under this aspect are not learnt from, so that nothing is promised.
        """
        return self._pair_loss(aspect).log_odds(a, b) if aspect in self.pairs else None

    def start_from(self, labels: Iterable[Label]) -> None:
        """Set what the losses learn of their own such that scores of 0 mean the labels' usual answers.

        That is how often people call a tie or both clips bad, and where the steps of a rating scale are. The tanh
        scale starts where the paper's does.
        """
        answers: dict[Aspect, Counter[Outcome]] = {aspect: Counter() for aspect in Aspect}
        ratings: dict[Aspect, list[float]] = {aspect: [] for aspect in Aspect}
        for label in labels:
            if isinstance(label.value, Outcome):
                answers[label.aspect][label.value] += 1
            else:
                ratings[label.aspect].append(label.value)
        for aspect in self.aspect_weights:
            if aspect in self.pairs and (total := answers[aspect].total()):
                shares = {answer: count / total for answer, count in answers[aspect].items()}
                self._pair_loss(aspect).start_from(shares)
            if aspect in self.ratings and ratings[aspect]:
                self._rating_loss(aspect).start_from(torch.tensor(ratings[aspect]))

    def forward(self, scores: Tensor, labels: StepLabels) -> ObjectiveValue:
        """Add up the losses.

        Every parameter and every score gets a gradient, if one of zeros, whatever labels there are: processes that
        train together need that.

        Args:
            scores: [C, 2] of the step's clips, column 0 alignment, column 1 musicality.
            labels: Only such as `uses` takes.
        """
        loss = scores.new_zeros(())
        parts: dict[str, WeightedSum] = {}
        for aspect, share in self.aspect_weights.items():
            score = scores[:, COLUMN_OF[aspect]]
            scale = share / (labels.total.get(aspect) or 1.0)
            if aspect in self.pairs:
                terms, likelihood = self._pair_terms(aspect, score, labels.pairs.get(aspect) or _no_pairs(score))
                loss = loss + scale * sum(term.value for term in terms.values())
                if aspect in labels.pairs:
                    parts |= {f"{aspect}/{name}": term for name, term in terms.items()}
                    parts[f"{aspect}/nll"] = likelihood
            if aspect in self.ratings:
                term = self._rating_term(aspect, score, labels.ratings.get(aspect) or _no_ratings(score))
                loss = loss + scale * term.value
                if aspect in labels.ratings:
                    parts[f"{aspect}/ratings"] = term
        return ObjectiveValue(
            loss, {name: WeightedSum(part.value.detach(), part.weight) for name, part in parts.items()}
        )

    def _pair_terms(
        self, aspect: Aspect, score: Tensor, labels: PairLabels
    ) -> tuple[dict[str, WeightedSum], WeightedSum]:
        """Return what preferences add to the loss, by name, and minus their log-likelihood."""
        pair_loss = self._pair_loss(aspect)
        a, b = score[labels.a], score[labels.b]
        terms = {"pairs": _weighted(pair_loss(a, b, labels.outcome), labels.weight)}
        if self.config.pairs.centre:
            terms["centre"] = _weighted(self.config.pairs.centre * centring_penalty(a, b), labels.weight)
        with torch.no_grad():
            likelihood = _weighted(pair_loss.negative_log_likelihood(a, b, labels.outcome), labels.weight)
        return terms, likelihood

    def _rating_term(self, aspect: Aspect, score: Tensor, labels: RatingLabels) -> WeightedSum:
        losses = self._rating_loss(aspect)(score[labels.clip], labels.value, labels.group)
        return _weighted(losses, labels.weight)

    def _pair_loss(self, aspect: Aspect) -> PairLoss:
        return cast(PairLoss, self.pairs[aspect])

    def _rating_loss(self, aspect: Aspect) -> RatingLoss:
        return cast(RatingLoss, self.ratings[aspect])


def _weighted(loss: Tensor, weight: Tensor) -> WeightedSum:
    return WeightedSum((weight * loss).sum(), weight.sum())


def _no_pairs(score: Tensor) -> PairLabels:
    none = torch.zeros(0, dtype=torch.int64, device=score.device)
    return PairLabels(none, none, none, score.new_zeros(0))


def _no_ratings(score: Tensor) -> RatingLabels:
    none = torch.zeros(0, dtype=torch.int64, device=score.device)
    return RatingLabels(none, score.new_zeros(0), score.new_zeros(0), none)


PAIR_LOSSES: Mapping[PairLossKind, type[PairLoss]] = {
    PairLossKind.bradley_terry: BradleyTerry,
    PairLossKind.rao_kupper: RaoKupper,
    PairLossKind.davidson: Davidson,
    PairLossKind.four_way: FourWay,
}
RATING_LOSSES: Mapping[RatingLossKind, type[RatingLoss]] = {
    RatingLossKind.tanh_mse: TanhMSE,
    RatingLossKind.ordinal: Ordinal,
    RatingLossKind.list_mle: ListMLE,
}


def build_pair_loss(config: PairLossConfig) -> PairLoss | None:
    """Return the loss on preferences that `loss.pairs` describes; None where they are not learnt from."""
    if config.kind is None:
        return None
    own = {"half_ties": config.ties is Ties.half} if config.kind is PairLossKind.bradley_terry else {}
    return PAIR_LOSSES[config.kind](label_smoothing=config.label_smoothing, margin=config.margin, **own)


def build_rating_loss(config: RatingLossConfig) -> RatingLoss | None:
    """Return the loss on ratings that `loss.ratings` describes; None where they are not learnt from."""
    if config.kind is None:
        return None
    return RATING_LOSSES[config.kind](**{} if config.steps is None else {"steps": config.steps})
