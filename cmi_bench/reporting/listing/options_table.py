"""What can be chosen on the command line, as tables."""

from collections.abc import Iterable
from typing import NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

from cmi_bench.data.datasets import DATASETS
from cmi_bench.evaluation.metrics import group_metrics, summary_metrics
from cmi_bench.evaluation.settings import MetricSettings


class Option(NamedTuple):
    """A value that a key can have."""

    key: str
    """As it is written: "model=", "+device="."""
    name: str
    description: str


def options_table(options: Iterable[Option]) -> Table:
    """Return a line for each option, those of a key together."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="What can be chosen", title_justify="left")
    table.add_column("option", no_wrap=True)
    table.add_column("what it is")
    last = None
    for option in options:
        if last not in (None, option.key):
            table.add_section()
        last = option.key
        table.add_row(Text(option.key + option.name), Text(option.description))
    return table


def tasks_table() -> Table:
    """Return what is judged in each dataset, and by which metrics."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="What is measured", title_justify="left")
    for name in ("dataset", "subset=", "task", "label", "metrics", "in groups"):
        table.add_column(name, no_wrap=True)
    settings = MetricSettings()
    for dataset in DATASETS:
        for task in dataset.tasks:
            table.add_row(
                dataset.name,
                dataset.slug,
                task.name,
                "preferred clip" if dataset.is_paired else "mean opinion score",
                ", ".join(summary_metrics(task, settings)),
                ", ".join(group_metrics(task)),
            )
    return table
