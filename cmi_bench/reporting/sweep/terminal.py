"""A sweep for people, in a terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cmi_bench.reporting.sweep.letters import Letters
from cmi_bench.reporting.sweep.records import SweepJob, best_of, columns_of
from cmi_bench.reporting.sweep.wording import how_to_read

STYLES = {"finished": "", "failed": "bold red", "killed": "bold red", "not run": "yellow"}


def sweep_view(jobs: Sequence[SweepJob], letters: Letters | None) -> RenderableType:
    """Return a line for each job: its main metrics, the best in bold, and the reason of a failure below."""
    columns = columns_of(jobs, main=True)
    best = {column: best_of(jobs, column) for column in columns}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("job", no_wrap=True)
    table.add_column("what", overflow="fold")
    for column in columns:
        table.add_column(f"{column.dataset}\n{column.task}\n{column.metric}", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for job in jobs:
        cells = []
        for column in columns:
            value = job.values.get(column)
            text = "" if value is None else f"{value.value:7.4f} {letters.of(column, job.label) if letters else ''}"
            cells.append(Text(text.rstrip(), style="bold" if value and value.value == best[column] else ""))
        table.add_row(str(job.number), Text(job.label), *cells, Text(job.status, style=STYLES.get(job.status, "")))
    reasons = [Text(f"{job.label}: {job.reason}") for job in jobs if job.reason]
    return Group(table, *reasons, *map(Text, how_to_read(letters)))
