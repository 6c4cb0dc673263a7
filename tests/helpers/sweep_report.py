"""A sweep over checkpoints for its page: jobs that judge the same rows, the later ones better, one that failed."""

from pathlib import Path
from typing import Any

import numpy as np
from report_rows import rows

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.comparison import compare_runs
from cmi_bench.evaluation.metrics import MetricKey
from cmi_bench.evaluation.pairing import Comparison, Run
from cmi_bench.reporting.html.sweep_page import SweepSource
from cmi_bench.reporting.sweep_jobs import SweepJob, Value

SETTINGS = MetricSettings(resamples=50)


def noisy(lines: list[dict[str, Any]], step: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(step)
    return [
        row | {key: value + rng.normal() * 2000 / step for key, value in row.items() if key.startswith("predicted")}
        for row in lines
    ]


def compared(steps: tuple[int, ...], lines: list[dict[str, Any]]) -> Comparison:
    runs = [Run(f"step_{step}", noisy(lines, step), f"sweep/{at}") for at, step in enumerate(steps)]
    return compare_runs(runs, SETTINGS, alpha=0.05)


def jobs_of(comparison: Comparison, steps: tuple[int, ...]) -> list[SweepJob]:
    values: dict[str, dict[MetricKey, Value]] = {}
    for one in comparison.metric_comparisons:
        for standing in one.standings:
            if standing.value is not None and standing.interval is not None:
                key = MetricKey(one.dataset, one.task, one.metric)
                bounds = standing.interval.low, standing.interval.high
                values.setdefault(standing.run, {})[key] = Value(standing.value, *bounds)
    return [
        SweepJob(
            number=at, label=f"step_{step}", step=step, status="finished", folder=Path(str(at)),
            values=values[f"step_{step}"],
        )
        for at, step in enumerate(steps)
    ]  # fmt: skip


def sweep_source(*steps: int, root: Path | None = None, lines: list[dict[str, Any]] | None = None) -> SweepSource:
    """A sweep of jobs at these steps, and one at step 100 that failed."""
    comparison = compared(steps, rows() if lines is None else lines)
    failed = SweepJob(
        number=len(steps), label="step_100", step=100, status="failed", message="no <weights>\nhint", folder=Path("x")
    )
    metadata = {"model": {"name": "mine"}, "argv": ["run.py", "-m"], "versions": {"scipy": "1.2.3"}}
    return SweepSource(
        name="my <sweep>",
        subtitle="mine on mini",
        swept=["model.checkpoint"],
        jobs=[*jobs_of(comparison, steps), failed],
        comparison=comparison,
        notes=["rows that were <made> up"],
        metadata=[metadata | {"started": str(step)} for step in steps],
        audio_roots=[root] if root else [],
    )
