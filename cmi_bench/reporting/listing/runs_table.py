"""Past runs as a table."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from cmi_bench.data.datasets import DATASETS, MosTask
from cmi_bench.evaluation.metrics import ACC, SRCC
from cmi_bench.reporting.listing.past_runs import PastRun

STYLES = {"finished": "green", "failed": "bold red", "running": "yellow"}
BENCHMARK = "benchmark"


def runs_table(runs: Sequence[PastRun], *, base: Path) -> Table:
    """Return a line for each run.

    Args:
        runs: In the order wanted.
        base: Folders below it are written relative to it.
    """
    tasks = [(dataset, task) for dataset in DATASETS for task in dataset.tasks]
    shown = [
        (dataset, task) for dataset, task in tasks if any((dataset.name, task.name) in run.metrics for run in runs)
    ]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Past runs, newest first", title_justify="left")
    for name in ("started (UTC)", "status", "model", "data"):
        table.add_column(name, no_wrap=True)
    for dataset, task in shown:
        metric = SRCC if isinstance(task, MosTask) else ACC
        table.add_column(f"{dataset.name}\n{task.name}\n{metric}", justify="right", no_wrap=True)
    table.add_column("failed", justify="right", no_wrap=True)
    table.add_column("folder", overflow="fold")
    for run in runs:
        metrics = (run.metrics.get((dataset.name, task.name)) for dataset, task in shown)
        table.add_row(
            Text(run.started[:16].replace("T", " ")),
            Text(run.status, style=STYLES.get(run.status, "")),
            Text(run.model + (f" ({run.task})" if run.task not in ("", BENCHMARK) else "")),
            Text(run.data),
            *(Text("" if value is None else f"{value:.4f}") for value in metrics),
            Text("" if run.n_failed is None else str(run.n_failed), style="bold red" if run.n_failed else "dim"),
            Text(str(run.folder.relative_to(base) if run.folder.is_relative_to(base) else run.folder)),
        )
    return table
