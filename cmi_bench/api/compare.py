"""`compare`: which differences between runs are real, as `task=compare` tells. Nothing here imports torch."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmi_bench.api.results import RunResults, interval_ends
from cmi_bench.config import MetricSettings, TrackingConfig
from cmi_bench.evaluation.pairing import Comparison, MetricComparison
from cmi_bench.reporting.comparison import write_comparison
from cmi_bench.reporting.notebook import comparison_html
from cmi_bench.task_config import CompareTask
from cmi_bench.tasks.compare import compare_as_configured
from cmi_bench.utils.workspace import workspace

if TYPE_CHECKING:
    import pandas as pd

PLACE = ("dataset", "task", "metric")
STANDING = ("run", "value", "ci_low", "ci_high", "significance_group", "n")
DIFFERENCE = ("first", "second", "difference", "ci_low", "ci_high", "p", "p_holm", "test", "n")


@dataclass(frozen=True, repr=False, kw_only=True)
class ComparedRuns(Comparison):
    """A comparison: `metric_comparisons`, `disagreements` and `notes`, and forms to look at and to keep."""

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return comparison_html(self, f"{len(self.origins)} runs compared")

    def to_dataframe(self, *, differences: bool = False) -> "pd.DataFrame":
        """Return a table with a line for each metric of a task and each run, the best first.

        Args:
            differences: A line for each pair of runs instead.

        Returns:
            `dataset`, `task`, `metric`, `run`, `value`, `ci_low`, `ci_high`, `significance_group` (runs that share a
            letter do not differ significantly), `n`. Of pairs `first`, `second`, `difference` (the first's value minus
            the second's), `p`, `p_holm` (corrected for all pairs of a task and metric) and `test` instead.
        """
        import pandas as pd

        lines = _differences if differences else _standings
        found = [(one.dataset, one.task, one.metric, *cells) for one in self.metric_comparisons for cells in lines(one)]
        table = pd.DataFrame(found, columns=[*PLACE, *(DIFFERENCE if differences else STANDING)])
        numbers = {"value", "difference", "ci_low", "ci_high", "p", "p_holm"} & set(table.columns)
        return table.astype(dict.fromkeys(numbers, "float64"))

    def to_disk(self, folder: str | PathLike[str]) -> list[Path]:
        """Write the files of `task=compare`: tables, disagreements, a page.

        Args:
            folder: Where to; made if missing. Files of the same names are replaced.

        Returns:
            The files.

        Raises:
            OSError: The folder cannot be written to.
        """
        return write_comparison(self, Path(folder))


def _standings(one: MetricComparison) -> Iterator[tuple[Any, ...]]:
    for standing in one.standings:
        yield standing.run, standing.value, *interval_ends(standing.interval), standing.significance_group, one.n


def _differences(one: MetricComparison) -> Iterator[tuple[Any, ...]]:
    for pair in one.differences:
        yield pair.first, pair.second, pair.value, *interval_ends(pair.interval), pair.p, pair.p_holm, pair.test, one.n


def compare(
    runs: Iterable[RunResults | str | PathLike[str]],
    settings: MetricSettings | None = None,
    *,
    alpha: float = CompareTask.alpha,
    intersect: bool = CompareTask.intersect,
) -> ComparedRuns:
    """Tell which differences between runs are real.

    Args:
        runs: What `run` returned, folders of runs, `results.jsonl` files, folders of sweeps, patterns.
        settings: Protocol and intervals; None for the defaults. Groups are not looked at.
        alpha: Level of significance, for all pairs of a task and metric together.
        intersect: Compare runs over different rows on those that all of them have.

    Raises:
        UserError: There are fewer than two runs, one has no results, or they are over different rows.
    """
    named = [str(one.folder) if isinstance(one, RunResults) else fspath(one) for one in runs]
    config = CompareTask(
        metrics=settings or MetricSettings(),
        tracking=TrackingConfig(uri=None),
        runs=named,
        alpha=alpha,
        intersect=intersect,
    )
    with workspace() as folder:
        found = compare_as_configured(config, folder)
    return ComparedRuns(**{field.name: getattr(found, field.name) for field in fields(Comparison)})
