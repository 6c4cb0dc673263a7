"""What a comparison of runs comes to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cmi_bench.evaluation.intervals import Interval
from cmi_bench.evaluation.settings import MetricSettings


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One run in a contest."""

    run: str
    value: float | None
    """The metric over the contest's rows; None where it is undefined."""
    interval: Interval | None
    """None where the metric is undefined."""
    letters: str = ""
    """Runs that share a letter do not differ significantly; empty for a run that cannot be compared."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two runs in a contest."""

    first: str
    second: str
    value: float
    """The first's metric minus the second's."""
    interval: Interval
    """Of the difference, paired and not corrected for the number of comparisons."""
    test: str
    """What `p` is from: "exact McNemar", "sign test" or "paired bootstrap"."""
    p: float | None
    """None where the rows allow no test."""
    p_bootstrap: float | None
    """From the paired bootstrap, which keeps rows of a prompt together; None where it is undefined."""
    better: int | None
    """Rows on which the first has more credit than the second; None for correlations."""
    worse: int | None
    p_holm: float | None = None
    """`p` corrected for all comparisons of the family."""


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Several runs by one metric over the same rows."""

    dataset: str
    task: str
    metric: str
    group: str = ""
    """Which of the dataset's rows; empty for all."""
    n: int
    """Rows that enter, the same for all runs."""
    n_clusters: int
    standings: tuple[Standing, ...]
    """The best first; runs without a value last."""
    differences: tuple[Difference, ...]
    """Each pair of runs with a value once."""
    note: str = ""
    """Rows and runs left out."""
    family_size: int = 0
    """Comparisons that were corrected together: all of this metric on this dataset."""

    def difference(self, first: str, second: str) -> float | None:
        """Return how much the first is ahead of the second; None if they were not compared."""
        found = {(one.first, one.second): one.value for one in self.differences}
        found |= {(second, first): -value for (first, second), value in found.items()}
        return found.get((first, second))


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """A row on which runs are of different opinion."""

    dataset: str
    task: str
    row: int
    """Its number in the first run's file, from 1."""
    raw: Mapping[str, Any]
    """The row as it stands in the first run's file."""
    label: float
    """Mean opinion score, or side (1 = A, 0 = both, -1 = B)."""
    predictions: Mapping[str, float]
    """By run: the clip's score, or for a pair the score of A minus that of B."""
    answers: float
    """For pairs, how far apart the answers are: 2 for A against B, 1 for A or B against both; 0 for clips."""
    spread: float
    """How far apart the runs' standpoints are, from 0 to 2; see `disagreement.standpoint`."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that is known after comparing runs."""

    settings: MetricSettings
    alpha: float
    """Level of significance, for each family."""
    origins: Mapping[str, str]
    """Where each run is from, by label."""
    contests: tuple[Contest, ...]
    disagreements: tuple[Disagreement, ...]
    """The greatest first, within each task."""
    notes: tuple[str, ...]
