"""A sweep as Markdown, for a notebook and the parent run's page in MLflow."""

from collections.abc import Sequence

from cmi_bench.reporting.markdown_text import escape, table
from cmi_bench.reporting.sweep.letters import Letters
from cmi_bench.reporting.sweep.records import SweepJob, best_of, columns_of
from cmi_bench.reporting.sweep.wording import how_to_read


def sweep_markdown(name: str, jobs: Sequence[SweepJob], letters: Letters | None) -> str:
    """Return the text of `sweep.md`: a line for each job, the best of each column in bold."""
    columns = columns_of(jobs, main=True)
    best = {column: best_of(jobs, column) for column in columns}
    header = ["job", "what", "status", *(f"{column.dataset} {column.task} {column.metric}" for column in columns)]
    lines = []
    for job in jobs:
        cells = []
        for column in columns:
            value = job.values.get(column)
            text = "" if value is None else f"{value.value:.4f}"
            strong = "**" if value is not None and value.value == best[column] else ""
            cells.append(f"{strong}{text}{strong} {letters.of(column, job.label) if letters else ''}".strip())
        lines.append([str(job.number), escape(job.label), job.status, *cells])
    reasons = [f"- {escape(job.label)}: {escape(job.reason)}" for job in jobs if job.reason]
    parts = [f"# {escape(name)}", table(header, lines, numbers_from=3), "\n".join(reasons), *how_to_read(letters)]
    return "\n\n".join(part for part in parts if part) + "\n"
