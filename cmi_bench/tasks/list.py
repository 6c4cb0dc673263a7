"""`task=list`: what can be chosen and measured, and past runs. Nothing here imports torch."""

import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console, RenderableType
from rich.measure import Measurement

from cmi_bench.data.chosen import chosen_tables, table_settings
from cmi_bench.reporting.listing import all_options, find_runs, options_table, runs_table, tasks_table
from cmi_bench.task_config import ListTask
from cmi_bench.utils.console import plain_text

UNBOUNDED = 10_000
"""Columns: more than any table has."""


def run_list(config: ListTask, folder: Path) -> None:
    """Print the tables on stdout; nothing is written to `folder`."""
    if table_settings(config.data):
        chosen_tables(config)  # makes their datasets known
    runs = find_runs(map(Path, config.run_folders))
    tables: list[RenderableType] = [options_table(all_options()), tasks_table()]
    if runs:
        tables.append(runs_table(runs, base=Path.cwd()))
    else:
        tables.append(f"No past runs under {' or '.join(config.run_folders)}.")
    _print(tables)


def _print(tables: Iterable[RenderableType]) -> None:
    """Print tables; into a file or a pipe at their full width, since nobody can make that wider."""
    console = Console()
    for table in tables:
        if console.is_terminal:
            console.print(table)
        else:
            sys.stdout.write(_at_full_width(table))


def _at_full_width(table: RenderableType) -> str:
    unbounded = Console(width=UNBOUNDED)
    return plain_text(table, width=Measurement.get(unbounded, unbounded.options, table).maximum)
