"""Open an MLflow store and experiment, safely when several processes do it at once."""

import logging
import os
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

SQLITE = "sqlite:///"

_MANNERS = {
    # It would try for many minutes to reach a server that is down; a benchmark does not wait for its sink.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    # It would print addresses on stdout, where the results are.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def open_experiment(uri: str, name: str, artifacts: str | None) -> tuple[MlflowClient, str]:
    """Return a client and the id of the experiment, which is made if it is not there.

    Args:
        uri: Tracking store; for SQLite an absolute `sqlite:////path/mlflow.db`.
        name: Experiment name.
        artifacts: Folder or URI for the artifacts of a new experiment; None leaves it to the server.
    """
    calm_mlflow()
    if not uri.startswith(SQLITE):
        return _open(uri, name, artifacts)
    # Processes that create the same SQLite file together crash in its migrations: one at a time.
    path = Path(uri.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        return _open(uri, name, Path(artifacts).resolve().as_uri() if artifacts else None)


def reopen(client: MlflowClient, run_id: str) -> bool:
    """Set a run of before to RUNNING again; False if the store has no such run."""
    try:
        if client.get_run(run_id).info.lifecycle_stage != "active":
            return False
        client.update_run(run_id, status="RUNNING")
    except MlflowException:
        return False
    return True


def calm_mlflow() -> None:
    """Keep MLflow from waiting for long and from telling what nobody asked; call before a client is made."""
    for key, value in _MANNERS.items():
        os.environ.setdefault(key, value)
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # its database migrations are nobody's news


def _open(uri: str, name: str, artifacts: str | None) -> tuple[MlflowClient, str]:
    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(name)
    if found is not None:
        return client, found.experiment_id
    try:
        return client, client.create_experiment(name, artifact_location=artifacts)
    except MlflowException:
        # Somebody else on the same server was quicker.
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return client, found.experiment_id
