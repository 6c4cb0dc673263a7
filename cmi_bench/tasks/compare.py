"""`task=compare` and `task=leaderboard`: runs beside each other, and beside the paper's figures.

A run is a folder, a results file or an MLflow run id; its label is as short as it can be for all to differ. Neither
task needs a model or torch.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.config import CompareTask
from cmi_bench.data.rows import RESULTS_FILE, read_results
from cmi_bench.errors import UserError
from cmi_bench.evaluation.comparison import compare_runs
from cmi_bench.evaluation.pairing import Run
from cmi_bench.reporting.comparison import comparison_view, write_comparison
from cmi_bench.reporting.leaderboard.build import build_leaderboard
from cmi_bench.reporting.leaderboard.render import leaderboard_view, write_leaderboard
from cmi_bench.tracking.metadata import look_up, read_metadata
from cmi_bench.utils.console import print_view

TELLING = ("model", "max_dur", "precision", "batch_size", "seed")
"""Parts of the configuration that make two runs of one model different runs."""
MAX_VALUE = 32
"""Characters of a value in a label."""
MAX_SETTINGS = 3
"""Where runs differ in more, a folder's name says it better."""


class RunFacts(NamedTuple):
    """What a run can be named by."""

    results: Path
    """Its results file."""
    metadata: Mapping[str, Any]
    """What it wrote of itself; empty if nothing."""


def run_labels(runs: Sequence[RunFacts]) -> list[str]:
    """Return a label for each run, as short as it can be for all to differ.

    The model's name where that is enough; then with the settings in which runs of that model differ; then
    with the run's folder, and its parent's. Runs that are one and the same are numbered.
    """
    labels = [_name(run) for run in runs]
    attempts: list[Callable[[RunFacts, list[RunFacts]], str]] = [
        _settings_apart,
        lambda run, _: run.results.absolute().parent.name,
        lambda run, _: "/".join(run.results.absolute().parts[-3:-1]),
    ]
    for attempt in attempts:
        counts = Counter(labels)
        for name in [label for label, count in counts.items() if count > 1]:
            members = [at for at, label in enumerate(labels) if label == name]
            alike = [runs[at] for at in members]
            texts = [attempt(run, alike) for run in alike]
            if len(set(texts)) == len(texts):
                for at, text in zip(members, texts, strict=True):
                    labels[at] = f"{name} ({text})"
    return _numbered(labels)


def _name(run: RunFacts) -> str:
    name = run.metadata.get("model", {}).get("name")
    if name:
        return str(name)
    return run.results.absolute().parent.name if run.results.name == RESULTS_FILE else run.results.stem


def _settings_apart(run: RunFacts, alike: list[RunFacts]) -> str:
    settings = [_flat(one.metadata.get("config", {})) for one in alike]
    keys = dict.fromkeys(key for one in settings for key in one)
    apart = [key for key in keys if key != "model.name" and len({one.get(key) for one in settings}) > 1]
    if len(apart) > MAX_SETTINGS:
        return ""
    own = _flat(run.metadata.get("config", {}))
    return ", ".join(f"{key.rpartition('.')[2]}={_short(own.get(key, ''))}" for key in apart)


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the telling leaves of a configuration by their dotted keys."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if prefix or key in TELLING:
            nested = isinstance(value, Mapping)
            flat |= _flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": str(value)}
    return flat


def _short(value: str) -> str:
    """A path says most in its last part."""
    last = value.rstrip("/").rpartition("/")[2]
    return last if len(last) <= MAX_VALUE else f"{last[: MAX_VALUE - 1]}…"


def _numbered(labels: Sequence[str]) -> list[str]:
    counts, seen = Counter(labels), Counter[str]()
    numbered = []
    for label in labels:
        seen[label] += 1
        numbered.append(f"{label} #{seen[label]}" if counts[label] > 1 else label)
    return numbered


METADATA = "metadata.json"
MLFLOW_RUN_ID = re.compile(r"[0-9a-f]{32}")
FETCHED = "fetched_runs"
"""Folder, in the task's own, of what came from MLflow."""


class LoadedRuns(NamedTuple):
    """Runs to compare."""

    runs: list[Run]
    notes: list[str]
    """What has to be known of the rows that they scored."""


def load_runs(config: CompareTask, folder: Path) -> LoadedRuns:
    """Read the results of `config.runs`, each under a label of its own.

    Args:
        config: Its `runs`, and its tracking store for MLflow run ids.
        folder: The task's folder; what comes from MLflow is kept in it.

    Raises:
        UserError: A run is not there, or has no results.
    """
    facts = [_facts(given, config, folder) for given in config.runs]
    runs = [
        Run(label, read_results(run.results), str(run.results))
        for label, run in zip(run_labels(facts), facts, strict=True)
    ]
    notes = (look_up(run.metadata, "config", "data", "note") for run in facts)
    return LoadedRuns(runs, list(dict.fromkeys(note for note in notes if isinstance(note, str) and note)))


def _facts(given: str, config: CompareTask, folder: Path) -> RunFacts:
    results = _find_results(given, config, folder)
    return RunFacts(results, read_metadata(results.with_name(METADATA)) or {})


def _find_results(given: str, config: CompareTask, folder: Path) -> Path:
    path = Path(given).expanduser()
    if path.is_dir():
        if not (path / RESULTS_FILE).is_file():
            raise UserError(f"{path} has no {RESULTS_FILE}.", _hint(path))
        return path / RESULTS_FILE
    if path.is_file():
        return path
    if MLFLOW_RUN_ID.fullmatch(given):
        # MLflow takes seconds to import; folders and files do without.
        from cmi_bench.tracking.mlflow_store import fetch_results

        return fetch_results(given, config.tracking, folder / FETCHED / given)
    raise UserError(
        f"There is no run {given!r}.", "A run is a folder with results.jsonl, such a file, or an MLflow run id."
    )


def _hint(path: Path) -> str:
    """A sweep's folder holds its runs; say them."""
    inside: Sequence[Path] = sorted(found.parent for found in path.glob(f"*/{RESULTS_FILE}"))
    if not inside:
        return f"Was the run finished? It leaves {RESULTS_FILE} in its folder."
    return f"It holds runs: runs=[{','.join(map(str, inside))}]"


def run_compare(config: CompareTask, folder: Path) -> None:
    """Compare `config.runs` on the same rows, into `folder`.

    Raises:
        UserError: Fewer than two runs, a run without results, or runs over different rows.
    """
    if len(config.runs) < 2:
        given = f"one: {config.runs[0]}" if config.runs else "none"
        raise UserError(f"task=compare needs two or more runs; given is {given}.", "Give them as runs=[A,B].")
    settings = config.metrics
    if settings.resamples == 0:
        raise UserError("metrics.resamples=0 leaves nothing to compare by.", "Leave it at its default.")
    runs, notes = load_runs(config, folder)
    comparison = compare_runs(runs, settings, alpha=config.alpha, intersect=config.intersect)
    comparison = replace(comparison, notes=(*comparison.notes, *notes))
    write_comparison(comparison, folder)
    print_view(comparison_view(comparison))
    print_view(f"Results: {folder}")


def run_leaderboard(config: CompareTask, folder: Path) -> None:
    """Write the leaderboard with `config.runs`, none or more, into `folder`.

    Raises:
        UserError: A run is not there, or has no results.
    """
    runs, notes = load_runs(config, folder)
    board = build_leaderboard(runs, config.metrics, alpha=config.alpha, intersect=config.intersect)
    board = replace(board, notes=[*board.notes, *notes])
    write_leaderboard(board, folder)
    print_view(leaderboard_view(board))
    print_view(f"Results: {folder}")
