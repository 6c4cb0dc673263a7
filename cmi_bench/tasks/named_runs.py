"""The runs that `runs=` names: by a folder, a results file, a sweep's folder, a pattern, or an MLflow run id."""

import glob
import itertools
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.config import TrackingConfig
from cmi_bench.data.rows import RESULTS_FILE, read_results
from cmi_bench.errors import UserError
from cmi_bench.evaluation.pairing import Run
from cmi_bench.models.checkpoint_names import natural_key
from cmi_bench.reporting.format import one_line
from cmi_bench.reporting.sweep_jobs import read_outcomes
from cmi_bench.tasks.run_labels import RunFacts, run_labels
from cmi_bench.tracking.job_record import FINISHED, read_record
from cmi_bench.tracking.metadata import METADATA_FILE, look_up, read_metadata
from cmi_bench.tracking.sweep_plan import SweepPlan, read_plan

MLFLOW_RUN_ID = re.compile(r"[0-9a-f]{32}")
FETCHED = "fetched_runs"
"""Folder, in the task's own, of what came from MLflow."""
SHOWN = 5
"""Names in a message; the rest are counted."""


class LoadedRuns(NamedTuple):
    """Runs to compare."""

    runs: list[Run]
    left_out: list[str]
    """What was named and has no results, in words."""
    metadata: list[Mapping[str, Any]]
    """What each run wrote of itself; empty if nothing."""

    @property
    def notes(self) -> list[str]:
        """What was left out, and what has to be known of the rows that the runs scored."""
        return [*self.left_out, *dict.fromkeys(run.note for run in self.runs if run.note)]


def load_runs(named: Sequence[str], tracking: TrackingConfig, folder: Path) -> LoadedRuns:
    """Read the results of runs, each under a label of its own.

    Args:
        named: See `find_runs`.
        tracking: Where the store is that MLflow run ids are looked up in.
        folder: What comes from MLflow is kept in it.

    Raises:
        UserError: A run is not there or has no results, or nothing matches a pattern.
    """
    found = find_runs(named, tracking, folder)
    labels = run_labels(found.runs)
    runs = [
        Run(label, read_results(run.results), str(run.results), _data_note(run))
        for label, run in zip(labels, found.runs, strict=True)
    ]
    return LoadedRuns(runs, found.left_out, [run.metadata for run in found.runs])


def _data_note(run: RunFacts) -> str:
    note = look_up(run.metadata, "config", "data", "note")
    return note if isinstance(note, str) else ""


class FoundRuns(NamedTuple):
    """What `runs=` stands for."""

    runs: list[RunFacts]
    left_out: list[str]
    """What was named and has no results, in words."""


def find_runs(named: Sequence[str], tracking: TrackingConfig, folder: Path) -> FoundRuns:
    """Find the runs; one that is named again, as by a pattern, is taken once.

    Args:
        named: Run folders, results files, sweeps' folders, patterns as the shell writes them, MLflow run ids.
        tracking: Where the store is that MLflow run ids are looked up in.
        folder: What comes from MLflow is kept in it.

    Raises:
        UserError: One of them is not there or has no results; the message says what was looked at.
    """
    found = [_find(one, tracking, folder) for one in named]
    by_file: dict[Path, RunFacts] = {}
    for run in itertools.chain.from_iterable(one.runs for one in found):
        by_file.setdefault(run.results.resolve(), run)
    return FoundRuns(list(by_file.values()), [note for one in found for note in one.left_out])


def _find(named: str, tracking: TrackingConfig, folder: Path) -> FoundRuns:
    path = Path(named).expanduser()
    if path.is_dir():
        return _in_folder(path)
    if path.is_file():
        return FoundRuns([_facts(path)], [])
    if MLFLOW_RUN_ID.fullmatch(named):
        # MLflow takes seconds to import; folders and files do without.
        from cmi_bench.tracking.mlflow_store import fetch_results

        return FoundRuns([_facts(fetch_results(named, tracking, folder / FETCHED / named))], [])
    if glob.has_magic(named):
        return _matching(str(path))
    raise UserError(
        f"There is no run {named!r}.",
        f"A run is a folder with {RESULTS_FILE}, such a file, a sweep's folder, a pattern, or an MLflow run id.",
    )


def _facts(results: Path, job: str = "") -> RunFacts:
    record = None if job else read_record(results.parent)
    return RunFacts(results, read_metadata(results.with_name(METADATA_FILE)) or {}, record.label if record else job)


def _in_folder(path: Path) -> FoundRuns:
    """Return the run of a folder, or the jobs of a sweep's.

    Raises:
        UserError: It has no results.
    """
    if (path / RESULTS_FILE).is_file():
        return FoundRuns([_facts(path / RESULTS_FILE)], [])
    if (plan := read_plan(path)) is not None:
        return _jobs(plan, path)
    holds_runs = next(path.glob(f"*/{RESULTS_FILE}"), None) is not None
    raise UserError(
        f"{path} has no {RESULTS_FILE}.",
        f"It holds runs: \"runs=['{path}/*']\""
        if holds_runs
        else f"Was the run finished? It leaves {RESULTS_FILE} in its folder.",
    )


def _jobs(plan: SweepPlan, path: Path) -> FoundRuns:
    runs, without = [], []
    for job in read_outcomes(plan, path):
        results = job.folder / RESULTS_FILE
        if job.status == FINISHED and results.is_file():
            runs.append(_facts(results, job.label))
        else:
            reason = f": {one_line(job.reason).rstrip('.')}" if job.reason else ""
            without.append(f"{job.label} ({'no results' if job.status == FINISHED else job.status}{reason})")
    if not runs:
        raise UserError(f"No job of the sweep {path} has results: {_listed(without)}.", _go_on(path))
    return FoundRuns(runs, [f"Missing of the sweep {path}: {_listed(without)}."] if without else [])


def _go_on(path: Path) -> str:
    return f"The sweep's command with hydra.sweep.dir={path} goes on."


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _matching(pattern: str) -> FoundRuns:
    """Return the runs that a pattern matches; folders without results are passed over and named.

    Raises:
        UserError: None is matched.
    """
    matched = sorted(map(Path, glob.glob(pattern, recursive=True)), key=lambda path: natural_key(str(path)))  # noqa: PTH207 # an absolute pattern too
    runs: list[RunFacts] = []
    left_out, without = [], []
    for path in matched:
        if path.is_file():
            is_results = path.name == RESULTS_FILE or (path.suffix == ".jsonl" and pattern.endswith(".jsonl"))
            runs += [_facts(path)] if is_results else []
            continue
        try:
            found = _in_folder(path)
        except UserError:
            without.append(str(path))
        else:
            runs += found.runs
            left_out += found.left_out
    if not runs:
        raise UserError(f"No run matches {pattern!r}.", _looked_at(pattern, without))
    if without:
        left_out.append(f"Without {RESULTS_FILE}, of {pattern}: {_listed(without)}.")
    return FoundRuns(runs, left_out)


def _looked_at(pattern: str, without: Sequence[str]) -> str:
    """Say how far the pattern leads."""
    if without:
        return f"Looked at {_listed(without)}: no {RESULTS_FILE} there. Were the runs finished?"
    parts = Path(pattern).parts
    for end in range(len(parts) - 1, -1, -1):
        there = sorted(glob.glob(str(Path(*parts[:end]))), key=natural_key)  # noqa: PTH207 # as above
        if there and (folder := Path(there[0])).is_dir():
            break
    inside = sorted((path.name for path in folder.iterdir()), key=natural_key)
    near = get_close_matches(parts[end], inside, n=1)
    guess = f" Did you mean {near[0]}?" if near else ""
    return f"Looked in {_listed(there)}; {folder.absolute()} holds {_listed(inside) or 'nothing'}.{guess}"
