"""All files of a comparison, in one place."""

from pathlib import Path

from cmi_bench.evaluation.comparison.records import Comparison
from cmi_bench.reporting.atomic import write_text_atomic
from cmi_bench.reporting.comparison.json_text import comparison_json
from cmi_bench.reporting.comparison.markdown import comparison_markdown
from cmi_bench.reporting.comparison.tables import differences_csv, disagreements_csv, matrix_csv

FILES = {
    "comparison.csv": differences_csv,
    "comparison_matrix.csv": matrix_csv,
    "disagreements.csv": disagreements_csv,
    "comparison.md": comparison_markdown,
    "comparison.json": comparison_json,
}
"""By name: what makes its text of a comparison."""


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write the comparison's files into a folder, which is made if missing."""
    return [write_text_atomic(folder / name, make(comparison)) for name, make in FILES.items()]
