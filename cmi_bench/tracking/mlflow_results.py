"""Fetch what a run recorded in MLflow."""

import re
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from cmi_bench.errors import UserError
from cmi_bench.tracking.metadata import without_credentials
from cmi_bench.tracking.mlflow_store import SQLITE, calm_mlflow

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
