"""What the tables of a comparison say in words."""

from cmi_bench.data.datasets import DATASETS, PairTask
from cmi_bench.evaluation.clusters import PROMPT
from cmi_bench.evaluation.comparison.records import Comparison, Contest, Disagreement
from cmi_bench.reporting.number_text import percent_name

SIDES = {1.0: "A", 0.0: "both", -1.0: "B"}


def contest_title(contest: Contest, comparison: Comparison) -> str:
    """Return e.g. "CMI-Pref alignment: ACC over 500 rows of 350 prompts"."""
    prompts = f" of {contest.n_clusters} prompts" if comparison.settings.cluster == PROMPT else ""
    return f"{contest.dataset} {contest.task}: {contest.metric} over {contest.n} rows{prompts}"


def how_it_was_done(comparison: Comparison) -> list[str]:
    """Say what the columns mean and how the tests were made."""
    settings = comparison.settings
    drawn = "prompts" if settings.cluster == PROMPT else "rows"
    level = percent_name(settings.confidence)
    return [
        f"Runs that share a letter do not differ significantly (alpha = {comparison.alpha:g}).",
        "p: exact McNemar for ACC (the sign test on credits where some are halved by ties), paired bootstrap for"
        " correlations; corrected by Holm's method over all comparisons of a metric on a dataset.",
        f"Intervals ({level}, not corrected): bootstrap over {drawn}, {settings.resamples} resamples, "
        f"seed {settings.seed}, the same for all runs. Protocol {settings.protocol}.",
    ]


def label_text(row: Disagreement) -> str:
    """Return what people said of a row."""
    return SIDES[row.label] if is_paired(row) else f"{row.label:g}"


def is_paired(row: Disagreement) -> bool:
    """Whether a row compares two clips."""
    tasks = {(dataset.name, task.name): task for dataset in DATASETS for task in dataset.tasks}
    return isinstance(tasks[row.dataset, row.task], PairTask)
