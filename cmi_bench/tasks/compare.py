"""`task=compare runs=[A,B,...]`: which differences between runs are real, without a model and without torch."""

from pathlib import Path

from cmi_bench.config import Config
from cmi_bench.errors import UserError
from cmi_bench.evaluation.comparison.compare import compare_runs
from cmi_bench.reporting.comparison.terminal import comparison_view
from cmi_bench.reporting.comparison.write import write_comparison
from cmi_bench.reporting.console import print_view
from cmi_bench.tasks.report import metric_settings
from cmi_bench.tasks.runs import checked_alpha, load_runs


def run(config: Config, folder: Path) -> None:
    """Compare `config.runs` on the same rows, into `folder`.

    Raises:
        UserError: Fewer than two runs, a run without results, or runs over different rows.
    """
    if len(config.runs) < 2:
        given = f"one: {config.runs[0]}" if config.runs else "none"
        raise UserError(f"task=compare needs two or more runs; given is {given}.", "Give them as runs=[A,B].")
    settings = metric_settings(config)
    if settings.resamples == 0:
        raise UserError("metrics.resamples=0 leaves nothing to compare by.", "Leave it at its default.")
    runs = load_runs(config, folder)
    comparison = compare_runs(runs, settings, alpha=checked_alpha(config), intersect=config.intersect)
    write_comparison(comparison, folder)
    print_view(comparison_view(comparison))
    print_view(f"Results: {folder}")
