"""`task=leaderboard runs=[A,B,...]`: own runs beside the figures that the paper reports."""

from pathlib import Path

from cmi_bench.config import Config
from cmi_bench.reporting.console import print_view
from cmi_bench.reporting.leaderboard.build import build_leaderboard
from cmi_bench.reporting.leaderboard.terminal import leaderboard_view
from cmi_bench.reporting.leaderboard.write import write_leaderboard
from cmi_bench.tasks.report import metric_settings
from cmi_bench.tasks.runs import checked_alpha, load_runs


def run(config: Config, folder: Path) -> None:
    """Write the leaderboard with `config.runs`, none or more, into `folder`.

    Raises:
        UserError: A run is not there, or has no results.
    """
    board = build_leaderboard(
        load_runs(config, folder), metric_settings(config), alpha=checked_alpha(config), intersect=config.intersect
    )
    write_leaderboard(board, folder)
    print_view(leaderboard_view(board))
    print_view(f"Results: {folder}")
