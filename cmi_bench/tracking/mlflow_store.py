"""An MLflow store: open it safely when several processes do so at once, and fetch what a run recorded in it."""

import logging
import os
import re
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from cmi_bench.config import TrackingConfig
from cmi_bench.errors import UserError
from cmi_bench.utils.files import without_credentials

SQLITE = "sqlite:///"

_DEFAULTS = {
    # It would try for many minutes to reach a server that is down; a benchmark does not wait for its sink.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    # It would print addresses on stdout, where the results are.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def open_experiment(settings: TrackingConfig) -> tuple[MlflowClient, str]:
    """Return a client and the id of the experiment, which is made if it is not there.

    Args:
        settings: With a `uri`; for SQLite an absolute `sqlite:////path/mlflow.db`.
    """
    assert settings.uri is not None
    uri, artifacts = settings.uri, settings.artifacts
    calm_mlflow()
    if not uri.startswith(SQLITE):
        return _open(uri, settings.experiment, artifacts)
    # Processes that create the same SQLite file together crash in its migrations: one at a time.
    path = Path(uri.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        return _open(uri, settings.experiment, Path(artifacts).resolve().as_uri() if artifacts else None)


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
    """Keep MLflow from waiting for long and from printing much; call before a client is made."""
    for key, value in _DEFAULTS.items():
        os.environ.setdefault(key, value)
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it reports each migration of its database


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


RUN_ID = re.compile(r"[0-9a-f]{32}")
RESULTS, METADATA = "results.jsonl", "metadata.json"


def fetch_results(run_id: str, uri: str | None, folder: Path) -> Path:
    """Download a run's `results.jsonl`, and its `metadata.json` where it has one.

    Args:
        run_id: 32 hexadecimal digits.
        uri: Tracking store.
        folder: Where to; made if missing.

    Returns:
        The results file.

    Raises:
        UserError: There is no such store, run or artifact.
    """
    if uri is None:
        raise UserError(
            f"{run_id} looks like an MLflow run, and no store is named.",
            "Give tracking.uri=..., or the run's folder instead.",
        )
    shown = without_credentials(uri)
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists():
        raise UserError(f"There is no MLflow store at {shown}.", "Check tracking.uri.")
    calm_mlflow()
    try:
        client = MlflowClient(tracking_uri=uri)
        names = {artifact.path for artifact in client.list_artifacts(run_id)}
        if RESULTS not in names:
            raise UserError(
                f"The MLflow run {run_id} has no {RESULTS} among its artifacts.",
                "Was it finished? Its folder may have the file.",
            )
        folder.mkdir(parents=True, exist_ok=True)
        for name in (RESULTS, METADATA):
            if name in names:
                client.download_artifacts(run_id, name, str(folder))
    except MlflowException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"MLflow run {run_id} at {shown}: {reason}", "Check the run id and tracking.uri.") from error
    return folder / RESULTS
