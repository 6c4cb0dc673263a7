"""What there is: the options of the configuration, what is measured, and past runs."""

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from rich import box
from rich.table import Table

from cmi_bench.data.datasets import all_datasets
from cmi_bench.evaluation.metrics import Shown, all_metrics, metrics_of
from cmi_bench.models.registry import installed_models
from cmi_bench.reporting.format import text_cell
from cmi_bench.tracking.metadata import METADATA_FILE, look_up, read_metadata
from cmi_bench.utils.distributed import DEVICES
from cmi_bench.utils.installation import config_sentence

log = logging.getLogger(__name__)


class Option(NamedTuple):
    """A value that a key can have."""

    key: str
    """As it is written: "model=", "+sweep="."""
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
        table.add_row(text_cell(option.key + option.name), text_cell(option.description))
    return table


def tasks_table() -> Table:
    """Return what is judged in each dataset, and by which metrics."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="What is measured", title_justify="left")
    for name in ("dataset", "subset=", "task", "label", "metrics", "in groups"):
        table.add_column(name, no_wrap=True)
    for dataset in all_datasets():
        for task in dataset.tasks:
            table.add_row(
                dataset.name,
                dataset.slug,
                task.name,
                "preferred clip" if dataset.is_paired else "mean opinion score",
                ", ".join(metric.name for metric in metrics_of(task)),
                ", ".join(metric.name for metric in metrics_of(task, Shown.DETAIL)),
            )
    return table


METRICS_FILE = "metrics.json"


class PastMetric(NamedTuple):
    """The number that stands for a task of a past run."""

    name: str
    """SRCC or ACC."""
    value: float


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
    metrics: Mapping[tuple[str, str], "PastMetric"]
    """By dataset and task, where defined."""
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
    if look_up(metadata, "data", "jsonl") is None and look_up(metadata, "data", "own") is None:
        return ""
    data, subset = look_up(metadata, "config", "data", "name"), look_up(metadata, "config", "subset", "name")
    return f"{data}/{subset}" if subset not in (None, "all") else str(data)


def _metrics(path: Path) -> Iterator[tuple[tuple[str, str], PastMetric]]:
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))["summary"]
    except FileNotFoundError:  # a run that failed, or does not measure agreement
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read (%s): its run is listed without metrics.", path, error)
        return
    for line in summary:
        name = next((one.name for one in all_metrics(Shown.HEADLINE) if line.get(one.name) is not None), None)
        if name is not None:
            yield (line["dataset"], line["task"]), PastMetric(name, float(line[name]))


STYLES = {"finished": "green", "failed": "bold red", "running": "yellow"}
BENCHMARK = "benchmark"


def runs_table(runs: Sequence[PastRun], *, base: Path) -> Table:
    """Return a line for each run.

    Args:
        runs: In the order wanted.
        base: Folders below it are written relative to it.
    """
    measured = {place: metric.name for run in runs for place, metric in run.metrics.items()}
    tasks = [(dataset.name, task.name) for dataset in all_datasets() for task in dataset.tasks]
    # The user's own datasets, which no configuration may declare any more, follow.
    shown = [*(place for place in tasks if place in measured), *(place for place in measured if place not in tasks)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Past runs, newest first", title_justify="left")
    for name in ("started (UTC)", "status", "model", "data"):
        table.add_column(name, no_wrap=True)
    for dataset, task in shown:
        heading = text_cell(f"{dataset}\n{task}\n{measured[dataset, task]}")
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("failed", justify="right", no_wrap=True)
    table.add_column("folder", overflow="fold")
    for run in runs:
        metrics = (run.metrics.get(place) for place in shown)
        table.add_row(
            text_cell(run.started[:16].replace("T", " ")),
            text_cell(run.status, style=STYLES.get(run.status, "")),
            text_cell(run.model + (f" ({run.task})" if run.task not in ("", BENCHMARK) else "")),
            text_cell(run.data),
            *(text_cell("" if metric is None else f"{metric.value:.4f}") for metric in metrics),
            text_cell("" if run.n_failed is None else str(run.n_failed), style="bold red" if run.n_failed else "dim"),
            text_cell(str(run.folder.relative_to(base) if run.folder.is_relative_to(base) else run.folder)),
        )
    return table


FIRST = ("task", "model", "data", "subset", "metrics")
"""Groups in this order; others follow."""
NOT_SHOWN = frozenset({"hydra", "trainer"})


def all_options() -> Iterator[Option]:
    """Yield each group's options, those of the project and of any `--config-dir`, then the devices."""
    groups = GlobalHydra.instance().config_loader().list_groups("")
    others = sorted(set(groups) - set(FIRST) - NOT_SHOWN)
    chosen = HydraConfig.get().runtime
    files = [Path(source.path) for source in chosen.config_sources if source.schema == "file"]
    for group in (*(name for name in FIRST if name in groups), *others):
        # A group without a default is chosen with a plus.
        key = f"{group}=" if group in chosen.choices else f"+{group}="
        for name in GlobalHydra.instance().config_loader().get_group_options(group):
            yield Option(key, name, _config_sentence(group, name, files))
    for name, description in DEVICES.items():
        yield Option("device=", name, description)


def _config_sentence(group: str, name: str, folders: Iterable[Path]) -> str:
    """Return the first sentence of an option's YAML file, or whose model it is; empty where nothing is known."""
    for folder in folders:
        path = folder / group / f"{name}.yaml"
        if path.is_file():
            return config_sentence(path)
    installed = {model.name: model.package for model in installed_models()} if group == "model" else {}
    return f"Of the installed package {installed[name]}." if name in installed else ""
