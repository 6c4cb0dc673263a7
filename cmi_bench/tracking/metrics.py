"""The numbers of a run, named as they are recorded.

Charts are put into a section by what stands before the slash of a metric's name: a section for each dataset, one for
the means over tasks, one for the ends of intervals, one for the run itself.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cmi_bench.evaluation.evaluate import SummaryRecord
from cmi_bench.evaluation.metrics import Shown, all_metrics
from cmi_bench.tracking.metadata import look_up

LEFT_OUT = "left_out_of_means"
"""Where it is recorded which tasks are in no mean over tasks."""
MEAN, INTERVALS, RUN = "mean", "intervals", "run"
"""Sections that are no dataset's."""
TRAIN, VALIDATION, VALIDATION_INTERVALS = "train", "validation", "validation intervals"
"""Sections of a training's curves: of the steps themselves, and of the rows that are set aside."""


class RecordedMetric(NamedTuple):
    """A number with its name."""

    name: str
    """Section, slash, and the rest: "PAM/musicality SRCC"."""
    value: float
    dataset: str | None = None
    """The dataset it was measured on; None for what is of no single one."""
    is_of_model: bool = False
    """Whether it says how good the model is; the others say how sure that is, and how the run went."""


def metric_name(dataset: str, task: str, metric: str) -> str:
    """Return the name of a metric of a task.

    >>> metric_name("PAM", "musicality", "SRCC")
    'PAM/musicality SRCC'
    """
    return f"{dataset}/{task} {metric}"


MetricName = Callable[[str, str, str], str]
"""Returns the name of a metric: of dataset, task and metric."""


def series_name(name: str, *, by_step: bool) -> str:
    """Return the name of a metric along a sweep.

    >>> series_name("PAM/musicality SRCC", by_step=True)
    'PAM by step/musicality SRCC'
    """
    section, _, rest = name.partition("/")
    return f"{section} by {'step' if by_step else 'job'}/{rest}"


def train_name(what: str) -> str:
    """Return the name of a curve of the training steps.

    >>> train_name("learning rate")
    'train/learning rate'
    """
    return f"{TRAIN}/{what}"


def validation_name(dataset: str, task: str, metric: str) -> str:
    """Return the name of a validation curve.

    >>> validation_name("CMI-Pref", "musicality", "ACC")
    'validation/CMI-Pref musicality ACC'
    """
    return f"{VALIDATION}/{dataset} {task} {metric}"


def validation_curves(summary: Sequence[SummaryRecord]) -> dict[str, float]:
    """Return the points of a training's validation curves by name, what is undefined or not applicable left out.

    Args:
        summary: The lines of the evaluation of the rows that are set aside.
    """
    of_tasks = {
        validation_name(line.dataset, line.task, name): value
        for line in summary
        for name, value in line.metrics.items()
        if value is not None
    }
    of_means = {f"{VALIDATION}/{one.name.replace('/', ' ')}": one.value for one in task_means(summary)}
    return of_tasks | of_means | {one.name: one.value for one in _interval_ends(summary, VALIDATION_INTERVALS)}


def recorded_metrics(summary: Sequence[SummaryRecord], metadata: Mapping[str, Any]) -> list[RecordedMetric]:
    """Return all numbers of a finished run; what is undefined or not applicable is left out.

    Args:
        summary: The lines of the evaluation.
        metadata: As written to `metadata.json` at the end.
    """
    return [*_agreement(summary), *task_means(summary), *_interval_ends(summary, INTERVALS), *_of_run(metadata)]


def _agreement(summary: Sequence[SummaryRecord]) -> Iterator[RecordedMetric]:
    for line in summary:
        for name, value in line.metrics.items():
            if value is not None:
                yield RecordedMetric(metric_name(line.dataset, line.task, name), value, line.dataset, is_of_model=True)


def task_means(summary: Sequence[SummaryRecord]) -> list[RecordedMetric]:
    """Return the mean of each headline metric over the tasks that have it, each task counting the same.

    That is the mean SRCC over tasks on single clips and the mean ACC over tasks on pairs, over all datasets of the
    run. A task where the metric is undefined or not applicable is left out: `left_out_of_means` names it.
    """
    means = []
    for metric in all_metrics(Shown.HEADLINE):
        values = [value for line in summary if (value := line.metrics.get(metric.name)) is not None]
        if values:
            means.append(RecordedMetric(f"{MEAN}/{metric.name}", sum(values) / len(values), is_of_model=True))
    return means


def left_out_of_means(summary: Sequence[SummaryRecord]) -> list[str]:
    """Return the tasks that are in no mean, such as "PAM alignment": the model does not judge that, or the like."""
    headlines = [metric.name for metric in all_metrics(Shown.HEADLINE)]
    return [
        f"{line.dataset} {line.task}" for line in summary if all(line.metrics.get(name) is None for name in headlines)
    ]


def _interval_ends(summary: Sequence[SummaryRecord], section: str) -> Iterator[RecordedMetric]:
    for line in summary:
        for name, interval in line.intervals.items():
            for end, value in (("low", interval.low), ("high", interval.high)):
                if value is not None:
                    yield RecordedMetric(f"{section}/{line.dataset} {line.task} {name} {end}", value)


def _of_run(metadata: Mapping[str, Any]) -> Iterator[RecordedMetric]:
    """Yield what the run cost: clips, seconds and memory."""
    counts, wall = metadata["counts"], metadata["seconds"]["wall"]
    new = counts["clips"] - counts["from_store"]
    yield RecordedMetric(f"{RUN}/clips scored", counts["scored"])
    yield RecordedMetric(f"{RUN}/clips failed", counts["failed"])
    yield RecordedMetric(f"{RUN}/wall seconds", wall)
    for name, seconds in metadata["seconds"].items():
        if name != "wall":
            yield RecordedMetric(f"{RUN}/{name} seconds", seconds)
    if (share := look_up(metadata, "encoding", "share_of_best")) is not None:
        yield RecordedMetric(f"{RUN}/encoding share of best rate", share)
    if new > 0 and wall > 0:  # the others were looked up
        yield RecordedMetric(f"{RUN}/clips per second", new / wall)
    for name, gigabytes in (look_up(metadata, "memory") or {}).items():
        yield RecordedMetric(f"{RUN}/peak {name.removesuffix('_gb')} memory GB", gigabytes)
