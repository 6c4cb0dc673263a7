"""Whether runs can be recorded."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cmi_bench.config import Config
from cmi_bench.doctor.finding import Finding, Status
from cmi_bench.urls import without_credentials

AREA = "tracking"
SQLITE = "sqlite:///"
PATIENCE = 5.0
"""Seconds that a server has to answer."""
OFF = "or leave recording out with tracking=none"


def check_tracking(config: Config) -> Iterator[Finding]:
    """Look at the MLflow store; a run works without it, so nothing here is worse than a warning."""
    uri = config.tracking.uri
    if uri is None:
        yield Finding(AREA, "MLflow", Status.OK, "runs are not recorded")
    elif uri.startswith(SQLITE):
        yield _check_sqlite(Path(uri.removeprefix(SQLITE)))
    elif uri.startswith(("http://", "https://")):
        yield _check_server(uri)
    else:
        found = f"{without_credentials(uri)} is no store that MLflow still takes."
        yield Finding(AREA, "MLflow", Status.WARNING, found, f"tracking.uri=sqlite:////folder/mlflow.db, {OFF}")


def _check_sqlite(file: Path) -> Finding:
    if not file.exists():
        return Finding(AREA, "MLflow", Status.OK, f"{file} is made by the first run")
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=PATIENCE)) as store:
            (answer,) = store.execute("PRAGMA quick_check").fetchone()
            runs = store.execute("SELECT count(*) FROM runs").fetchone()[0] if answer == "ok" else 0
    except sqlite3.Error as error:
        answer, runs = str(error), 0
    if answer == "ok":
        return Finding(AREA, "MLflow", Status.OK, f"{runs} runs in {file}")
    return Finding(
        AREA, "MLflow", Status.WARNING, f"{file} is no MLflow store: {answer}.", f"mv {file} elsewhere, {OFF}"
    )


def _check_server(uri: str) -> Finding:
    import httpx2

    try:
        status = httpx2.get(f"{uri.rstrip('/')}/health", timeout=PATIENCE, follow_redirects=True).status_code
        reason = f"answers {status}"
    except httpx2.TransportError as error:
        status, reason = 0, f"cannot be reached: {error}"
    shown = without_credentials(uri)
    if status == httpx2.codes.OK:
        return Finding(AREA, "MLflow", Status.OK, f"{shown} answers")
    return Finding(AREA, "MLflow", Status.WARNING, f"{shown} {reason}.", f"Start it, mend tracking.uri, {OFF}")
