"""The comparison of runs: pair the rows, hold the contests, correct for their number, give the letters."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cmi_bench.data.datasets import Dataset
from cmi_bench.evaluation.comparison.contest import hold_contests
from cmi_bench.evaluation.comparison.disagreement import greatest_disagreements
from cmi_bench.evaluation.comparison.letters import letter_groups
from cmi_bench.evaluation.comparison.pairing import Run, pair_rows, require_common
from cmi_bench.evaluation.comparison.records import Comparison, Contest, Difference, Disagreement, Standing
from cmi_bench.evaluation.comparison.significance import holm
from cmi_bench.evaluation.metrics import summary_metrics
from cmi_bench.evaluation.protocols import PROTOCOLS
from cmi_bench.evaluation.samples import Samples, read_samples
from cmi_bench.evaluation.selection import ResultRow
from cmi_bench.evaluation.settings import MetricSettings

SHOWN_DISAGREEMENTS = 50
"""Rows kept of each task: as many as anyone listens to."""


def compare_runs(runs: Sequence[Run], settings: MetricSettings, *, alpha: float, intersect: bool = False) -> Comparison:
    """Tell which differences between runs are real.

    Args:
        runs: Two or more.
        settings: Protocol and how intervals are made; groups are not looked at.
        alpha: Level of significance of each family of comparisons.
        intersect: Compare runs over different rows on those in common.

    Raises:
        UserError: The runs are over different rows, or a label is not understood.
    """
    paired = pair_rows(runs, settings.split)
    notes = require_common(paired, intersect=intersect)
    origins = {run.label: run.origin for run in runs}
    contests: list[Contest] = []
    disagreements: list[Disagreement] = []
    for dataset, rows_of in paired.rows_of.items():
        for samples_of in paired_samples(dataset, rows_of, settings, origins):
            task = next(iter(samples_of.values())).task
            contests += hold_contests(samples_of, summary_metrics(task, settings), settings)
            disagreements += greatest_disagreements(samples_of, rows_of, count=SHOWN_DISAGREEMENTS)
    corrected = correct_families(contests, alpha)
    return Comparison(
        settings=settings,
        alpha=alpha,
        origins=origins,
        contests=tuple(corrected),
        disagreements=tuple(disagreements),
        notes=(*notes, *resolution_notes(corrected, settings, alpha)),
    )


def paired_samples(
    dataset: Dataset, rows_of: Mapping[str, Sequence[ResultRow]], settings: MetricSettings, origins: Mapping[str, str]
) -> list[dict[str, Samples]]:
    """Return, for each task of a dataset, the samples of all runs."""
    protocol = PROTOCOLS[settings.protocol]
    return [
        {run: read_samples(rows, dataset, task, protocol, origin=origins[run]) for run, rows in rows_of.items()}
        for task in dataset.tasks
    ]


def correct_families(contests: Sequence[Contest], alpha: float) -> list[Contest]:
    """Correct the p-values by Holm's method and group the runs.

    A family is what is read together as one question: all comparisons of one metric on one dataset,
    over its tasks or groups. Metrics are not added up, as SRCC, LCC and K-Tau ask the same thing again.
    """
    families: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for number, contest in enumerate(contests):
        for at, difference in enumerate(contest.differences):
            if difference.p is not None:
                families.setdefault((contest.dataset, contest.metric), []).append((number, at))
    p_holm: dict[tuple[int, int], float] = {}
    for places in families.values():
        p_values = [contests[number].differences[at].p or 0.0 for number, at in places]
        p_holm |= dict(zip(places, holm(p_values), strict=True))
    sizes = Counter({family: len(places) for family, places in families.items()})
    corrected = [
        replace(
            contest,
            family_size=sizes[contest.dataset, contest.metric],
            differences=tuple(
                replace(difference, p_holm=p_holm.get((number, at)))
                for at, difference in enumerate(contest.differences)
            ),
        )
        for number, contest in enumerate(contests)
    ]
    return [_with_letters(contest, alpha) for contest in corrected]


def is_significant(difference: Difference, alpha: float) -> bool:
    """Tell whether a difference is more than chance, after correction."""
    return difference.p_holm is not None and difference.p_holm <= alpha


def resolution_notes(contests: Sequence[Contest], settings: MetricSettings, alpha: float) -> list[str]:
    """Warn where so much is compared that no bootstrap of this size could find anything."""
    finest = 2 / (settings.resamples + 1)
    largest = max((contest.family_size for contest in contests if _is_by_bootstrap(contest)), default=0)
    if largest * finest <= alpha:
        return []
    needed = int(2 * largest / alpha) + 1
    return [
        f"{largest} comparisons are corrected together: with {settings.resamples} resamples few correlations can "
        f"differ significantly. metrics.resamples={needed} would be enough."
    ]


def _is_by_bootstrap(contest: Contest) -> bool:
    return any(difference.better is None for difference in contest.differences)


def _with_letters(contest: Contest, alpha: float) -> Contest:
    tested = [one for one in contest.differences if one.p_holm is not None]
    compared = {run for one in tested for run in (one.first, one.second)}
    differing = [frozenset((one.first, one.second)) for one in tested if is_significant(one, alpha)]
    letters = letter_groups([one.run for one in contest.standings if one.run in compared], differing)
    standings: tuple[Standing, ...] = tuple(replace(one, letters=letters.get(one.run, "")) for one in contest.standings)
    return replace(contest, standings=standings)
