"""An MLflow store that is there already: making one takes seconds."""

import shutil

import pytest
from recorded_runs import sqlite_settings

from cmi_bench.tracking.mlflow_store import open_experiment


@pytest.fixture(scope="session")
def made_store(tmp_path_factory):
    """The file of a store without a test's experiment, made once."""
    folder = tmp_path_factory.mktemp("mlflow")
    open_experiment(sqlite_settings(folder, experiment="of none"))
    return folder / "mlflow.db"


@pytest.fixture
def settings(made_store, tmp_path):
    """A store of a test's own."""
    shutil.copy(made_store, tmp_path / "mlflow.db")
    return sqlite_settings(tmp_path)
