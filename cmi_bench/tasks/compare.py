"""`task=compare` and `task=leaderboard`: runs beside each other, and beside the paper's figures.

Neither task needs a model or torch.
"""

from dataclasses import replace
from pathlib import Path

from cmi_bench.errors import UserError
from cmi_bench.evaluation.comparison import compare_runs
from cmi_bench.evaluation.pairing import Comparison
from cmi_bench.reporting.comparison import comparison_view, write_comparison
from cmi_bench.reporting.leaderboard.build import build_leaderboard
from cmi_bench.reporting.leaderboard.render import leaderboard_view, write_leaderboard
from cmi_bench.task_config import CompareTask
from cmi_bench.tasks.named_runs import LoadedRuns, load_runs
from cmi_bench.tracking.ledger import count_looks, looks_of, read_ledger
from cmi_bench.utils.console import print_view, spinner


def run_compare(config: CompareTask, folder: Path) -> None:
    """Compare `config.runs` on the same rows, into `folder`.

    Raises:
        UserError: See `compare_as_configured`.
    """
    comparison = compare_as_configured(config, folder)
    write_comparison(comparison, folder)
    print_view(comparison_view(comparison))
    print_view(f"Results: {folder}")


def compare_as_configured(config: CompareTask, folder: Path) -> Comparison:
    """Compare `config.runs` on the same rows.

    Args:
        config: Its `runs`, `metrics`, `alpha` and `intersect`; its tracking store for MLflow run ids.
        folder: What comes from MLflow is kept in it.

    Raises:
        UserError: Fewer than two runs, a run without results, or runs over different rows.
    """
    settings = config.metrics
    if settings.resamples == 0:
        raise UserError("metrics.resamples=0 leaves nothing to compare by.", "Leave it at its default.")
    loaded = load_runs(config.runs, config.tracking, folder)
    runs = loaded.runs
    if len(runs) < 2:
        given = f"one: {runs[0].origin}" if runs else "none"
        raise UserError(
            " ".join([f"task=compare needs two or more runs; given is {given}.", *loaded.left_out]),
            "Give them as runs=[A,B].",
        )
    with spinner("comparing"):
        comparison = compare_runs(runs, settings, alpha=config.alpha, intersect=config.intersect)
    return replace(comparison, notes=(*comparison.notes, *loaded.notes))


def run_leaderboard(config: CompareTask, folder: Path) -> None:
    """Write the leaderboard with `config.runs`, none or more, into `folder`.

    Raises:
        UserError: A run is not there, or has no results.
    """
    loaded = load_runs(config.runs, config.tracking, folder)
    looks = _looks(loaded, config)
    with spinner("evaluating"):
        board = build_leaderboard(
            loaded.runs, config.metrics, alpha=config.alpha, intersect=config.intersect, looks=looks
        )
    board = replace(board, notes=[*board.notes, *loaded.left_out])
    write_leaderboard(board, folder)
    print_view(leaderboard_view(board))
    print_view(f"Results: {folder}")


def _looks(loaded: LoadedRuns, config: CompareTask) -> dict[str, int]:
    """Return how many checkpoints of each run's training were scored on its test sets, for runs that scored weights."""
    ledger = read_ledger(Path(config.ledger)) if config.ledger else []
    counts = {
        run.label: count_looks(ledger, looks_of(metadata, Path(run.origin).parent))
        for run, metadata in zip(loaded.runs, loaded.metadata, strict=True)
    }
    return {label: count for label, count in counts.items() if count}
