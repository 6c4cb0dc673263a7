"""All result files of an evaluation, in one place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.evaluation.records import Evaluation
from cmi_bench.reporting.atomic import write_text_atomic
from cmi_bench.reporting.csv_files import detail_csv, summary_csv
from cmi_bench.reporting.intervals_csv import intervals_csv
from cmi_bench.reporting.json_file import metrics_json
from cmi_bench.reporting.latex import latex_lines


class ReportPaths(NamedTuple):
    """Where the files of an evaluation are."""

    summary_csv: Path
    detail_csv: Path
    intervals_csv: Path
    json: Path
    latex: Path


def write_reports(
    evaluation: Evaluation, folder: Path, *, label: str, config: Mapping[str, Any] | None = None
) -> ReportPaths:
    """Write the result files; each is replaced whole, so a reader never meets half a table.

    Args:
        evaluation: What was measured.
        folder: Where to; made if missing.
        label: The run's name, first cell of the LaTeX lines.
        config: For `metrics.json`, plain JSON values; None writes the evaluation's own settings.
    """
    return ReportPaths(
        summary_csv=write_text_atomic(folder / "metrics_summary.csv", summary_csv(evaluation.summary)),
        detail_csv=write_text_atomic(folder / "metrics_detail.csv", detail_csv(evaluation.detail)),
        intervals_csv=write_text_atomic(folder / "metrics_intervals.csv", intervals_csv(evaluation)),
        json=write_text_atomic(folder / "metrics.json", metrics_json(evaluation, config)),
        latex=write_text_atomic(folder / "latex.txt", latex_lines(evaluation, label)),
    )
