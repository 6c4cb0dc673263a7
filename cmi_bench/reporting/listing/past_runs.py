"""Runs of before, as they are found on disk."""

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmi_bench.evaluation.metrics import ACC, SRCC
from cmi_bench.tracking.read_metadata import look_up, read_metadata

log = logging.getLogger(__name__)

METADATA_FILE, METRICS_FILE = "metadata.json", "metrics.json"
MAIN_METRICS = (SRCC, ACC)
"""What stands for a task in one cell; a task has one of them."""


@dataclass(frozen=True)
class PastRun:
    """One run's folder."""

    folder: Path
    started: str
    """UTC, ISO 8601; empty where the metadata do not say."""
    status: str
    task: str
    model: str
    data: str
    """Which rows; empty for a task without rows."""
    metrics: Mapping[tuple[str, str], float]
    """SRCC or ACC by dataset and task, where defined."""
    n_failed: int | None
    """Clips that could not be scored; None where the run did not come so far."""


def find_runs(folders: Iterable[Path]) -> list[PastRun]:
    """Return the runs under some folders, newest first; a folder that is not there holds none."""
    runs = [run for folder in folders for run in _runs_under(folder)]
    return sorted(runs, key=lambda run: (run.started, str(run.folder)), reverse=True)


def _runs_under(folder: Path) -> Iterator[PastRun]:
    # Not `rglob`, which fails when a folder goes away meanwhile.
    for name, _, files in os.walk(folder):
        if METADATA_FILE in files:
            metadata = read_metadata(Path(name) / METADATA_FILE)
            if metadata is not None:
                yield _run(Path(name), metadata)


def _run(folder: Path, metadata: Mapping[str, Any]) -> PastRun:
    return PastRun(
        folder=folder,
        started=str(metadata.get("started", "")),
        status=str(metadata.get("status", "unknown")),
        task=str(look_up(metadata, "config", "task") or ""),
        model=str(look_up(metadata, "model", "name") or ""),
        data=_data(metadata),
        metrics=dict(_metrics(folder / METRICS_FILE)),
        n_failed=look_up(metadata, "counts", "failed"),
    )


def _data(metadata: Mapping[str, Any]) -> str:
    """Return the name of the rows, e.g. "mini" or "mini/pam"; empty for a task that has none, such as sanity."""
    if look_up(metadata, "data", "jsonl") is None:
        return ""
    data, subset = look_up(metadata, "config", "data", "name"), look_up(metadata, "config", "subset", "name")
    return f"{data}/{subset}" if subset not in (None, "all") else str(data)


def _metrics(path: Path) -> Iterator[tuple[tuple[str, str], float]]:
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))["summary"]
    except FileNotFoundError:  # a run that failed, or does not measure agreement
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read (%s): its run is listed without metrics.", path, error)
        return
    for line in summary:
        value = next((line[metric] for metric in MAIN_METRICS if line.get(metric) is not None), None)
        if value is not None:
            yield (line["dataset"], line["task"]), float(value)
