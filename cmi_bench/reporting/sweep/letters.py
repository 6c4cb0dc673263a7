"""Which jobs of a sweep differ for real: the letters of a comparison, by metric and job."""

from collections.abc import Mapping
from typing import NamedTuple

from cmi_bench.evaluation.comparison.records import Comparison
from cmi_bench.reporting.sweep.records import Column


class Letters(NamedTuple):
    """The groups of jobs that do not differ significantly."""

    by_job: Mapping[tuple[Column, str], str]
    """By metric and the job's label."""
    alpha: float

    def of(self, column: Column, label: str) -> str:
        """Return a job's letters; nothing where it was not compared."""
        return self.by_job.get((column, label), "")


def letters_of(comparison: Comparison) -> Letters:
    """Return the letters of a comparison whose runs have the jobs' labels."""
    return Letters(
        {
            (Column(contest.dataset, contest.task, contest.metric), one.run): one.letters
            for contest in comparison.contests
            if not contest.group
            for one in contest.standings
        },
        comparison.alpha,
    )
