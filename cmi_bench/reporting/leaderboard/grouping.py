"""Which own runs differ, column by column of the leaderboard."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cmi_bench.evaluation.comparison.compare import correct_families, paired_samples
from cmi_bench.evaluation.comparison.contest import hold_contests
from cmi_bench.evaluation.comparison.pairing import PairedRows
from cmi_bench.evaluation.comparison.records import Contest
from cmi_bench.evaluation.groups import task_groups
from cmi_bench.evaluation.metrics import summary_metrics
from cmi_bench.evaluation.settings import MetricSettings
from cmi_bench.reporting.leaderboard.columns import TableForm

Letters = Mapping[tuple[str, str], str]
"""By run and column key: own runs that share a letter do not differ in that column."""


def board_settings(settings: MetricSettings) -> MetricSettings:
    """Return the settings that make the groups which the tables show, and no others."""
    return replace(
        settings,
        by_month=False,
        by_condition=True,
        by_reference=True,
        by_lyrics=False,
        by_confidence=False,
        by_duration=False,
        include_lcc=True,
        include_k_tau=True,
    )


def board_contests(
    paired: PairedRows, form: TableForm, settings: MetricSettings, *, alpha: float, origins: Mapping[str, str]
) -> list[Contest]:
    """Compare own runs by each column of a table; all columns of a dataset with one metric are a family.

    Args:
        paired: The rows of two or more runs.
        form: The table.
        settings: From `board_settings`.
        alpha: Level of significance.
        origins: Where each run is from, for messages.
    """
    contests: list[Contest] = []
    for dataset, rows_of in paired.rows_of.items():
        groups = list(task_groups(dataset, next(iter(rows_of.values())), settings))
        for samples_of in paired_samples(dataset, rows_of, settings, origins):
            task = next(iter(samples_of.values())).task
            columns = [one for one in form.columns if one.dataset is dataset and one.task == task.name]
            metrics = summary_metrics(task, settings)
            if any(not column.group_key for column in columns):
                contests += hold_contests(samples_of, metrics, settings)
            wanted = {(column.group_key, column.group_value) for column in columns}
            for of_task, group in groups:
                if of_task == task and (group.key, group.value) in wanted:
                    contests += hold_contests(samples_of, metrics, settings, group=group)
    return correct_families(contests, alpha)


def letters_of(contests: Sequence[Contest], form: TableForm) -> Letters:
    """Return the letters that contests gave, by the columns of a table."""
    by_place = {(one.dataset, one.task, one.metric, one.group): one for one in contests}
    letters: dict[tuple[str, str], str] = {}
    for column in form.columns:
        contest = by_place.get((column.dataset.name, column.task, column.metric, column.group_value))
        for standing in contest.standings if contest is not None else ():
            letters[standing.run, column.key] = standing.letters
    return letters
