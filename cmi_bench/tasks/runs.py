"""The runs that a task is given: folders, results files or MLflow run ids."""

import re
from collections.abc import Sequence
from pathlib import Path

from cmi_bench.config import Config
from cmi_bench.data.jsonl import read_jsonl
from cmi_bench.errors import UserError
from cmi_bench.evaluation.comparison.pairing import Run
from cmi_bench.tasks.run_labels import RunFacts, run_labels
from cmi_bench.tracking.read_metadata import read_metadata

RESULTS, METADATA = "results.jsonl", "metadata.json"
MLFLOW_RUN_ID = re.compile(r"[0-9a-f]{32}")
FETCHED = "fetched_runs"
"""Folder, in the task's own, of what came from MLflow."""


def load_runs(config: Config, folder: Path) -> list[Run]:
    """Read the results of `config.runs`, each under a label of its own.

    Args:
        config: Its `runs`, and its tracking store for MLflow run ids.
        folder: The task's folder; what comes from MLflow is kept in it.

    Raises:
        UserError: A run is not there, or has no results.
    """
    facts = [_facts(given, config, folder) for given in config.runs]
    return [
        Run(label, _rows(run.results), str(run.results)) for label, run in zip(run_labels(facts), facts, strict=True)
    ]


def checked_alpha(config: Config) -> float:
    """Return the level of significance.

    Raises:
        UserError: It is not between 0 and 1.
    """
    if not 0 < config.alpha < 1:
        raise UserError(f"alpha={config.alpha} is not between 0 and 1.", "Use alpha=0.05.")
    return config.alpha


def _facts(given: str, config: Config, folder: Path) -> RunFacts:
    results = _find_results(given, config, folder)
    return RunFacts(results, read_metadata(results.with_name(METADATA)) or {})


def _find_results(given: str, config: Config, folder: Path) -> Path:
    path = Path(given).expanduser()
    if path.is_dir():
        if not (path / RESULTS).is_file():
            raise UserError(f"{path} has no {RESULTS}.", _hint(path))
        return path / RESULTS
    if path.is_file():
        return path
    if MLFLOW_RUN_ID.fullmatch(given):
        # MLflow takes seconds to import; folders and files do without.
        from cmi_bench.tracking.mlflow_results import fetch_results

        return fetch_results(given, config.tracking.uri, folder / FETCHED / given)
    raise UserError(
        f"There is no run {given!r}.", "A run is a folder with results.jsonl, such a file, or an MLflow run id."
    )


def _hint(path: Path) -> str:
    """A sweep's folder holds its runs; say them."""
    inside: Sequence[Path] = sorted(found.parent for found in path.glob(f"*/{RESULTS}"))
    if not inside:
        return "Was the run finished? It leaves results.jsonl in its folder."
    return f"It holds runs: runs=[{','.join(map(str, inside))}]"


def _rows(results: Path) -> list[dict[str, object]]:
    rows = [line.value for line in read_jsonl(results)]
    if not rows:
        raise UserError(f"{results} is empty.", "Was the run finished? A results file has one JSON object a line.")
    return rows
