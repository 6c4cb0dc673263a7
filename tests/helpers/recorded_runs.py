"""Runs that are recorded: what a task does with a tracker, without the task."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scored_rows import arena, clips

from cmi_bench.config import MetricSettings, TrackingConfig
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.tracking.callback import TrackingCallback
from cmi_bench.tracking.description import RunDescription
from cmi_bench.tracking.mlflow import MLflowRun
from cmi_bench.tracking.tracker import RunOutcome

DESCRIPTION = RunDescription("signal on mini", params={"model": "signal"}, tags={"git_commit": "abc"})
METADATA = {
    "config": {"data": {"jsonl": "/rows/all_test.jsonl", "split": "test"}},
    "model": {"name": "signal", "class": "somewhere.Signal", "digest": None},
    "counts": {"clips": 12, "scored": 10, "failed": 2, "from_store": 4},
    "seconds": {"wall": 4.0},
    "memory": {"process_gb": 0.5},
}
ROWS = [*clips((1.0, 2.0, 3.0, 4.0), (0.1, 0.3, 0.2, 0.4)), *(arena("model_a", 0.9, score) for score in (0.1, 1.0))]


def sqlite_settings(folder: Path, **changes: Any) -> TrackingConfig:
    """A store in a folder."""
    where = {"uri": f"sqlite:///{folder}/mlflow.db", "artifacts": str(folder / "artifacts")}
    return TrackingConfig("here", **({**where, "experiment": "experiment"} | changes))


@contextlib.contextmanager
def recorded_run(settings: TrackingConfig, description: RunDescription = DESCRIPTION) -> Iterator[MLflowRun]:
    """A run that is started in the block, and closed as the block ends."""
    run = MLflowRun(settings, description)
    with TrackingCallback(run):
        run.start()
        yield run


def dataset(name: str, rows: int, digest: str) -> dict[str, Any]:
    """A dataset as a run's metadata describe it."""
    return {"name": name, "rows": rows, "digest": digest}


def outcome(
    rows: Sequence[Mapping[str, Any]] = ROWS, *, files: Sequence[Path] = (), datasets: Sequence[dict[str, Any]] = ()
) -> RunOutcome:
    """What a run over four clips and two pairs comes to."""
    metadata = METADATA | {"data": {"datasets": list(datasets)}}
    return RunOutcome(evaluate(rows, MetricSettings(resamples=0)), rows, metadata, files)
