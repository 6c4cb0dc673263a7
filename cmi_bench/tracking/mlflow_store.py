"""An MLflow store: open it safely when several processes do so at once, and fetch what a run recorded in it."""

import contextlib
import glob
import logging
import os
import sqlite3
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from cmi_bench.config import TrackingConfig
from cmi_bench.data.rows import RESULTS_FILE
from cmi_bench.errors import UserError
from cmi_bench.tracking.metadata import METADATA_FILE
from cmi_bench.utils.files import hide_credentials
from cmi_bench.utils.waiting import locked, within

SQLITE = "sqlite:///"
ARTIFACTS = "mlartifacts"
"""Folder beside an SQLite file for the artifacts of its runs, where no other is named."""
WRITE_SECONDS = 15.0
"""How long to wait for another process that writes to the same SQLite file."""
USE_SQLITE = "Use tracking.uri=sqlite:////folder/mlflow.db or a server's address; tracking=none records nothing."

_DEFAULTS = {
    # It would try for many minutes to reach a server that is down; a benchmark does not wait for its sink.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    # It would print addresses on stdout, where the results are.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class Opened(NamedTuple):
    """A run that is open in a store."""

    client: MlflowClient
    experiment_id: str
    run_id: str
    is_earlier: bool
    """Whether it is a run of before, that has its params and tags."""


def open_run(settings: TrackingConfig, name: str, tags: Mapping[str, str], *, earlier: str | None = None) -> Opened:
    """Open a run in an experiment, which is made if it is not there.

    Args:
        settings: With a `uri`.
        name: A new run's.
        tags: A new run's.
        earlier: The id of a run to go on with, if the store has it.

    Raises:
        UserError: The store is a folder, no database, or locked by another process.
        mlflow.exceptions.MlflowException: What else can go wrong.
    """
    client, experiment_id = open_experiment(settings)
    if earlier is not None and reopen(client, earlier):
        return Opened(client, experiment_id, earlier, is_earlier=True)
    return Opened(
        client,
        experiment_id,
        client.create_run(experiment_id, run_name=name, tags=dict(tags)).info.run_id,
        is_earlier=False,
    )


def open_experiment(settings: TrackingConfig) -> tuple[MlflowClient, str]:
    """Return a client and the id of the experiment, which is made if it is not there.

    Args:
        settings: With a `uri`; for SQLite an absolute `sqlite:////path/mlflow.db`.

    Raises:
        UserError: The store is a folder, no database, or locked by another process.
        mlflow.exceptions.MlflowException: What else can go wrong.
    """
    assert settings.uri is not None
    uri, artifacts = settings.uri, settings.artifacts
    calm_mlflow()
    _refuse_folder(uri)
    if not uri.startswith(SQLITE):
        # A folder of this machine, such as the default, is none of the server's: it chooses the place itself.
        return _open(uri, settings.experiment, artifacts if artifacts and "://" in artifacts else None)
    # Processes that create the same SQLite file together crash in its migrations: one at a time.
    path = sqlite_file(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(Path(f"{path}.lock"), seconds=settings.timeout, what="opens the MLflow store"):
        _check_sqlite(path)
        if not path.stat().st_size:
            _make_store(path)
        return _open(uri, settings.experiment, _artifact_location(artifacts, path))


def _make_store(path: Path) -> None:
    """Make an SQLite store, which appears when it is whole; to be called with its lock.

    MLflow makes it in many steps, and never opens again what was left in the midst of them, by a kill or a full disk.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp*"):  # of a process that was killed
        left.unlink(missing_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        MlflowClient(tracking_uri=f"{SQLITE}{aside}").search_experiments(max_results=1)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _artifact_location(artifacts: str | None, store: Path) -> str:
    """Return the address of the artifacts of an SQLite file's runs: of itself MLflow takes the current folder."""
    if artifacts and "://" in artifacts:
        return artifacts
    return (Path(artifacts) if artifacts else store.with_name(ARTIFACTS)).resolve().as_uri()


def find_experiment(settings: TrackingConfig) -> str:
    """Return the id of the experiment, which is not made if it is not there.

    Raises:
        UserError: There is no such store or experiment, or the store does not answer.
    """
    uri = settings.uri
    if uri is None:
        raise UserError("tracking=none names no store.", "Give one, such as --store sqlite:////folder/mlflow.db.")
    client, shown = _existing_store(uri), hide_credentials(uri, uri)
    try:
        found = within(settings.timeout, lambda: client.get_experiment_by_name(settings.experiment))
    except (TimeoutError, MlflowException, SQLAlchemyError) as error:
        reason = hide_credentials(str(error).splitlines()[0], uri)
        raise UserError(f"The MLflow store {shown}: {reason}", "Check the address.") from None
    if found is None:
        raise UserError(
            f"The MLflow store {shown} has no experiment {settings.experiment!r}.",
            "A run makes it: make run. For another one: --experiment NAME",
        )
    return str(found.experiment_id)


def _existing_store(uri: str) -> MlflowClient:
    """Return a client of a store that is there.

    Raises:
        UserError: It is not, or it is a folder.
    """
    if uri.startswith(SQLITE) and not sqlite_file(uri).exists():
        raise UserError(f"There is no MLflow store at {hide_credentials(uri, uri)}.", "Check tracking.uri.")
    _refuse_folder(uri)
    calm_mlflow()
    return MlflowClient(tracking_uri=uri)


def _refuse_folder(uri: str) -> None:
    if uri.startswith("file:") or "://" not in uri:
        raise UserError(f"tracking.uri={uri} is a folder, and MLflow keeps runs in a database.", USE_SQLITE)
    if uri.startswith(SQLITE) and (path := sqlite_file(uri)).is_dir():
        raise UserError(f"The MLflow store {path} is a folder.", USE_SQLITE)


def sqlite_file(uri: str) -> Path:
    """Return the file of an SQLite address.

    >>> sqlite_file("sqlite:////data/mlflow.db")
    PosixPath('/data/mlflow.db')
    """
    return Path(uri.removeprefix(SQLITE).partition("?")[0])


def _check_sqlite(path: Path) -> None:
    """Refuse what MLflow would try to open again and again for minutes."""
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=WRITE_SECONDS, isolation_level=None)) as store:
            store.execute("BEGIN IMMEDIATE")
            store.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        hint = "End the process that holds it, or wait." if "locked" in str(error) else "Check its permissions."
        raise UserError(f"The MLflow store {path} cannot be opened: {error}.", hint) from error
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path} is no MLflow store: {error}.", USE_SQLITE) from error


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
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # each retry; the last failure is reported


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


def fetch_results(run_id: str, settings: TrackingConfig, folder: Path) -> Path:
    """Download a run's `results.jsonl`, and its `metadata.json` where it has one.

    Args:
        run_id: 32 hexadecimal digits.
        settings: Where the tracking store is, and how long each of its answers may take.
        folder: Where to; made if missing.

    Returns:
        The results file.

    Raises:
        UserError: There is no such store, run or artifact, or the store does not answer.
    """
    if (uri := settings.uri) is None:
        raise UserError(
            f"{run_id} looks like an MLflow run, and no store is named.",
            "Give tracking.uri=..., or the run's folder instead.",
        )
    shown = hide_credentials(uri, uri)
    client = _existing_store(uri)
    try:
        names = {artifact.path for artifact in within(settings.timeout, lambda: client.list_artifacts(run_id))}
        if RESULTS_FILE not in names:
            raise UserError(
                f"The MLflow run {run_id} has no {RESULTS_FILE} among its artifacts.",
                "Was it finished? Its folder may have the file.",
            )
        folder.mkdir(parents=True, exist_ok=True)
        for name in (RESULTS_FILE, METADATA_FILE):
            if name in names:
                within(settings.timeout, partial(client.download_artifacts, run_id, name, str(folder)))
    except TimeoutError as error:
        raise UserError(
            f"MLflow run {run_id} at {shown}: {error}.", "Check the server; tracking.timeout=600 waits longer."
        ) from None
    except (MlflowException, SQLAlchemyError) as error:
        reason = hide_credentials(str(error).splitlines()[0], uri)
        raise UserError(f"MLflow run {run_id} at {shown}: {reason}", "Check the run id and tracking.uri.") from None
    return folder / RESULTS_FILE
