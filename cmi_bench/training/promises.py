"""Whether scores keep, on rows that are set aside, what the objective has them promise of preferences.

A loss on pairs makes a difference of scores the log-odds that a clip is preferred, or close to it. Nothing is fitted to
the rows here: a head that is too sure of itself shows, however well it orders clips.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from cmi_bench.config import Clustering
from cmi_bench.data.datasets import PairTask
from cmi_bench.evaluation.calibration import Calibration, calibration
from cmi_bench.evaluation.evaluate import Evaluation
from cmi_bench.evaluation.samples import DecidedPairs, decided_pairs
from cmi_bench.tracking.metrics import validation_name
from cmi_bench.training.objective import Objective
from cmi_bench.types import Aspect


def promise_curves(
    objective: Objective, evaluation: Evaluation, results: Sequence[Mapping[str, Any]], clustering: Clustering
) -> dict[str, float]:
    """Return the points of curves by name, of each dataset and task on pairs, with ties left out.

    They are the mean negative log-likelihood (NLL), the expected calibration error (ECE), what that is by chance alone,
    and the calibration slope: what the log-odds would have to be multiplied by, below 1 where they promise too much.

    Args:
        objective: Says what scores promise.
        evaluation: Of the rows.
        results: Their results, which were evaluated.
        clustering: Which pairs depend on each other.
    """
    return {
        validation_name(samples.dataset.name, samples.task.name, figure): value
        for samples in evaluation.samples
        if isinstance(samples.task, PairTask)
        for figure, value in _figures(objective, samples.task.aspect, decided_pairs(samples, results, clustering))
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
