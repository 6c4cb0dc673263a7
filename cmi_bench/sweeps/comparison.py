"""Which differences between a sweep's jobs are real."""

import logging
from collections.abc import Sequence

from cmi_bench.config import Config
from cmi_bench.data.jsonl import read_jsonl
from cmi_bench.errors import UserError
from cmi_bench.evaluation.comparison.compare import compare_runs
from cmi_bench.evaluation.comparison.pairing import Run
from cmi_bench.evaluation.comparison.records import Comparison
from cmi_bench.evaluation.settings import MetricSettings
from cmi_bench.reporting.sweep.records import SweepJob

log = logging.getLogger(__name__)


def compare_jobs(jobs: Sequence[SweepJob], config: Config, settings: MetricSettings) -> Comparison | None:
    """Compare the jobs that have results; None where there is nothing to compare, or no way to.

    Args:
        jobs: Their labels become the runs'.
        config: The sweep's, for `alpha` and `intersect`.
        settings: The evaluation's.
    """
    paths = {job.label: job.folder / "results.jsonl" for job in jobs if job.values}
    if len(paths) < 2 or settings.resamples == 0:
        return None
    runs = [Run(label, [line.value for line in read_jsonl(path)], str(path)) for label, path in paths.items()]
    try:
        return compare_runs(runs, settings, alpha=config.alpha, intersect=config.intersect)
    except UserError as error:  # jobs over different rows, as in a sweep over `subset`
        log.warning("The jobs are not compared. %s", error)
        return None
