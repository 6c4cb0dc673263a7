"""All files of a sweep, in one place."""

from collections.abc import Sequence
from pathlib import Path

from cmi_bench.reporting.atomic import write_text_atomic
from cmi_bench.reporting.plots.plot import write_png
from cmi_bench.reporting.sweep.csv_table import sweep_csv
from cmi_bench.reporting.sweep.letters import Letters
from cmi_bench.reporting.sweep.markdown import sweep_markdown
from cmi_bench.reporting.sweep.plot import metrics_plot
from cmi_bench.reporting.sweep.records import SweepJob


def write_sweep(name: str, jobs: Sequence[SweepJob], letters: Letters | None, folder: Path) -> list[Path]:
    """Write `sweep.csv`, `sweep.md` and, where there are metrics, their plot into the sweep's folder."""
    files = [
        write_text_atomic(folder / "sweep.csv", sweep_csv(jobs)),
        write_text_atomic(folder / "sweep.md", sweep_markdown(name, jobs, letters)),
    ]
    plot = metrics_plot(jobs)
    return files if plot is None else [*files, write_png(plot, folder)]
