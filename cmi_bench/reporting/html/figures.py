"""The page's sections of plots."""

from collections.abc import Sequence
from typing import NamedTuple

from cmi_bench.data.datasets import Dataset, Task
from cmi_bench.reporting.plots.plot import Plot


class Figure(NamedTuple):
    """A plot with what is to be said of it."""

    title: str
    caption: str
    plot: Plot


class FigureSection(NamedTuple):
    """Plots that answer one question."""

    anchor: str
    """Its id in the page."""
    title: str
    short: str
    """Its title in the list of sections."""
    lead: str
    """What is shown, and how to read it."""
    figures: Sequence[Figure]
    empty: str = ""
    """What to say where there is no figure."""


def file_stem(*words: str) -> str:
    """Return a plot's name, of letters, digits and hyphens."""
    return "-".join(words).replace("_", "-").replace(" ", "-").lower()


def task_stem(kind: str, dataset: Dataset, task: Task) -> str:
    """Return the name of a plot of one task, e.g. "margins-cmi-pref-musicality"."""
    return file_stem(kind, dataset.slug, task.name)
