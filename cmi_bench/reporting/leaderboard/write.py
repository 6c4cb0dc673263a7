"""All forms of the leaderboard, in one place."""

from pathlib import Path

from cmi_bench.reporting.atomic import write_text_atomic
from cmi_bench.reporting.leaderboard.board import Leaderboard
from cmi_bench.reporting.leaderboard.csv_text import leaderboard_csv
from cmi_bench.reporting.leaderboard.html import leaderboard_html
from cmi_bench.reporting.leaderboard.latex import leaderboard_latex
from cmi_bench.reporting.leaderboard.markdown import leaderboard_markdown

FILES = {
    "leaderboard.csv": leaderboard_csv,
    "leaderboard.md": leaderboard_markdown,
    "leaderboard.tex": leaderboard_latex,
    "leaderboard.html": leaderboard_html,
}
"""By name: what makes its text of a leaderboard."""


def write_leaderboard(board: Leaderboard, folder: Path) -> list[Path]:
    """Write the leaderboard's files into a folder, which is made if missing."""
    return [write_text_atomic(folder / name, make(board)) for name, make in FILES.items()]
