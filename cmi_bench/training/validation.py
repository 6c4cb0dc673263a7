"""Validation: the rows that are set aside, scored and evaluated as the benchmark does it, and the objective's own loss.

Nothing here scores: the loop does that, each process its share of the clips.

A loss on pairs makes a difference of scores the log-odds that a clip is preferred, or close to it. Whether scores keep
what they promise so is measured with nothing fitted to the rows: a head that is too sure of itself shows, however well
it orders clips.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cmi_bench.config import Clustering, MetricSettings
from cmi_bench.data import fields
from cmi_bench.data.datasets import PairTask
from cmi_bench.errors import UserError
from cmi_bench.evaluation.calibration import Calibration, calibration
from cmi_bench.evaluation.evaluate import Evaluation, evaluate
from cmi_bench.evaluation.metrics import Shown, all_metrics
from cmi_bench.evaluation.samples import DecidedPairs, decided_pairs
from cmi_bench.scoring.model_call import read_answer
from cmi_bench.scoring.requests import clip_id
from cmi_bench.scoring.results import results_rows
from cmi_bench.tracking.metrics import VALIDATION, validation_curves, validation_name
from cmi_bench.training.batches import LearntRow, labels_on, learnt_rows, step_labels, total_weights
from cmi_bench.training.examples import Example
from cmi_bench.training.objective import Objective
from cmi_bench.training_config import Monitor
from cmi_bench.types import Aspect

LOSS = f"{VALIDATION}/loss"
"""The objective on the rows that are set aside, by the name of its curve."""
SPLIT = "validation"
"""What the rows are called in the results, whatever split of a file they are from."""


@dataclass(frozen=True)
class Validated:
    """What weights came to on the rows that are set aside."""

    figures: Mapping[str, float]
    """By the names of curves."""
    monitored: float
    """What the best weights are chosen by."""


class Validation:
    """The rows that are set aside, and what is asked of scores on them."""

    def __init__(
        self, examples: Sequence[Example], objective: Objective, metrics: MetricSettings, *, monitor: Monitor
    ) -> None:
        """Take the rows.

        Args:
            examples: Set aside: nothing of them is learnt.
            objective: The loss that is minimised.
            metrics: Protocol and metrics; while training goes on there are no intervals and no groups.
            monitor: What the best weights are chosen by.

        Raises:
            UserError: There are no rows to tell the monitored figure from.
        """
        rows = learnt_rows(examples, objective)
        self.objective = objective
        self.monitor = monitor
        self.rows: list[LearntRow] = rows
        """In the order of the examples; what there is to score are their clips, A before B."""
        self._settings = replace(
            metrics, split=SPLIT, resamples=0, by_duration=False, by_month=False, by_condition=False,
            by_reference=False, by_lyrics=False, by_confidence=False, by_column=False, include_systems=False,
        )  # fmt: skip
        wanted = [Aspect(monitor.value)] if monitor.value in list(Aspect) else list(Aspect)
        if not any(label.aspect in wanted for row in rows for label in row.labels):
            raise UserError(
                f"No row is set aside that has a label for train.monitor={monitor}.",
                "Set more rows aside (splits.validation=0.1), or choose another figure: train.monitor=loss.",
            )

    @property
    def is_lower_better(self) -> bool:
        """Whether the monitored figure falls as weights get better."""
        return self.monitor is Monitor.loss

    def measure(self, scores: Tensor) -> Validated:
        """Compare scores with what people said, and take the loss, while the objective is as it was with them.

        Args:
            scores: float32 [C, 2] of the rows' clips, column 0 alignment, column 1 musicality.
        """
        results = self.results(scores)
        evaluation = evaluate(results, self._settings, origin="validation")
        promises = _promise_curves(self.objective, evaluation, self._settings.cluster)
        figures = self._losses(scores) | promises | validation_curves(evaluation.summary)
        return Validated(figures, self._monitored(figures, evaluation))

    def results(self, scores: Tensor) -> list[dict[str, Any]]:
        """Return the lines of a results file over the rows, of split "validation".

        Args:
            scores: As of `measure`, or [M, C, 2] of an ensemble's members.
        """
        names = [clip_id(row.row, side) for row in self.rows for side in ("a", "b")[: row.clips]]
        by_clip = read_answer(names, scores.cpu(), "training")
        return [{**line, fields.SPLIT: SPLIT} for line in results_rows([row.row for row in self.rows], by_clip)]

    @torch.no_grad()
    def _losses(self, scores: Tensor) -> dict[str, float]:
        labels = labels_on(step_labels(self.rows, total_weights(self.rows)), scores.device)
        value = self.objective(scores, labels)
        parts = {
            f"{LOSS} {name.replace('/', ' ')}": float(one.value / one.weight)
            for name, one in value.parts.items()
            if one.weight
        }
        return {LOSS: float(value.loss), **parts}

    def _monitored(self, figures: Mapping[str, float], evaluation: Evaluation) -> float:
        if self.monitor is Monitor.loss:
            return figures[LOSS]
        headlines = [metric.name for metric in all_metrics(Shown.HEADLINE)]
        found = [
            value
            for samples, line in zip(evaluation.samples, evaluation.summary, strict=True)
            if self.monitor == Monitor.mean or self.monitor.value == samples.task.aspect.value
            for name in headlines
            if (value := line.metrics.get(name)) is not None
        ]
        return float(np.mean(found)) if found else math.nan


def _promise_curves(objective: Objective, evaluation: Evaluation, clustering: Clustering) -> dict[str, float]:
    """Return the points of curves by name, of each dataset and task on pairs, with ties left out.

    They are the mean negative log-likelihood (NLL), the expected calibration error (ECE), what that is by chance alone,
    and the calibration slope: what the log-odds would have to be multiplied by, below 1 where they promise too much.

    Args:
        objective: Says what scores promise.
        evaluation: Of the rows.
        clustering: Which pairs depend on each other.
    """
    return {
        validation_name(samples.dataset.name, samples.task.name, figure): value
        for samples in evaluation.samples
        if isinstance(samples.task, PairTask)
        for figure, value in _figures(objective, samples.task.aspect, decided_pairs(samples, clustering))
    }


def _figures(objective: Objective, aspect: Aspect, pairs: DecidedPairs) -> Iterator[tuple[str, float]]:
    found = _calibration(objective, aspect, pairs)
    if found is not None:
        yield from (("NLL", found.nll), ("ECE", found.error), ("ECE by chance", found.chance_error))
        if found.slope.beta is not None:
            yield "calibration slope", found.slope.beta


@torch.no_grad()
def _calibration(objective: Objective, aspect: Aspect, pairs: DecidedPairs) -> Calibration | None:
    device = next((one.device for one in objective.parameters()), None)
    preferred, other = (torch.from_numpy(one).to(device) for one in (pairs.preferred, pairs.other))
    log_odds = objective.log_odds(aspect, preferred, other)
    if log_odds is None:
        return None
    return calibration(pairs._replace(preferred=log_odds.cpu().numpy(), other=np.zeros(pairs.rows.size)))
